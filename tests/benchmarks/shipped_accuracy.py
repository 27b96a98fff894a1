"""What the app draws of the bundled model's accuracy, from what `bench_frontier` measured.

    python -m tests.benchmarks.shipped_accuracy

Reads ``assets/results/frontier.json`` and the settings chosen for it, and writes
``assets/minilm/accuracy.json``: every way to store the table, each with the plan that makes it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import engine
from engine.cell_points import name_group
from engine.frontier import BytePoint, Family, SizeCurves
from engine.grid import WEIGHTED_SVD
from engine.library import save_accuracy
from tests.benchmarks.bench_coded_settings import CHOICE, Settings
from tests.benchmarks.bench_frontier import FLOOR, GROUP, MESSI_K, POWER, coded_setting

RESULTS = Path("assets/results/frontier.json")
FOLDER = Path("assets/minilm")
_WEIGHTS = {"weights": "en", "weight_power": POWER, "weight_floor": FLOOR}
_FAMILIES: dict[str, Family] = {"svd": "svd", WEIGHTED_SVD: "svd", "messi": "messi"}
_LINES = {
    "svd": "SVD",
    WEIGHTED_SVD: "weighted SVD",
    "messi": f"k = {MESSI_K}, weighted",
    "product": "product quantisation",
    "product, weighted": "weighted product quantisation",
}


def read_accuracy(columns: int) -> SizeCurves:
    """The ways that were measured, as points.

    Args:
        columns: Of the table.
    """
    ways: list[dict[str, Any]] = json.loads(RESULTS.read_text(encoding="utf-8"))["ways"]
    whole = next(way for way in ways if way["line"] == "whole")
    settings = Settings(CHOICE)
    points = [_point(way, settings, columns) for way in ways if way is not whole]
    return SizeCurves(
        measure="STS-B (Spearman × 100)",
        points=tuple(sorted(points, key=lambda point: point.stored_bytes)),
        dense_bytes=whole["stored_bytes"],
        higher_is_better=True,
        whole=whole["stsb_dev"],
        check="stsb",
    )


def _point(way: dict[str, Any], settings: Settings, columns: int) -> BytePoint:
    line, k, bits, rate = way["line"], way["k"], way["bits"], 0.0
    family, plan = _FAMILIES.get(line), None
    if line.startswith("coded"):
        share = float(way["asked"].removesuffix("%")) / 100
        setting = coded_setting(settings, share, single=k == 1)
        family, name = "coded", f"coded, k = {k}"
        plan = {
            "method": "coded", "k": k, "max_bytes": way["asked"], "weights": "en",
            "weight_power": setting.power, "weight_floor": setting.floor,
        }  # fmt: skip
    elif line.startswith("int"):
        group = GROUP if line == "int, groups" else columns
        family, name = "rounding", name_group(group, columns)
    elif family is None:
        family, name, bits = "product", _LINES[line], 0
    else:
        name, rate = _LINES[line], float(way["asked"].removeprefix("rate "))
        plan = {"rate": rate, "n_init": 1, "k": k} if family == "messi" else {
            "rate": rate, "method": "svd"
        }  # fmt: skip
        plan |= {} if line == "svd" else _WEIGHTS
        plan |= {} if bits == 32 else {"bits": bits, "basis_bits": 8}
    score = way["stsb_dev"]
    return BytePoint(
        family=family, line=name, k=k, bits=bits, rate=rate, stored_bytes=way["stored_bytes"],
        value=score, lowest=score, highest=score, plan=plan, seconds=way["seconds"],
    )  # fmt: skip


def main() -> None:
    """Write the file."""
    table = engine.load_table("bundled:minilm")
    save_accuracy(FOLDER, table.fingerprint, read_accuracy(table.matrix.shape[1]))


if __name__ == "__main__":
    main()
