"""A fit needs memory for a few chunks, not for a second copy of the rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROWS, COLUMNS = 200_000, 64
MATRIX_MB = ROWS * COLUMNS * 4 / 1e6  # 51 MB

# Warmed up first on few rows, so that libraries, thread pools and scikit-learn are in the baseline.
SCRIPT = """
import sys
from pathlib import Path
import torch
import engine
from engine.clustering.em import EMPlan
from engine.clustering.weighted_rows import WeightedRows
from engine.clustering.search import SearchSettings, search
from engine.progress import ignore_progress

def fit(points):
    settings = SearchSettings(
        seedings=(sys.argv[1],), seed=0, max_iterations=3, tolerance=0.0
    )
    weights = torch.ones(len(points), dtype=torch.float64) if sys.argv[2] == "weighted" else None
    search(WeightedRows.of(points, weights), EMPlan.even(3, 16), settings, progress=ignore_progress)

def peak_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1e3

torch.set_num_threads(1)
points = torch.randn({rows}, {columns}, generator=torch.Generator().manual_seed(0))
fit(points[:30_000])  # more than the sample of k-means
Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
before = peak_mb()
fit(points)
print(peak_mb() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="needs Linux's high-water mark"
)
@pytest.mark.parametrize(
    ("seeding", "weighting"), [("directions", "weighted"), ("norms", "plain"), ("random", "plain")]
)
def test_peak_memory_of_a_fit_is_a_few_chunks(seeding: str, weighting: str) -> None:
    script = SCRIPT.replace("{rows}", str(ROWS)).replace("{columns}", str(COLUMNS))
    done = subprocess.run(
        [sys.executable, "-c", script, seeding, weighting],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Allowed: a dozen vectors of n numbers (labels, norms, residuals and their orders: 1.6 MB
    # each) and a few chunks (1 MB each). Measured 8 to 13 MB; one copy of the rows would be 51.
    assert float(done.stdout) < MATRIX_MB / 2
