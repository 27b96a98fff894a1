"""What files that were saved stand for, for ever: a change here needs a new schema and format.

Raise `engine.storage.SCHEMA_VERSION` and the format of `engine.network.persistence`, and read or
refuse what was written before. Only then renew what is pinned here.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from engine.coding.levels import LEVELS
from engine.coding.trellis import LEVEL_UNIT, TRELLIS_LEVELS
from engine.factorization import Factorization

GOLDEN = Path(__file__).with_name("golden")
"""A plan of 18 rows: long rows of 1 to 10 bits, short ones, a point; bases of up to 12 bits."""


@pytest.mark.parametrize(
    ("levels", "unit", "pinned"),
    [
        (
            TRELLIS_LEVELS,
            LEVEL_UNIT,
            "aa73eeb959972c053b0a2d3092ef731f41c6d74bdedb70ea5b19860de2f14ee1",
        ),
        (LEVELS, 2.0**-13, "b74af75340d27916a3048a5ee4760db62243186e465b63ef28ce61d31f8f9d8d"),
    ],
)
def test_levels_are_those_of_files_saved_before(levels: Tensor, unit: float, pinned: str) -> None:
    units = (levels / unit).int()
    assert torch.equal(units * unit, levels)
    found = hashlib.sha256(units.numpy().astype("<i4").tobytes()).hexdigest()
    assert found == pinned, "other levels decode saved files to other rows: they need a new schema"


def test_a_plan_that_was_saved_is_decoded_to_the_same_rows() -> None:
    plan = Factorization.load(GOLDEN)
    assert {len(block.codes[0]) >= 8 for block in plan.coordinates} == {True, False}  # type: ignore[union-attr]
    rows = load_file(GOLDEN / "rows.safetensors")["rows"]
    # Sums of 20 products of about 0.04; a level that is a unit off moves a row by 1e-5.
    torch.testing.assert_close(plan.reconstruct(), rows, rtol=0, atol=1e-6)
