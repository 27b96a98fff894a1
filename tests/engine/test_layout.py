"""Rows as points: PCA against numpy's SVD, UMAP for its promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from engine import layout
from engine.errors import Cancelled, ParameterError
from engine.layout import UmapSettings, pca_layout, umap_layout
from engine.progress import Progress
from tests.engine.tables import gaussian


def stretched(n: int, d: int) -> Tensor:
    """Rows far from the origin, of well separated variances: one right answer."""
    return gaussian(n, d) * torch.arange(d, 0, -1) ** 2 + 5


@pytest.mark.parametrize("dimensions", [1, 2, 3, 6])
def test_pca_is_the_svd_of_the_centred_rows(dimensions: int) -> None:
    matrix = stretched(50, 6)
    centred = matrix.double().numpy() - matrix.double().numpy().mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    found = pca_layout(matrix, dimensions).numpy()
    assert found.shape == (50, dimensions)
    assert found.dtype == np.float32
    for column, expected in zip(found.T, (u * s).T, strict=False):
        sign = np.sign(column @ expected)
        # float32 rows of length about 100
        np.testing.assert_allclose(column, sign * expected, rtol=0, atol=1e-3)


def test_pca_is_never_mirrored() -> None:
    matrix = stretched(50, 6)
    found = pca_layout(matrix, 3)
    largest = found.gather(0, found.abs().argmax(dim=0, keepdim=True))
    assert bool((largest > 0).all())
    again = pca_layout(matrix * torch.tensor([-1.0, 1, -1, 1, 1, -1]), 3)  # mirrored axes
    torch.testing.assert_close(again, found, rtol=0, atol=1e-3)


def test_pca_in_chunks_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = stretched(50, 6)
    whole = pca_layout(matrix)
    monkeypatch.setattr(layout, "_CHUNK_ROWS", 7)
    torch.testing.assert_close(pca_layout(matrix), whole, rtol=0, atol=1e-4)


def test_pca_of_fewer_columns_is_filled_with_zeros() -> None:
    matrix = torch.tensor([[1.0], [2.0], [6.0]])
    assert pca_layout(matrix).tolist() == [[-2.0, 0.0], [-1.0, 0.0], [3.0, 0.0]]


@pytest.mark.parametrize("matrix", [torch.ones(1, 4), torch.zeros(6, 3), torch.ones(6, 3)])
def test_pca_of_rows_without_spread_is_one_point(matrix: Tensor) -> None:
    assert torch.equal(pca_layout(matrix), torch.zeros(len(matrix), 2))


@pytest.mark.slow
def test_umap_keeps_blobs_apart_repeats_itself_and_reports_every_phase() -> None:
    blobs = torch.cat([gaussian(100, 10, 1), gaussian(100, 10, 2) + 8])
    settings = UmapSettings(epochs=40, seed=3)
    seen: list[Progress] = []
    found = umap_layout(blobs, settings, progress=seen.append)
    assert found.shape == (200, 2)
    assert found.dtype == torch.float32
    assert bool(torch.isfinite(found).all())
    centres = found[:100].mean(dim=0), found[100:].mean(dim=0)
    radius = max(
        float((part - centre).norm(dim=1).max())
        for part, centre in zip(found.split(100), centres, strict=True)
    )
    assert float((centres[0] - centres[1]).norm()) > 1.5 * radius
    assert list(dict.fromkeys(step.phase for step in seen)) == [
        "Reducing to principal components",
        "Loading UMAP and finding neighbours",
        "Arranging the map",
    ]
    epochs = [step.done for step in seen if step.phase == "Arranging the map"]
    assert epochs == sorted(epochs)
    assert (epochs[-1], seen[-1].total) == (40, 40)
    assert torch.equal(umap_layout(blobs, settings), found)
    assert not torch.equal(umap_layout(blobs, UmapSettings(epochs=40, seed=4)), found)


@pytest.mark.slow
def test_umap_is_cancelled_at_an_epoch() -> None:
    reached: list[int] = []

    def cancel(progress: Progress) -> None:
        if progress.phase == "Arranging the map":
            reached.append(progress.done)
            if progress.done > 0:
                raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        umap_layout(gaussian(200, 10), UmapSettings(epochs=100_000), progress=cancel)
    assert reached[-1] < 10_000  # of minutes of work


@pytest.mark.slow
@pytest.mark.parametrize("matrix", [gaussian(5, 3), gaussian(30, 1), gaussian(4, 3).repeat(9, 1)])
def test_umap_of_awkward_rows_is_finite(matrix: Tensor) -> None:
    found = umap_layout(matrix, UmapSettings(epochs=10))
    assert found.shape == (len(matrix), 2)
    assert bool(torch.isfinite(found).all())


@pytest.mark.parametrize("matrix", [torch.zeros(9, 3), torch.ones(9, 3)])
def test_umap_of_equal_rows_is_one_point(matrix: Tensor) -> None:
    assert torch.equal(umap_layout(matrix), torch.zeros(9, 2))


def test_umap_of_too_few_rows_is_refused() -> None:
    with pytest.raises(ParameterError, match="at least 5 rows, got 4; use PCA"):
        umap_layout(gaussian(4, 3))


@pytest.mark.parametrize(
    "wrong",
    [{"neighbours": 1}, {"epochs": 0}, {"min_dist": -0.1}, {"min_dist": 1.5}],
)
def test_umap_settings_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ParameterError, match=r"UMAP needs neighbours >= 2, epochs >= 1"):
        UmapSettings(**wrong)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_umap_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(ParameterError, match="UMAP needs a seed of 0 to 4,294,967,295"):
        UmapSettings(seed=seed)
