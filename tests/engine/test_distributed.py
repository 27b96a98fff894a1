"""Two processes are one: started by torchrun, on their own rows; killed, and gone on with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.checkpoint import Checkpoint
from engine.clustering.distributed import join_group
from engine.clustering.weighted_rows import WeightedRows
from engine.errors import ParameterError
from engine.factorization import Factorization
from engine.progress import ignore_progress
from engine.requests import FitRequest
from engine.resuming import fit_resumably
from tests.engine.export.conftest import make_model
from tests.engine.export.test_compressing import load
from tests.engine.ranks_cases import make_cases
from tests.engine.tables import gaussian, write_npy
from tests.tolerances import TOLERANCES

REPOSITORY = Path(__file__).parents[2]
LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
PATIENCE = 120.0  # seconds for what takes ten: only a hang runs into it


def torchrun(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a module of ours in two processes of one thread each."""
    return subprocess.run(
        [sys.executable, *LAUNCHER, *map(str, arguments)],
        cwd=folder,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(REPOSITORY),
            "SUBSPACE_ATLAS_HOME": str(folder / "home"),
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two processes found, and what one found, for every case."""
    folder = tmp_path_factory.mktemp("ranks")
    finished = torchrun("tests.engine.ranks_cases", folder / "found.json", folder=folder)
    assert finished.returncode == 0, finished.stderr
    return json.loads((folder / "found.json").read_text(encoding="utf-8"))


def count_moved(one: list[int], other: list[int], k: int) -> int:
    """Rows that are elsewhere once the clusters of one are given the numbers of the other."""
    pairs = torch.tensor(one) * k + torch.tensor(other)
    return len(one) - int(pairs.bincount(minlength=k * k).view(k, k).amax(dim=1).sum())


@pytest.mark.slow
@pytest.mark.parametrize("name", list(make_cases()))
def test_two_processes_find_what_one_finds(name: str, found: dict[str, Any]) -> None:
    together, alone = found[name]["together"], found[name]["alone"]
    exact = make_cases()[name].points.dtype == torch.float64
    # Sums in another order; over the steps rounding adds up, and a step may be one more or less.
    tolerance = 1e-9 if exact else TOLERANCES[torch.float32].energy
    assert together["cost"] == pytest.approx(alone["cost"], abs=tolerance)
    assert together["dimensions"] == alone["dimensions"]
    assert together["loss"].split(":")[0] == alone["loss"].split(":")[0]
    # Of two starts that end alike either may win, and number the same clusters otherwise.
    changed = count_moved(together["labels"], alone["labels"], len(alone["dimensions"]))
    assert changed <= (0 if exact else len(alone["labels"]) // 1000)
    if exact:
        assert together["history"] == pytest.approx(alone["history"], abs=tolerance)
        assert together["refilled"] == alone["refilled"]
        assert together["notes"] == alone["notes"]


@pytest.mark.slow
def test_an_empty_cluster_was_refilled_from_both_processes(found: dict[str, Any]) -> None:
    assert found["an empty cluster to refill"]["together"]["refilled"] >= 1


@pytest.mark.slow
def test_messages_and_ragged_parts_arrive_whole(found: dict[str, Any]) -> None:
    assert found["messages"] == ["the end", [[], [0, 1, 2]], [[0, 1], [2, 3], [4, 5]]]


def test_joining_without_a_job_says_how_to_start_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with (
        pytest.raises(ParameterError, match=r"torchrun --nproc-per-node N -m engine\.cli"),
        join_group(),
    ):
        pass


PLAN = ("-k", 6, "-j", 4, "--starts", 2, "--seed", 1)
REQUEST = FitRequest(k=6, j=4, n_init=2, seed=1)


def uneven_rows() -> torch.Tensor:
    """30,001 rows without clear clusters: EM takes its time."""
    rows = gaussian(30_001, 12) * 0.85 ** torch.arange(12)
    rows[:, :4] = rows[:, :4].abs()
    return rows


@pytest.mark.slow
def test_a_killed_process_leaves_a_job_that_can_be_gone_on_with(tmp_path: Path) -> None:
    rows = uneven_rows()
    table = write_npy(tmp_path / "rows.npy", rows)
    command = ("compress", table, *PLAN, "-o", "out")

    began = time.monotonic()
    killed = torchrun("tests.engine.killed_rank", 1, 6, *command, folder=tmp_path)
    assert time.monotonic() - began < PATIENCE / 2
    assert killed.returncode != 0
    said = [line for line in killed.stderr.splitlines() if line.startswith("error: ")]
    kept = Checkpoint.from_bytes((tmp_path / "out.partial").read_bytes(), "out.partial")
    assert said == [
        "error: process 2 of 2 died (killed, or out of memory); run the same command again to "
        f"resume from iteration {kept.iteration}"
    ]
    assert kept.iteration >= 6
    assert killed.stdout == ""
    assert not (tmp_path / "out").exists()

    resumed = torchrun("engine.cli", *command, "--json", folder=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert f"Resuming from iteration {kept.iteration} " in resumed.stderr
    report = json.loads(resumed.stdout)  # one process printed, once
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "rows.npy"]
    assert report["starts"][0]["cost_history"][: kept.iteration] == list(kept.cost_history)

    undisturbed = fit_resumably(
        WeightedRows.of(rows), REQUEST, kept.fingerprint, progress=ignore_progress
    )
    cost = undisturbed.result.cost_history[-1]
    # Both stop where a step gains less than 1e-4 of the cost, not at the very optimum.
    assert report["relative_error"] == pytest.approx(cost, rel=2e-3)
    labels = Factorization.load(tmp_path / "out").labels
    assert (labels == undisturbed.result.labels).double().mean() > 0.95


@pytest.mark.slow
def test_the_others_speak_up_when_the_first_process_dies(tmp_path: Path) -> None:
    table = write_npy(tmp_path / "rows.npy", uneven_rows())
    command = ("compress", table, *PLAN, "-o", "out")
    killed = torchrun("tests.engine.killed_rank", 0, 6, *command, folder=tmp_path)
    assert killed.returncode != 0
    assert killed.stderr.count("error: process 1 of 2 died") == 1
    assert (tmp_path / "out.partial").is_file()


@pytest.mark.slow
def test_two_processes_make_one_model(tmp_path: Path) -> None:
    make_model(tmp_path / "bert", "BertForMaskedLM")
    command = ("compress", "bert", "-k", 2, "-j", 4, "--starts", 1, "-o", "out", "--json")
    finished = torchrun("engine.cli", *command, folder=tmp_path)
    assert finished.returncode == 0, finished.stderr
    report = json.loads(finished.stdout)  # one process printed, once
    loaded = load(tmp_path / "out", "BertForMaskedLM")
    assert loaded.get_input_embeddings().shape.dimensions == (4, 4)
    size = (tmp_path / "out" / "model.safetensors").stat().st_size
    assert 0 < size - report["model"]["after"]["file_bytes"] < 4096  # the file's header
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bert", "out"]
