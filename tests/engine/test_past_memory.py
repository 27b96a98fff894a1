"""A table on disk is read, projected, measured and saved in bounded anonymous memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROWS, COLUMNS, DIMENSION = 400_000, 128, 64
COORDINATES_MB = ROWS * DIMENSION * 4 / 1e6  # 102 MB

# Mapped pages the system may drop at any time; anonymous ones it must keep, so they are counted.
SCRIPT = """
import sys, threading
from pathlib import Path
import torch
from engine.factorization import Factorization, FitRecord
from engine.projection import project_rows
from engine.measures import nearest_neighbours, summarise_subspaces
from engine.sources import load_table

folder, keep = Path(sys.argv[1]), sys.argv[2]

def anonymous_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1e3

def work(spec):
    table = load_table(spec, mapped=True)
    matrix = table.matrix
    labels = torch.arange(len(matrix)) % 3
    bases = torch.linalg.qr(torch.randn(3, 128, 64, generator=torch.Generator().manual_seed(0)))[0]
    record = FitRecord(method="messi", config={}, source=table.fingerprint, versions={})
    workspace = folder if keep == "disk" else None
    fit = project_rows(matrix, labels, tuple(bases.mT), record, workspace=workspace)
    queries = torch.arange(200)
    nearest_neighbours(matrix, queries)
    nearest_neighbours(fit, queries)
    summarise_subspaces(fit, matrix)
    fit.save(folder / "saved")
    loaded = Factorization.load(folder / "saved")
    assert loaded.relative_error(matrix) == fit.relative_error(matrix)

torch.set_num_threads(1)
work(folder / "small.npy")  # so that libraries and buffers are in the baseline
before, peak, done = anonymous_mb(), 0.0, threading.Event()

def watch():
    global peak
    while not done.wait(0.002):
        peak = max(peak, anonymous_mb())

watcher = threading.Thread(target=watch)
watcher.start()
work(folder / "large.npy")
done.set()
watcher.join()
print(peak - before)
"""


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    numbers = np.random.default_rng(0).standard_normal((ROWS, COLUMNS), dtype=np.float32)
    np.save(folder / "large.npy", numbers.astype(np.float16))
    np.save(folder / "small.npy", numbers[:20_000].astype(np.float16))
    return folder


def peak_mb(folder: Path, keep: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), keep],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's RssAnon")
def test_anonymous_memory_is_a_few_vectors_and_blocks(tables: Path) -> None:
    # Allowed: a dozen vectors of n numbers (3.2 MB each) and as many blocks (4 MB each). Measured
    # 40 to 60 MB; one copy of the coordinates would be 102, of the table 205.
    assert peak_mb(tables, "disk") < 0.8 * COORDINATES_MB


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's RssAnon")
def test_the_measurement_sees_coordinates_in_memory(tables: Path) -> None:
    """The check above can fail: without a workspace the coordinates are anonymous."""
    assert peak_mb(tables, "memory") > 0.8 * COORDINATES_MB
