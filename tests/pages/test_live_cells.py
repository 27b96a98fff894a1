"""The cells that the sliders choose from: words and pictures against the cells of a sweep."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from engine.curves import read_curves
from engine.grid import WEIGHTED_SVD, SweepCell, SweepConfig, SweepResult
from engine.paths import assets_folder
from pages.parts.live_cells import closest, describe_cells, rates_of, say_who_wins


def cell(k: int, rate: float, error: float, *, weighted: float | None = None) -> SweepCell:
    return SweepCell(
        method="svd" if k == 1 else "messi",
        k=k,
        j=4,
        asked_rate=rate,
        rate=rate,
        parameters=100 * 4 + k * 4 * 10,
        stored_bytes=4 * (100 * 4 + k * 4 * 10),
        seed=0,
        relative_error=error,
        steps=1,
        wall_seconds=0.0,
        least_j=4,
        weighted_error=weighted,
    )


def sweep_of(*cells: SweepCell) -> SweepResult:
    config = SweepConfig(rates=(0.2, 0.6), ks=(2, 5), seeds=(0,))
    return SweepResult(name="t", source="s", rows=100, columns=10, config=config, cells=cells)


SWEEP = sweep_of(
    cell(1, 0.2, 0.1),
    cell(2, 0.2, 0.0995),
    cell(5, 0.2, 0.15),
    cell(1, 0.6, 0.5),
    cell(2, 0.6, 0.4),
)


def test_each_cell_says_what_it_holds() -> None:
    found = describe_cells(SWEEP, read_curves(SWEEP.cells), theme="light")
    assert (found["ks"], found["rates"]) == (["2", "5"], ["20%", "60%"])
    (even, wins), (loses, missing) = found["cells"]
    assert (even["winner"], even["why"]) == (
        "About even",
        ": at 20%, 2 subspaces lose 0.5% less.",
    )
    assert wins["winner"] == "2 subspaces win"
    assert "20% less than the SVD" in wins["why"]
    assert loses["winner"] == "The SVD wins"
    assert "5 subspaces lose 50% more" in loses["why"]
    assert (missing["winner"], missing["rows"]) == ("No fit", [])
    rows = {name: (ours, svd) for name, ours, svd in wins["rows"]}
    assert rows["Error (energy lost)"] == (["40.00%", ""], ["50.00%", ""])
    assert rows["Of the SVD’s error"][0] == ["80%", ""]
    assert rows["Numbers n·j + k·j·d"] == (["480", "100·4 + 2·4·10"], ["440", "100·4 + 1·4·10"])
    assert rows["Bytes stored"] == (["1.9 kB", ""], ["1.8 kB", ""])


def test_uneven_dimensions_show_no_formula() -> None:
    sweep = sweep_of(cell(1, 0.2, 0.1), replace(cell(2, 0.2, 0.09), parameters=470))
    found = describe_cells(sweep, read_curves(sweep.cells), theme="light")
    rows = {name: ours for name, ours, _ in found["cells"][0][0]["rows"]}
    assert rows["Numbers n·j + k·j·d"] == ["470", ""]


def test_sliders_ring_the_cell_they_are_at() -> None:
    found = describe_cells(SWEEP, read_curves(SWEEP.cells), theme="dark")
    at_20, at_60 = found["by_k"]
    assert [mark["cell"] for mark in at_20["marks"]] == [-1, 0, 1]  # the SVD, k = 2, k = 5
    assert [mark["text"] for mark in at_20["marks"]] == ["100%", "100%", "150%"]
    assert [mark["cell"] for mark in at_60["marks"]] == [-1, 0]
    two, five = found["by_rate"]
    assert [mark["cell"] for mark in two["marks"]] == [0, 1]
    assert [mark["cell"] for mark in five["marks"]] == [0]


def test_pictures_of_the_shipped_sweep_lie_within_their_frames() -> None:
    sweep = SweepResult.load(assets_folder() / "minilm" / "sweep.json")
    curves = read_curves(sweep.cells)
    found = describe_cells(sweep, curves, theme="light")
    json.dumps(found, allow_nan=False)
    for rate, picture in zip(rates_of(curves), found["by_k"], strict=True):
        heights = {mark["cell"]: mark["y"] for mark in picture["marks"]}
        ratios = {
            place: point.svd_ratio
            for place, points in enumerate(curves.by_k.values())
            for point in points
            if point.rate == rate
        }
        # Heights are a rising straight line of the ratios: 1, the SVD's own, among them.
        ends = picture["yTicks"][0][1], picture["yTicks"][-1][1]
        low, high = (float(text.strip("%")) for text in ends)
        for place, ratio in {**ratios, -1: 1.0}.items():
            assert low + heights[place] * (high - low) == pytest.approx(100 * ratio)
    for picture in (*found["by_k"], *found["by_rate"]):
        for place in (*picture["marks"], *({"x": x, "y": 0} for x, _ in picture["xTicks"])):
            assert 0 <= place["x"] <= 1
            assert 0 <= place["y"] <= 1


def test_weighted_errors_are_judged_by_the_weighted_svd() -> None:
    cells = (
        cell(1, 0.2, 0.1, weighted=0.3),
        replace(cell(1, 0.2, 0.2, weighted=0.2), method=WEIGHTED_SVD),
        cell(2, 0.2, 0.3, weighted=0.1),
    )
    curves = read_curves(cells, weighted=True)
    found = describe_cells(sweep_of(*cells), curves, theme="light")
    told = found["cells"][0][0]
    assert "lose 50% less than the weighted SVD" in told["why"]
    assert told["rows"][0][0] == "Error, weighted by use"


def test_svd_that_keeps_everything_wins() -> None:
    curves = read_curves([cell(1, 0.2, 0.0), cell(2, 0.2, 0.1)])
    winner, why = say_who_wins(curves.by_k[2][0], curves.svd[0], weighted=False)
    assert (winner, why) == ("The SVD wins", ": at 20% it keeps everything.")


def test_link_leads_to_the_closest_cell() -> None:
    assert closest([2, 3, 5, 10], 7) == 2
    assert closest([10.0, 20.0], 90) == 1
