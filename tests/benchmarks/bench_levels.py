"""What levels evenly apart lose beside those of coded subspaces, on real coordinates.

python -m tests.benchmarks.bench_levels
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from engine import load_table, table_token_counts, token_weights
from engine.coding.levels import levels_of

COMMAND = "python -m tests.benchmarks.bench_levels"
FACTORS = torch.linspace(0.6, 1.8, 25).double()  # of the spread: each column takes the best
COLUMNS = 12  # every so many
# The distance of even levels that loses least of a normal number: Max (1960), table II, and its
# continuation; the factors find what suits other numbers.
EVEN_STEPS = (1.59577, 0.995687, 0.586019, 0.335201, 0.188139, 0.104063, 0.0568677, 0.0307624)


def main() -> None:
    """Measure, then write ``levels.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("assets/results"))
    options = parser.parse_args()
    columns, weights = coordinates()
    rows: list[str] = []
    for bits, step in enumerate(EVEN_STEPS, start=1):
        codes = torch.arange(2**bits, dtype=torch.int32)
        even = (codes - (2**bits - 1) / 2).double() * step
        lost = [
            loss(columns, weights, levels) for levels in (even, levels_of(codes, bits).double())
        ]
        rows.append(f"| {bits} | {lost[0]:.3g} | {lost[1]:.3g} | {lost[0] / lost[1]:.2f} |")
    page = "\n".join(
        [
            "# Levels evenly apart beside those of `engine.coding.levels`",
            "",
            f"`{COMMAND}`: coordinates of all-MiniLM-L6-v2 along the eigenvectors of its weighted "
            f"scatter, every {COLUMNS}th; weights (expected count per million + 16) ** 0.5; each "
            "column with the factor of its spread that loses least. Share of the weighted energy "
            "that is lost, mean over the columns.",
            "",
            "| bits | evenly apart | ours | even / ours |",
            "| ---: | ---: | ---: | ---: |",
            *rows,
            "",
        ]
    )
    (options.output / "levels.md").write_text(page, encoding="utf-8")
    print(page)


def coordinates() -> tuple[Tensor, Tensor]:
    """Some columns of unit weighted spread, shape (n, columns), and the weights, summing to 1."""
    table = load_table("bundled:minilm")
    assert isinstance(table.matrix, Tensor)
    rows = table.matrix.double()
    weights = token_weights(table_token_counts(table, "en"), 0.5, 16.0).double()
    weights = weights / weights.sum()
    _, vectors = torch.linalg.eigh((rows * weights[:, None]).T @ rows)
    found = rows @ vectors.flip(1)[:, ::COLUMNS]
    return found / (weights @ found.square()).sqrt(), weights


def loss(columns: Tensor, weights: Tensor, levels: Tensor) -> float:
    """Mean over the columns of what is lost of each with the factor that suits it."""
    found: list[Tensor] = []
    for factor in FACTORS:
        scaled = levels * factor
        edges = (scaled[1:] + scaled[:-1]) / 2
        found.append(weights @ (columns - scaled[torch.bucketize(columns, edges)]).square())
    return float(torch.stack(found).amin(dim=0).mean())


if __name__ == "__main__":
    main()
