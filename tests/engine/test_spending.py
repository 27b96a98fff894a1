"""What a lesson spends in two ways is within one budget, and what is bought loses less."""

from __future__ import annotations

import pytest
import torch

from engine import lessons, spending
from engine.budget import parameters
from engine.coding.levels import nearest_levels


@pytest.mark.parametrize("j", [2, 4, 6, 8])
def test_bought_dimensions_lose_less_within_the_budget(j: int) -> None:
    points, labels = lessons.uneven_clusters()
    spent = spending.spend_budget(points, labels, j)
    n, d = points.shape
    stored = sum(
        dimension * (int((labels == c).sum()) + d) for c, dimension in enumerate(spent.bought)
    )
    assert stored <= spent.budget == parameters(n, d, 3, j)
    assert spent.even == (j, j, j)
    assert spent.lost_bought < spent.lost_even
    held = [points[labels == c] for c in range(3)]
    for dimensions, lost in ((spent.even, spent.lost_even), (spent.bought, spent.lost_bought)):
        cut = [
            torch.linalg.svdvals(rows)[dimension:].square().sum()
            for rows, dimension in zip(held, dimensions, strict=True)
        ]
        assert lost == pytest.approx(float(sum(cut) / points.square().sum()), abs=1e-9)


@pytest.mark.parametrize("j", [2, 5, 9])
@pytest.mark.parametrize("bits", [1, 3, 6])
def test_bought_bits_lose_less_within_the_budget(j: int, bits: int) -> None:
    points, labels = lessons.uneven_clusters()
    spent = spending.spend_bits(points, labels, j, bits)
    assert spent.even.tolist() == [[bits] * j + [0] * (points.shape[1] - j)] * 3
    assert 200 * int(spent.bought.sum()) <= spent.budget == 200 * 3 * j * bits
    assert spent.lost_bought < spent.lost_even < 1
    falling = spent.bought.diff(dim=1)
    assert bool((falling <= 0).all())  # where more energy lies, there are no fewer bits


def test_even_bits_lose_what_rounding_does() -> None:
    points, labels = lessons.uneven_clusters()
    j, bits = 4, 5
    lost = 0.0
    for cluster in range(3):
        own = points[labels == cluster]
        _, _, directions = torch.linalg.svd(own, full_matrices=False)
        along = own @ directions.T
        steps = along.square().mean(dim=0).sqrt()
        kept = (nearest_levels((along / steps).float(), bits) * steps)[:, :j]
        lost += float((along[:, :j] - kept).square().sum() + along[:, j:].square().sum())
    spent = spending.spend_bits(points, labels, j, bits)
    # Of 200 normal numbers, whose tails differ from one draw to the next.
    assert spent.lost_even == pytest.approx(lost / float(points.square().sum()), rel=0.01)


def test_bits_of_a_large_cluster_cost_more() -> None:
    points, labels = lessons.uneven_clusters()
    kept = torch.cat([torch.arange(20), torch.arange(200, 600)])  # a tenth of the first cluster
    spent = spending.spend_bits(points[kept], labels[kept], 5, 3)
    counts = labels[kept].bincount()
    assert int((spent.bought.sum(dim=1) * counts).sum()) <= spent.budget == 5 * 3 * len(kept)
    # A tenth of the rows has a tenth of the energy, and a bit of theirs costs a tenth.
    whole = spending.spend_bits(points, labels, 5, 3)
    assert abs(int(spent.bought[0].sum()) - int(whole.bought[0].sum())) <= 2


def test_empty_clusters_get_nothing_and_change_nothing() -> None:
    points, labels = lessons.uneven_clusters()
    full, gap = (spending.spend_bits(points, own, 5, 3) for own in (labels, labels + labels // 2))
    assert (gap.budget, gap.lost_bought) == (full.budget, pytest.approx(full.lost_bought))
    assert not bool(gap.bought[2].any())
    assert torch.equal(gap.bought[[0, 1, 3]], full.bought)
    dimensions = spending.spend_budget(points, labels + labels // 2, 5).bought
    assert dimensions[2] == 0


def test_rows_of_zeros_lose_nothing() -> None:
    points, labels = torch.zeros(30, 6).double(), torch.arange(30) % 3
    spent = spending.spend_bits(points, labels, 2, 3)
    assert (spent.lost_even, spent.lost_bought, int(spent.bought.sum())) == (0, 0, 0)
    dimensions = spending.spend_budget(points, labels, 2)
    assert (dimensions.lost_even, dimensions.lost_bought) == (0, 0)
    assert not bool(dimensions.spectra.any())
