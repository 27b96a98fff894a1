"""One measured fit in a process of its own, or in several under torchrun; prints JSON.

    python -m tests.benchmarks.scale_fit fit ROWS.npy --rows 1000000
    torchrun --nproc-per-node 2 -m tests.benchmarks.scale_fit steps ROWS.npy --rows 1000000

``fit`` is everything: load, race the starts, polish, project. ``steps`` is EM from one random
partition, timed step by step.
"""

from __future__ import annotations

import argparse
import json
import resource
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from itertools import islice, pairwise
from pathlib import Path

import torch

from engine.clustering.distributed import join_group
from engine.clustering.em import EMPlan, em_steps
from engine.clustering.group import ALONE, Group
from engine.clustering.job import is_job
from engine.clustering.search import REFINING
from engine.clustering.weighted_rows import WeightedRows
from engine.factorization import FitRecord
from engine.fitting import fit_rows
from engine.progress import Progress
from engine.projection import project_rows
from engine.requests import FitRequest
from engine.rows import RowMatrix, cut_rows, row_range
from engine.sources import load_table

_SAMPLE_SECONDS = 0.02
_NO_STEP_SECONDS = 1e-3  # two reports without a step between
_STATUS = Path("/proc/self/status")


class PeakMemory:
    """The most anonymous memory the process held, looked at often; mapped files do not count."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._ended = threading.Event()

    @contextmanager
    def watching(self) -> Generator[None]:
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        yield
        self._ended.set()
        thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            for line in _STATUS.read_text(encoding="ascii").splitlines():
                if line.startswith("RssAnon:"):
                    self.peak_bytes = max(self.peak_bytes, 1024 * int(line.split()[1]))


def measure_fit(matrix: RowMatrix, options: argparse.Namespace) -> dict[str, object]:
    """Seconds of the phases of one whole fit, and of its iterations on all rows."""
    marks: list[tuple[str, float]] = []
    request = FitRequest(
        k=options.k, j=options.j, n_init=options.starts, max_iterations=options.steps
    )

    def note(progress: Progress) -> None:
        marks.append((progress.phase, time.perf_counter()))

    began = time.perf_counter()
    rows = WeightedRows.of(matrix)
    fit = fit_rows(rows, request, progress=note)
    fitted = time.perf_counter()
    record = FitRecord(method="messi", config={}, source="", versions={})
    bases = fit.result.subspaces.bases
    project_rows(matrix, fit.result.labels, bases, record, workspace=options.file.parent)
    # A phase lasts until the next report; "Start 3 of 4: first partition" counts as "Start".
    phases: dict[str, float] = {}
    for (phase, at), (_, then) in pairwise([*marks, ("", fitted)]):
        name = phase.split()[0]
        phases[name] = phases.get(name, 0.0) + then - at
    polished = [at for phase, at in marks if phase == REFINING]
    return {
        "fit_seconds": fitted - began,
        "project_seconds": time.perf_counter() - fitted,
        "phase_seconds": phases,
        "step_seconds": [b - a for a, b in pairwise(polished) if b - a > _NO_STEP_SECONDS],
        "cost": fit.result.cost_history[-1],
        "steps": len(fit.result.cost_history),
    }


def measure_steps(
    matrix: RowMatrix, options: argparse.Namespace, group: Group
) -> dict[str, object]:
    """Seconds of each step from one random partition, the same however many processes there are."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(options.k, (len(matrix),), generator=generator)
    own = row_range(len(matrix), group.rank, group.size)
    rows = WeightedRows.of(cut_rows(matrix, own), group=group)
    steps = em_steps(rows, labels[own].clone(), EMPlan.even(options.k, options.j))
    seconds: list[float] = []
    began, cost = time.perf_counter(), float("nan")
    for step in islice(steps, options.steps):
        cost = step.cost
        seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
    return {"step_seconds": seconds, "cost": cost}


def main() -> None:
    """Measure as the command line asks and print it."""
    parser = argparse.ArgumentParser(description="One measured fit.")
    parser.add_argument("what", choices=("fit", "steps"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("-k", type=int, default=8)
    parser.add_argument("-j", type=int, default=16)
    parser.add_argument("--starts", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    memory = PeakMemory()
    with memory.watching(), join_group() if is_job() else nullcontext(ALONE) as group:
        matrix = cut_rows(load_table(options.file, mapped=True).matrix, slice(options.rows))
        if options.what == "fit":
            found = measure_fit(matrix, options)
        else:
            found = measure_steps(matrix, options, group)
    found["peak_anonymous_bytes"] = memory.peak_bytes
    found["peak_resident_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if group.rank == 0:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
