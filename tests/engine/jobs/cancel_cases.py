"""Long work of every kind, at the points where a user may press Cancel."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.jobs import JobQueue, JobState

START_SECONDS = 240.0  # a busy machine, and compilation at the first UMAP of all
ROWS, COLUMNS = 20_000, 64
FEW_ROWS = 3_000
SENTENCES = 1500
BUNDLED = {"spec": "bundled:minilm", "tensor": None, "tokens": None}


@dataclass(frozen=True, slots=True)
class CancelCase:
    """Where a job is stopped.

    Attributes:
        name: What is going on there, for people.
        kind: The task.
        phase: A pattern of the phase to stop it in.
        params: What the task takes, given the folder of `write_inputs`.
    """

    name: str
    kind: str
    phase: str
    params: Callable[[Path], dict[str, Any]]


def write_inputs(folder: Path) -> None:
    """The table and the text that the cases work on."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(ROWS, COLUMNS)).astype(np.float32)
    np.save(folder / "rows.npy", rows)
    np.save(folder / "few.npy", rows[:FEW_ROWS])  # the epochs of which begin soon
    words = ["river", "stone", "walks", "slowly", "under", "bright", "lamp", "green", "while"]
    sentences = (" ".join(generator.choice(words, size=12)) for _ in range(SENTENCES))
    numbered = (f"{sentence} {number}" for number, sentence in enumerate(sentences))
    (folder / "text.txt").write_text("\n".join(numbered), encoding="utf-8")


def _compress(folder: Path) -> dict[str, Any]:
    return {"source": _rows(folder), "config": {"k": 20, "rate": 0.2, "n_init": 4}}


def _layout(folder: Path) -> dict[str, Any]:
    return {"source": _rows(folder)}


def _quick_layout(folder: Path) -> dict[str, Any]:
    return {"source": _rows(folder, "few.npy")}


def _sweep(folder: Path) -> dict[str, Any]:
    return {"source": _rows(folder), "config": {"ks": [8, 20], "rates": [0.2, 0.4], "n_init": 5}}


def _evaluate(folder: Path) -> dict[str, Any]:
    options = {"text": str(folder / "text.txt")}
    return {"source": BUNDLED, "run": None, "checks": ["fidelity"], "options": options}


def _bootstrap(folder: Path) -> dict[str, Any]:
    return {"source": BUNDLED, "run": None, "checks": ["valence"]}


def _model(folder: Path) -> dict[str, Any]:
    return {"source": BUNDLED, "run": None}


def _measure(folder: Path) -> dict[str, Any]:
    return {"source": _rows(folder), "run": None, "layout": "PCA"}


def _rows(folder: Path, name: str = "rows.npy") -> dict[str, Any]:
    return {"spec": str(folder / name), "tensor": None, "tokens": None}


CASES = (
    CancelCase("EM, starts compared on a sample", "compress", "Comparing", _compress),
    CancelCase("EM, on all rows", "compress", r"Refining|Start \d+ of \d+$", _compress),
    CancelCase("UMAP, neighbour search", "layout", "finding neighbours", _layout),
    CancelCase("UMAP, epochs", "layout", "Arranging", _quick_layout),
    CancelCase("measures, neighbour search", "measure", "Neighbours in the table", _measure),
    CancelCase("measures, the map", "measure", "Testing the map", _measure),
    CancelCase("sweep", "sweep", "Sweeping", _sweep),
    CancelCase("evaluation, loading the model", "evaluate", "preparing|Loading", _evaluate),
    CancelCase("evaluation, encoding", "evaluate", "fidelity$", _evaluate),
    CancelCase("evaluation, bootstrap", "evaluate", "intervals", _bootstrap),
    CancelCase("model export, loading", "model", "Loading the model", _model),
    CancelCase("model export, packing", "model", "Packing", _model),
)


def seconds_to_cancel(queue: JobQueue, case: CancelCase, folder: Path) -> tuple[float, JobState]:
    """Start a job, cancel it in its phase.

    Returns:
        Seconds from the cancel to the job's end, and how it ended.

    Raises:
        AssertionError: If the phase was not seen.
    """
    job_id = queue.submit(case.kind, case.params(folder))
    deadline = time.monotonic() + START_SECONDS
    while not re.search(case.phase, queue.status(job_id).phase):
        status = queue.status(job_id)
        assert not status.finished, f"{case.name}: {status.state} before: {status.error}"
        assert time.monotonic() < deadline, f"{case.name} not within {START_SECONDS} s"
        time.sleep(0.005)
    began = time.monotonic()
    queue.cancel(job_id)
    ended = queue.wait(job_id, START_SECONDS)
    return time.monotonic() - began, ended.state
