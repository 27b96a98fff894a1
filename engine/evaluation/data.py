"""Where the data of users lie, and the rows of a GLUE task in them, or on the model hub."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from engine.errors import EngineError, MissingDependencyError, ParameterError, SourceError
from engine.evaluation.tasks import GlueTask
from engine.wording import counted

DATA_VARIABLE = "SUBSPACE_ATLAS_DATA"
BY_DATA = f"by the variable {DATA_VARIABLE}"
"""How the folder is named, in the app as on the command line, which has an option for it too."""
DataKind = Literal["glue", "words"]
HUB_DATASET = "nyu-mll/glue"
SplitName = Literal["train", "dev"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Labelled texts of a task.

    Attributes:
        task: Which.
        name: ``"train"`` or ``"dev"``.
        first: The texts, or the first of each pair.
        second: The second of each pair; empty where texts stand alone.
        labels: Shape (n,): int64 classes, or float64 for a regression.
        note: Why scores on it are not those of the official split; empty where it is that, whole.
    """

    task: GlueTask
    name: SplitName
    first: tuple[str, ...]
    second: tuple[str, ...]
    labels: NDArray[Any]
    note: str = ""

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.first)

    @property
    def notes(self) -> tuple[str, ...]:
        """The note as a full sentence, if there is one."""
        return (f"{self.task.title} {self.name}: {self.note}.",) if self.note else ()

    def draw(self, count: int, seed: int = 0) -> NDArray[np.int64]:
        """Numbers of so many rows, at most all, drawn without replacement; rising."""
        rng = np.random.default_rng(seed)
        return np.sort(rng.choice(len(self), min(count, len(self)), replace=False))

    def take(self, rows: NDArray[np.int64]) -> Split:
        """Some of its rows."""
        return replace(
            self,
            first=tuple(self.first[row] for row in rows),
            second=tuple(self.second[row] for row in rows) if self.second else (),
            labels=self.labels[rows],
        )

    def sample(self, count: int, seed: int = 0) -> Split:
        """So many rows as `draw` draws them, which its note then says; itself if it has no more."""
        if count >= len(self):
            return self
        note = f"{count:,} of {len(self):,} rows" + (f"; {self.note}" if self.note else "")
        return replace(self.take(self.draw(count, seed)), note=note)


def rows_fingerprint(*splits: Split) -> str:
    """Tells rows from others: a digest of all texts and labels."""
    digest = blake2b(digest_size=8)
    for split in splits:
        texts = json.dumps([split.name, split.first, split.second], ensure_ascii=True)
        digest.update(texts.encode())
        digest.update(split.labels.tobytes())
    return digest.hexdigest()


def find_data(
    kind: DataKind, holds: Sequence[str], data: str | Path | None = None
) -> tuple[Path | None, Path | None]:
    """Where data of a kind lie: in a folder called after it, or in the data folder itself.

    Args:
        kind: ``"glue"`` or ``"words"``: the name of its folder, in the data folder or beside it.
        holds: Files or folders, one of which is there if the data are.
        data: The data folder; what SUBSPACE_ATLAS_DATA names when left out.

    Returns:
        The data folder, None where none is named; and where in it the data lie, None where they do
        not.

    Raises:
        SourceError: If the data folder is not there.
    """
    named = str(data or os.environ.get(DATA_VARIABLE, ""))
    if not named:
        return None, None
    folder = Path(named)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "is not there"
        raise SourceError(
            f"the data folder {folder} {what}; name another {BY_DATA}, or none to read GLUE from "
            "the hub"
        )
    places = (folder / kind, folder, folder.resolve().parent / kind)
    found = (place for place in places if any((place / name).exists() for name in holds))
    return folder, next(found, None)


def load_split(task: GlueTask, name: SplitName, *, data: str | Path | None = None) -> Split:
    """Read a split of a task.

    Args:
        task: Which.
        name: ``"train"`` or ``"dev"``.
        data: A folder that holds ``TASK/train.tsv`` and ``TASK/dev.tsv``, or a folder ``glue``
            of them; or it is named by SUBSPACE_ATLAS_DATA; with neither, the hub's
            ``nyu-mll/glue`` is read.

    Raises:
        ParameterError: If there is no such split.
        SourceError: If the file is missing or damaged, or the hub cannot be reached.
        MissingDependencyError: If ``datasets`` is needed and not installed.
    """
    if name not in SPLITS:
        raise ParameterError(f"a split is train or dev, got {name!r}")
    folder = _task_folder(task, data)
    split = _read_hub(task, name) if folder is None else _read_tsv(task, name, folder)
    official = task.train_rows if name == "train" else task.dev_rows
    if len(split) == official:
        return split
    note = f"not the official split: {counted(len(split), 'row')}, that has {official:,}"
    return replace(split, note=note)


def _task_folder(task: GlueTask, data: str | Path | None) -> Path | None:
    """Where its files lie, or should; None if no data folder is named."""
    folder, place = find_data("glue", [task.name], data)
    return None if folder is None else (place or folder) / task.name


def _read_tsv(task: GlueTask, name: SplitName, folder: Path) -> Split:
    path = folder / f"{name}.tsv"
    texts = ["sentence"] if len(task.columns) == 1 else ["sentence1", "sentence2"]
    expected = ["idx", *texts, "label"]
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except FileNotFoundError:
        raise _absent(path) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    if not rows or rows[0] != expected:
        raise SourceError(
            f"{path} must begin with the columns {' '.join(expected)}, tab-separated, got "
            f"{' '.join(rows[0]) if rows else 'an empty file'}"
        )
    labels: list[float] = []
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(expected):
            raise SourceError(
                f"{path}, line {number}: expected {len(expected)} columns, got {len(row)}"
            )
        labels.append(_label(task, row[-1], f"{path}, line {number}"))
    if not labels:
        raise SourceError(f"{path} holds no rows")
    columns = list(zip(*rows[1:], strict=True))
    return _split(task, name, columns[1:-1], labels)


def _absent(path: Path) -> SourceError:
    wanted = f"{path.parent.name}/{path.name}"
    return SourceError(
        f"there is no {path}; name a folder that holds {wanted} or glue/{wanted} {BY_DATA}, or "
        "none to read GLUE from the hub"
    )


def _label(task: GlueTask, text: str, where: str) -> float:
    try:
        value = float(text) if task.is_regression else int(text)
    except ValueError:
        value = float("nan")
    if task.is_regression and 0 <= value <= 5:
        return value
    if not task.is_regression and value in range(len(task.labels)):
        return value
    wanted = "a number from 0 to 5" if task.is_regression else f"0 … {len(task.labels) - 1}"
    raise SourceError(f"{where}: a label of {task.title} is {wanted}, got {text!r}")


def _read_hub(task: GlueTask, name: SplitName) -> Split:
    try:
        import datasets
    except ImportError:
        raise MissingDependencyError(_NO_DATASETS) from None
    split = task.dev if name == "dev" else "train"
    try:
        rows: Any = datasets.load_dataset(HUB_DATASET, task.name, split=split)
    except Exception as error:  # a library of others and a network can fail in any way
        reason = str(error).strip().split("\n", 1)[0]
        raise SourceError(
            f"{HUB_DATASET} could not be read from the hub ({reason}); connect, or name a folder "
            f"of TSV files {BY_DATA}"
        ) from error
    return _split(task, name, [rows[column] for column in task.columns], list(rows["label"]))


def _split(task: GlueTask, name: SplitName, texts: list[Any], labels: list[float]) -> Split:
    first, *rest = texts
    return Split(
        task=task,
        name=name,
        first=tuple(first),
        second=tuple(rest[0]) if rest else (),
        labels=np.asarray(labels, dtype=np.float64 if task.is_regression else np.int64),
    )


def check_task(
    task: GlueTask, data: str | Path | None = None, *, splits: Sequence[SplitName] = SPLITS
) -> None:
    """See that a task's files are there, without reading them.

    The hub is not asked: whether it can be reached shows when `load_split` reads from it. Where it
    is switched off, what was kept of it has to be there.

    Args:
        task: Which.
        data: As in `load_split`.
        splits: Those that will be read.

    Raises:
        SourceError: If a file is missing, or the hub is needed and may not be asked.
        MissingDependencyError: If ``datasets`` is needed and not installed.
    """
    folder = _task_folder(task, data)
    if folder is None:
        if find_spec("datasets") is None:
            raise MissingDependencyError(_NO_DATASETS)
        if _is_offline() and not _is_kept(task):
            raise SourceError(
                f"the texts of {task.title} are not here: no data folder is named, the hub is "
                f"switched off (HF_HUB_OFFLINE), and nothing of its {HUB_DATASET} was kept; name "
                f"a folder of TSV files {BY_DATA}, or let the hub be asked"
            )
        return
    for path in (folder / f"{name}.tsv" for name in splits):
        if not path.is_file():
            raise _absent(path)


def _is_offline() -> bool:
    """Whether `datasets` would not ask the hub, as it decides by itself when it is imported."""
    from huggingface_hub import constants

    own = os.environ.get("HF_DATASETS_OFFLINE")
    return constants.HF_HUB_OFFLINE if own is None else own.upper() in ("1", "ON", "YES", "TRUE")


def _is_kept(task: GlueTask) -> bool:
    """Whether `datasets` read the task before, and would take it from where it keeps things."""
    from huggingface_hub import constants

    cache = os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME) / "datasets"
    kept = Path(cache).expanduser() / HUB_DATASET.replace("/", "___")
    return any(kept.glob(f"{task.name}/*/*"))


def lacks_task(
    task: GlueTask, data: str | Path | None = None, *, splits: Sequence[SplitName] = SPLITS
) -> str | None:
    """Why `check_task` refuses a task, and what to do; None where it does not."""
    try:
        check_task(task, data, splits=splits)
    except EngineError as error:
        return str(error)
    return None


_NO_DATASETS = (
    "GLUE comes from the hub by the datasets package: pip install 'subspace-atlas[glue]'; or name "
    f"a folder of TSV files {BY_DATA}"
)
