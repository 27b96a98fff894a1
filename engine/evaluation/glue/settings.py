"""What a run of the protocol is given: what decides its figures, and which cells it measures."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

from engine.errors import EngineError, FormatError, ParameterError
from engine.evaluation.glue.cells import RUN_FILE, CellKey, Stage
from engine.evaluation.glue.plans import GluePlan, complement
from engine.evaluation.tasks import GLUE_TASKS, glue_task
from engine.folders import is_left_over, write_file
from engine.provenance import describe_machine

DEFAULT_PLANS = ("svd", "svd-weighted", "k2", "k5", "k5-weighted", "k5-optimal-weighted")


@dataclass(frozen=True, slots=True, kw_only=True)
class GlueSettings:
    """What decides the figures; the same in all cells of a folder.

    Attributes:
        model: As `engine.load_table` takes it.
        epochs: Of fine-tuning before the embedding is made smaller.
        further_epochs: After that, which the whole network gets as well.
        learning_rate: The highest; it warms up over 6 % of the steps and falls to zero.
        batch_rows: Rows a step.
        longest: Tokens of a text or pair; what is longer is cut.
        train_rows: Most training rows, drawn with a fixed seed; 0 for all.
        measured_rows: Training rows that the training-set score is measured on.
        distillation: Share of a smaller network's loss in the further epochs that compares with the
            whole tuned one instead of the labels, 0 to 1.
        weight_power: Of the token weights, as in `engine.token_weights`.
        weight_floor: Likewise, per million tokens of the task's training text.
        device: ``"cpu"``, ``"cuda"`` (with mixed precision), or ``"auto"``.

    Raises:
        ParameterError: If a value is out of its range.
    """

    model: str
    epochs: int = 3
    further_epochs: int = 2
    learning_rate: float = 5e-5
    batch_rows: int = 32
    longest: int = 128
    train_rows: int = 0
    measured_rows: int = 2000
    distillation: float = 0.0
    weight_power: float = 1.0
    weight_floor: float = 16.0
    device: str = "auto"

    def __post_init__(self) -> None:
        """Check the ranges."""
        least = {
            "epochs": 1, "further_epochs": 1, "batch_rows": 1, "longest": 8, "train_rows": 0,
            "measured_rows": 1,
        }  # fmt: skip
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ParameterError(f"{name} must be at least {low}, got {getattr(self, name)}")
        if not 0 < self.learning_rate < 1:
            raise ParameterError(
                f"the learning rate must be between 0 and 1, got {self.learning_rate:g}"
            )
        for name in ("weight_power", "weight_floor"):
            if not 0 <= getattr(self, name) < inf:
                raise ParameterError(f"{name} must be 0 or more, got {getattr(self, name):g}")
        if not 0 <= self.distillation <= 1:
            raise ParameterError(f"distillation is a share, 0 to 1, got {self.distillation:g}")
        if self.device not in ("auto", "cpu", "cuda"):
            raise ParameterError(f"device must be auto, cpu or cuda, got {self.device!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GlueGrid:
    """Which cells to measure; a folder may grow by more.

    Attributes:
        tasks: Names of GLUE tasks.
        plans: Names, as `GluePlan.parse` takes them.
        rates: Shares of the embedding's parameters to remove, for plans that are not coded.
        shares: Shares of its bytes in float32 to keep, for those that are.
        seeds: Of training and fits.
        retrain: Whether networks are trained further and measured again.

    Raises:
        ParameterError: If a name is unknown, a rate impossible, or a list empty or repetitive.
    """

    tasks: Sequence[str] = tuple(GLUE_TASKS)
    plans: Sequence[str] = DEFAULT_PLANS
    rates: Sequence[float] = (0.2, 0.4, 0.6, 0.8)
    shares: Sequence[float] = (0.05,)
    seeds: Sequence[int] = (0,)
    retrain: bool = True

    def __post_init__(self) -> None:
        """Check every name and number."""
        for name in ("tasks", "plans", "rates", "shares", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ParameterError(f"{name} must name each of at least one once, got {values}")
        for task in self.tasks:
            glue_task(task)
        for plan in self.plans:
            GluePlan.parse(plan)
        for name, values in (("rate", self.rates), ("share", self.shares)):
            for value in values:
                if not 0 < value < 1:
                    raise ParameterError(f"a {name} lies between 0 and 1, got {value:g}")
        for seed in self.seeds:
            if not 0 <= seed < 2**32:
                raise ParameterError(f"a seed is at least 0 and below 2^32, got {seed}")

    def cells(self) -> Iterator[list[CellKey]]:
        """The cells of one task and seed at a time, in the order they are measured.

        Whatever needs no further training comes first for all tasks: it costs little, and there
        the plans differ most. The first cell of each list is the whole network.
        """
        halves: tuple[tuple[Stage, Stage], ...] = (
            ("tuned", "compressed"),
            ("continued", "retrained"),
        )
        for seed in self.seeds:
            for whole, smaller in halves:
                if whole == "continued" and not self.retrain:
                    continue
                for task in self.tasks:
                    yield [
                        CellKey(task=task, seed=seed, stage=whole),
                        *(
                            CellKey(task=task, seed=seed, stage=smaller, plan=plan, rate=rate)
                            for plan, rate in self._sizes()
                        ),
                    ]

    def _sizes(self) -> Iterator[tuple[str, float]]:
        """Plans with the rates each is measured at."""
        for coded, rates in ((False, self.rates), (True, map(complement, self.shares))):
            plans = [plan for plan in self.plans if GluePlan.parse(plan).coded == coded]
            yield from ((plan, rate) for rate in rates for plan in plans)


def check_run(folder: Path, settings: GlueSettings) -> None:
    """See that a run can begin in a folder, or go on with the one that is there; write nothing.

    Raises:
        ParameterError: If the cells there were measured with other settings, or the folder holds
            something else.
        FormatError: If what the folder says of itself is damaged.
        EngineError: If the disk refuses.
    """
    try:
        if (folder / RUN_FILE).is_file():
            _check_same(read_run(folder)["settings"], asdict(settings), folder)
        elif folder.exists() and (
            not folder.is_dir() or not all(map(is_left_over, folder.iterdir()))
        ):
            raise ParameterError(
                f"{folder} is not empty and holds no run of this protocol; name another folder"
            )
    except OSError as error:
        raise EngineError(
            f"could not read {folder}: {error.strerror}; name a folder you may read"
        ) from error


def begin_run(folder: Path, settings: GlueSettings, task: str, rows: str) -> None:
    """Say in a folder what a run is given, and which rows a task has there.

    Args:
        folder: Of the run.
        settings: What decides its figures.
        task: Whose rows were read.
        rows: What they are told by, from `engine.evaluation.data.rows_fingerprint`.

    Raises:
        ParameterError: If the cells of the task there were measured on other rows.
        FormatError: If what the folder says of itself is damaged.
        OSError: If the disk refuses.
    """
    path = folder / RUN_FILE
    content: dict[str, Any] = {"settings": asdict(settings), "machine": describe_machine()}
    if path.is_file():
        content = read_run(folder)
    known = content.setdefault("data", {})  # runs of before have none: they take what comes first
    if known.get(task, rows) != rows:
        raise ParameterError(
            f"the cells of {task} in {folder} were measured on other rows of that task; give the "
            "data they were measured on, or name another folder"
        )
    if path.is_file() and task in known:
        return
    known[task] = rows
    text = json.dumps(content, indent=1) + "\n"
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


@contextmanager
def writing_to(folder: Path) -> Generator[None]:
    """Say what to do where the disk refuses.

    Raises:
        EngineError: In place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise EngineError(
            f"could not write to {folder}: {error.strerror or error}; free some space or name a "
            "folder you may write to"
        ) from error


def read_run(folder: Path) -> dict[str, Any]:
    """What a run's folder says of itself.

    Raises:
        FormatError: If that is missing or damaged.
    """
    path = folder / RUN_FILE
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        GlueSettings(**values["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path} is no run of the GLUE protocol: {error}") from error
    return values


def _check_same(there: dict[str, Any], given: dict[str, Any], folder: Path) -> None:
    other = [
        f"{name} {there.get(name)} instead of {value}"
        for name, value in given.items()
        if there.get(name) != value
    ]
    if other:
        raise ParameterError(
            f"the cells in {folder} were measured with {', '.join(other)}; give the same settings "
            "to go on, or name another folder"
        )
