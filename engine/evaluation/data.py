"""The rows of a GLUE task: from a folder of TSV files, or from the model hub by ``datasets``."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import dataclass, replace
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from engine.errors import MissingDependencyError, ParameterError, SourceError
from engine.evaluation.tasks import GlueTask

DATA_VARIABLE = "SUBSPACE_ATLAS_DATA"
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


def data_folder(given: str | Path | None = None) -> Path | None:
    """The folder of TSV files to read: the one given, or what SUBSPACE_ATLAS_DATA names."""
    named = str(given or os.environ.get(DATA_VARIABLE, ""))
    return Path(named) if named else None


def load_split(task: GlueTask, name: SplitName, *, data: str | Path | None = None) -> Split:
    """Read a split of a task.

    Args:
        task: Which.
        name: ``"train"`` or ``"dev"``.
        data: A folder that holds ``TASK/train.tsv`` and ``TASK/dev.tsv``; or it is named by
            SUBSPACE_ATLAS_DATA; with neither, the hub's ``nyu-mll/glue`` is read.

    Raises:
        ParameterError: If there is no such split.
        SourceError: If the file is missing or damaged, or the hub cannot be reached.
        MissingDependencyError: If ``datasets`` is needed and not installed.
    """
    if name not in SPLITS:
        raise ParameterError(f"a split is train or dev, got {name!r}")
    folder = data_folder(data)
    split = _read_hub(task, name) if folder is None else _read_tsv(task, name, folder)
    official = task.train_rows if name == "train" else task.dev_rows
    if len(split) == official:
        return split
    note = f"not the official split: {len(split):,} rows, that has {official:,}"
    return replace(split, note=note)


def _read_tsv(task: GlueTask, name: SplitName, folder: Path) -> Split:
    path = folder / task.name / f"{name}.tsv"
    texts = ["sentence"] if len(task.columns) == 1 else ["sentence1", "sentence2"]
    expected = ["idx", *texts, "label"]
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except FileNotFoundError:
        raise SourceError(
            f"there is no {path}; name a folder that holds {task.name}/{name}.tsv by --data or "
            f"{DATA_VARIABLE}, or unset both to read GLUE from the hub"
        ) from None
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
        raise MissingDependencyError(
            "GLUE comes from the hub by the datasets package: pip install "
            f"'subspace-atlas[glue]'; or name a folder of TSV files by --data or {DATA_VARIABLE}"
        ) from None
    split = task.dev if name == "dev" else "train"
    try:
        rows: Any = datasets.load_dataset(HUB_DATASET, task.name, split=split)
    except Exception as error:  # a library of others and a network can fail in any way
        reason = str(error).strip().split("\n", 1)[0]
        raise SourceError(
            f"{HUB_DATASET} could not be read from the hub ({reason}); connect, or name a folder "
            f"of TSV files by --data or {DATA_VARIABLE}"
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


def lacks_task(task: GlueTask, data: str | Path | None = None) -> str | None:
    """Why a task's rows cannot be read, and what to do; None where they may be.

    The hub is not asked: whether it can be reached shows when `load_split` reads from it.

    Args:
        task: Which.
        data: As in `load_split`.
    """
    folder = data_folder(data)
    if folder is not None:
        missing = [f for f in ("train.tsv", "dev.tsv") if not (folder / task.name / f).is_file()]
        if missing:
            return (
                f"the data folder has no {task.name}/{missing[0]}; name one that has by --data or "
                f"{DATA_VARIABLE}, or unset both to read GLUE from the hub"
            )
    elif find_spec("datasets") is None:
        return (
            "GLUE comes from the hub by the datasets package: pip install 'subspace-atlas[glue]'; "
            f"or name a folder of TSV files by --data or {DATA_VARIABLE}"
        )
    return None
