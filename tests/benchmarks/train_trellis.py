"""Train the levels of `engine.coding.trellis` on normal numbers, and measure what they lose.

    python -m tests.benchmarks.train_trellis

Writes `trellis.safetensors` into the current folder, not over the package's: saved files are
decoded with its levels, and others need a new schema and format
(`tests/engine/coding/test_golden.py`).

Lloyd's algorithm with Viterbi's in it: every number goes to the level of the best path through its
row, every level to the mean of its numbers. Levels of few bits start in random order, which suits
them best; those of many would find no good one that way, and start as levels of single numbers do
(Panter and Dite), shifted a little from state to state.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from engine.coding.levels import NORMAL_LOSSES
from engine.coding.trellis import LEVEL_UNIT, STATES, WINDOW, find_paths

COMMAND = "python -m tests.benchmarks.train_trellis"
ROUNDS, TRAINED, MEASURED, NUMBERS = 20, 6000, 4000, 64  # rows, and numbers of a row
SHUFFLED = 6  # bits: levels of no more start in random order
HELD = 2  # how many numbers its old level counts as: windows may be rare


def main() -> None:
    """Train, measure, write the levels and the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("assets/results"))
    parser.add_argument("--levels", type=Path, default=Path("trellis.safetensors"))
    options = parser.parse_args()
    torch.manual_seed(0)
    levels = torch.empty(WINDOW, STATES)
    losses: list[float] = []
    rows: list[str] = []
    for bits in range(1, WINDOW + 1):
        levels[bits - 1] = trained(bits)
        losses.append(loss(bits, levels))
        rows.append(describe(bits, losses[-1]))
        print(rows[-1], flush=True)
    stored = {
        "levels": (levels / LEVEL_UNIT).round().to(torch.int16),
        "losses": torch.tensor(losses, dtype=torch.float64),
    }
    save_file(stored, options.levels)
    page = [
        "# Levels of a trellis beside those of single numbers",
        "",
        f"`{COMMAND}`: standard normal numbers, {NUMBERS} a row, {MEASURED:,} rows that the "
        "levels were not trained on; signal to noise in decibels. The bound is Shannon's, which "
        "no code of so many bits a number passes; single numbers have the levels of "
        "`engine.coding.levels`. Seed 0.",
        "",
        "| bits | single numbers | trellis | gain | bound |",
        "| ---: | ---: | ---: | ---: | ---: |",
        *rows,
        "",
    ]
    (options.output / "trellis.md").write_text("\n".join(page), encoding="utf-8")


def trained(bits: int) -> Tensor:
    """Levels of all windows for numbers of so many bits, shape (STATES,), in whole units."""
    own = shuffled(bits) if bits <= SHUFFLED else interleaved(bits)
    for _ in range(ROUNDS if bits < WINDOW else 0):
        numbers = torch.randn(TRAINED, NUMBERS)
        windows = windows_of(numbers, bits, own).flatten()
        sums = (HELD * own).index_add_(0, windows, numbers.flatten())
        own = sums / (HELD + windows.bincount(minlength=STATES))
    return (own / LEVEL_UNIT).round() * LEVEL_UNIT


def shuffled(bits: int) -> Tensor:
    """Quantiles of the normal distribution in random order, as much nearer as levels are."""
    own = torch.special.ndtri((torch.randperm(STATES).double() + 0.5) / STATES).float()
    return own * math.sqrt(1 - NORMAL_LOSSES[bits - 1])


def interleaved(bits: int) -> Tensor:
    """For each state as many levels as numbers have codes, shifted from one state to the next."""
    windows, free = torch.arange(STATES), WINDOW - bits
    codes, state = windows % (1 << bits), windows >> bits
    turned = sum(((state >> bit & 1) << (free - 1 - bit) for bit in range(free)), codes * 0)
    shares = (codes + (turned + 0.5) / (1 << free)) / (1 << bits)
    return (math.sqrt(3) * torch.special.ndtri(shares.double())).float()


def windows_of(numbers: Tensor, bits: int, own: Tensor) -> Tensor:
    """The window of each number on the best path through its row, int64."""
    levels = own.expand(WINDOW, -1)
    codes = find_paths(numbers, torch.ones(NUMBERS), widths(bits), levels=levels)[0].long()
    before = -(-WINDOW // bits)  # so many numbers fill a window; the first have the last before
    wound = torch.cat([codes[:, -before:], codes], dim=1)
    windows = torch.zeros_like(codes)
    for back in range(before):
        windows += wound[:, before - back : wound.shape[1] - back] << (bits * back)
    return windows % STATES


def loss(bits: int, levels: Tensor) -> float:
    """Mean squared error of normal numbers that were not trained on."""
    numbers = torch.randn(MEASURED, NUMBERS)
    return float(
        (find_paths(numbers, torch.ones(NUMBERS), widths(bits), levels=levels)[1] - numbers)
        .square()
        .mean()
    )


def widths(bits: int) -> Tensor:
    """So many bits for every number of a row."""
    return torch.full((NUMBERS,), bits, dtype=torch.uint8)


def describe(bits: int, lost: float) -> str:
    """A row of the page."""
    single, found = (-10 * math.log10(value) for value in (NORMAL_LOSSES[bits - 1], lost))
    bound = 20 * bits * math.log10(2)
    return f"| {bits} | {single:.2f} | {found:.2f} | {found - single:+.2f} | {bound:.2f} |"


if __name__ == "__main__":
    main()
