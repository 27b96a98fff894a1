"""What is promised of the bundled embedding, held on the real thing (error, not time)."""

from __future__ import annotations

import pytest

from engine import EmbeddingTable, load_table
from engine.compression import CompressionConfig, compress_table

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def minilm() -> EmbeddingTable:
    return load_table("bundled:minilm")


@pytest.mark.parametrize(
    ("rate", "error", "svd"), [(0.4, 0.138, 0.1498), (0.6, 0.255, 0.284), (0.8, 0.4445, 0.4988)]
)
def test_five_subspaces_lose_less_than_the_svd(
    minilm: EmbeddingTable, rate: float, error: float, svd: float
) -> None:
    plan = CompressionConfig(rate=rate, k=5, n_init=1, neighbours=0)  # its start: k-means
    compression = compress_table(minilm, plan)
    assert compression.figures.relative_error <= error
    assert compression.figures.parameters <= compression.svd.parameters
    # Any order of summation gives the same spectrum to five digits.
    assert compression.svd.relative_error == pytest.approx(svd, abs=1e-4)
    assert compression.beats_svd


def test_ten_subspaces_lose_to_the_svd_at_a_low_rate(minilm: EmbeddingTable) -> None:
    plan = CompressionConfig(rate=0.2, k=10, n_init=1, neighbours=0)
    compression = compress_table(minilm, plan)
    assert not compression.beats_svd
    assert compression.verdict.startswith("SVD wins here")
