"""A checkpoint comes back as it was, is refused where it does not belong, and leads to the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.checkpoint import Checkpoint, CheckpointFile, fingerprint_fit
from engine.clustering.search import REFINING
from engine.clustering.weighted_rows import WeightedRows
from engine.errors import EngineError, FormatError, ParameterError
from engine.fitting import fit_rows
from engine.progress import Progress, ignore_progress
from engine.requests import FitRequest
from engine.resuming import fit_resumably
from tests.engine.tables import gaussian

REQUEST = FitRequest(k=4, j=3, n_init=2, seed=3)


def uneven_rows(n: int = 20_000) -> torch.Tensor:
    """Rows without clear clusters: EM takes its time."""
    rows = gaussian(n, 8) * 0.8 ** torch.arange(8)
    rows[:, :3] = rows[:, :3].abs()
    return rows


def keep_all(rows: WeightedRows, request: FitRequest, path: Path) -> list[Checkpoint]:
    """The checkpoint of every iteration."""
    kept: list[Checkpoint] = []

    class All(CheckpointFile):
        def keep(self, checkpoint: Checkpoint) -> None:
            kept.append(checkpoint)

    fit_resumably(rows, request, "it", file=All(path, "it"), progress=ignore_progress)
    return kept


@pytest.mark.parametrize(
    "request_",
    [
        REQUEST,
        replace(REQUEST, affine=True, loss="tukey"),
        replace(REQUEST, allocation="optimal"),
        replace(REQUEST, j=[0, 1, 2, 3], tolerance=1e-6),
    ],
    ids=["plain", "affine tukey", "optimal", "given"],
)
def test_every_iteration_comes_back_and_leads_to_the_same_end(
    request_: FitRequest, tmp_path: Path
) -> None:
    rows = WeightedRows.of(uneven_rows())
    kept = keep_all(rows, request_, tmp_path / "fit")
    whole = fit_resumably(rows, request_, "it", progress=ignore_progress)
    assert len(kept) > 2
    middle = kept[len(kept) // 2]
    again = Checkpoint.from_bytes(middle.to_bytes(), "it")
    before, after = middle.subspaces, again.subspaces
    assert all(torch.equal(a, b) for a, b in zip(before.bases, after.bases, strict=True))
    assert (before.price, before.dimensions) == (after.price, after.dimensions)
    assert (before.offsets is None) == (after.offsets is None)
    assert (again.k, again.loss, again.starts) == (middle.k, middle.loss, middle.starts)
    frames = after.frames @ after.frames.transpose(1, 2)
    torch.testing.assert_close(frames, torch.eye(8).expand(4, 8, 8), rtol=0, atol=1e-5)

    resumed = fit_resumably(rows, request_, "it", resume=again, progress=ignore_progress)
    assert resumed.plan == whole.plan
    # Both stop where a step gains less than 1e-4 of the cost, not at the very optimum.
    assert resumed.result.cost_history[-1] == pytest.approx(whole.result.cost_history[-1], rel=2e-3)
    history = resumed.result.cost_history
    assert history == tuple(sorted(history, reverse=True))
    assert [start.seeding for start in resumed.starts] == [start.seeding for start in whole.starts]


def test_keeping_iterations_changes_no_result(tmp_path: Path) -> None:
    rows = WeightedRows.of(uneven_rows())
    file = CheckpointFile(tmp_path / "fit", "it")
    kept = fit_resumably(rows, REQUEST, "it", file=file, progress=ignore_progress)
    plain = fit_rows(rows, REQUEST, progress=ignore_progress)
    assert kept.result.cost_history[-1] == pytest.approx(plain.result.cost_history[-1], rel=2e-3)
    assert len(kept.starts) == len(plain.starts)
    counts = kept.result.labels.bincount(minlength=4)
    assert int(counts.sum()) == 20_000


def test_few_rows_are_fitted_as_ever(tmp_path: Path) -> None:
    rows = WeightedRows.of(uneven_rows(500))
    file = CheckpointFile(tmp_path / "fit", "it")
    fit = fit_resumably(rows, REQUEST, "it", file=file, progress=ignore_progress)
    plain = fit_rows(rows, REQUEST, progress=ignore_progress)
    assert torch.equal(fit.result.labels, plain.result.labels)
    assert not file.path.exists()


def test_a_stop_in_the_middle_leaves_the_last_iteration(tmp_path: Path) -> None:
    rows = WeightedRows.of(uneven_rows())
    file = CheckpointFile(tmp_path / "fit", "it")
    polished = 0

    def stop(progress: Progress) -> None:
        nonlocal polished
        polished += progress.phase == REFINING
        if polished > 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_resumably(rows, REQUEST, "it", file=file, progress=stop)
    file.flush()
    found = CheckpointFile(file.path, "it").load()
    assert found is not None
    assert found.iteration == file.iteration > 1
    file.remove()
    assert file.load() is None


def test_another_fit_is_refused(tmp_path: Path) -> None:
    rows = WeightedRows.of(uneven_rows())
    file = CheckpointFile(tmp_path / "out.partial", "it")
    fit_resumably(rows, REQUEST, "it", file=file, progress=ignore_progress)
    file.flush()
    with pytest.raises(ParameterError, match=r"another table or plan \(k = 4, iteration"):
        CheckpointFile(file.path, "other").load()


@pytest.mark.parametrize("data", [b"", b"not ours at all", b"\x02\0\0\0\0\0\0\0{}"])
def test_damage_is_reported(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "out.partial"
    path.write_bytes(data)
    with pytest.raises(FormatError, match="damaged or no checkpoint of ours"):
        CheckpointFile(path, "it").load()


def test_a_cut_file_is_reported(tmp_path: Path) -> None:
    kept = keep_all(WeightedRows.of(uneven_rows()), REQUEST, tmp_path / "fit")
    with pytest.raises(FormatError, match="damaged"):
        Checkpoint.from_bytes(kept[0].to_bytes()[:-9], "it")
    newer = kept[0].to_bytes().replace(rb"\"schema\": 1", rb"\"schema\": 9")
    with pytest.raises(FormatError, match="schema 9, this version reads 1"):
        Checkpoint.from_bytes(newer, "it")


def test_a_disk_that_refuses_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    file = CheckpointFile(tmp_path / "file" / "out.partial", "it")
    rows = WeightedRows.of(uneven_rows())
    with pytest.raises(EngineError, match="could not write the checkpoint"):
        fit_resumably(rows, REQUEST, "it", file=file, progress=ignore_progress)


def test_the_fingerprint_tells_tables_weights_and_plans_apart() -> None:
    rows, other = gaussian(100, 4), gaussian(100, 4, seed=1)
    weights = torch.rand(100, dtype=torch.float64)
    seen = {
        fingerprint_fit(rows, None, REQUEST),
        fingerprint_fit(other, None, REQUEST),
        fingerprint_fit(rows, weights, REQUEST),
        fingerprint_fit(rows, None, replace(REQUEST, seed=4)),
        fingerprint_fit(rows[:-1], None, REQUEST),
    }
    assert len(seen) == 5
    assert fingerprint_fit(rows.clone(), None, REQUEST) in seen
