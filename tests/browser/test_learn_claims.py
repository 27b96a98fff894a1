"""What the Learn page draws and counts, against the engine; most tests share one page."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from engine import lessons, load_table, spending
from engine.clustering.em import EMPlan
from engine.lessons import HalfStep
from pages.parts.palette import subspace_colour
from tests.browser.conftest import PageOpener
from tests.browser.driver import (
    blank_page,
    chart_traces,
    find_keyed_chart,
    open_app,
    settle,
    wait_until,
)
from tests.browser.explorer import TinyTable, choose, expect_no_traceback, go_to_learn, link
from tests.browser.server import Server
from tests.browser.test_learn import press_point

pytestmark = pytest.mark.usefixtures("quiet_log")

CHARTS = (
    *("lesson-one-rows", "lesson-one-angles", "lesson-space-1", "lesson-space-3"),
    *("lesson-em", "lesson-costs", "lesson-starts"),
    *("lesson-outliers-True", "lesson-outliers-False"),
    *("lesson-spectra-True", "lesson-spectra-False", "lesson-bits-True", "lesson-bits-False"),
    *("lesson-own-map", "lesson-own-costs"),
)
STARTS = 20
_EYE = "chart => Object.values(chart._fullLayout.scene.camera.eye)"
_OUTLINED = "chart => chart._fullData[0].marker.line.width.findIndex(width => width > 0)"
_INKS = """terms => Array.from(new Set(terms.map(term => getComputedStyle(term).color)))"""
_COLOURS = """chart => Array.from(new Set(chart._fullData.flatMap(
  ({ line, marker, color }) => [line?.color, marker?.color, color].flat()
    .filter(colour => /^#/.test(colour)))))"""


@pytest.fixture(scope="module")
def shared(browser: Browser, app_server: Server, tiny: TinyTable) -> Iterator[Page]:
    """The Learn page on the tiny table, in whatever state the test before has left it."""
    with blank_page(browser) as page:
        open_app(page, link(app_server, tiny.path))
        go_to_learn(page)
        yield page


def slider(page: Page, key: str) -> Locator:
    return page.locator(f".st-key-{key}").get_by_role("slider")


def move(page: Page, key: str, *keys: str) -> int:
    """Press keys on a slider; where it stands then."""
    for name in keys:
        slider(page, key).press(name)
    settle(page)
    return int(slider(page, key).input_value())


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()
    settle(page)


def traces_of(page: Page, key: str, name: str) -> list[dict[str, Any]]:
    """Traces of a chart that are called so, or begin so."""
    traces = chart_traces(find_keyed_chart(page, key))
    return [trace for trace in traces if trace["name"].startswith(name)]


def angles(page: Page, key: str, name: str) -> list[float]:
    """Angles of the lines of a picture in the plane, in degrees."""
    lines = [np.array([trace["x"], trace["y"]]) for trace in traces_of(page, key, name)]
    return [lessons.angle_of(torch.from_numpy(ends[:, 1] - ends[:, 0])) for ends in lines]


def em_of(start: int) -> tuple[HalfStep, ...]:
    return lessons.trace_random_start(lessons.lines_in_plane(), EMPlan.even(4, 1), start)


def shown_start(page: Page) -> int:
    """The start whose mark is outlined."""
    return find_keyed_chart(page, "lesson-starts").evaluate(_OUTLINED)


def start_anew(page: Page) -> tuple[int, int]:
    """Press “Another start”; the start that was shown before, and the one that is now."""
    before = shown_start(page)
    press(page, "Another start")
    wait_until(page, lambda: shown_start(page) != before, what="another start is shown")
    return before, shown_start(page)


def expect_until(page: Page, read: Callable[[], Any], wanted: object) -> None:
    """A picture is drawn a moment after the script has ended."""
    wait_until(page, lambda: read() == wanted, what=f"{read} gives {wanted}")


def expect_half_step(page: Page, step: HalfStep) -> None:
    """The picture has the rows in the parts, and the lines, that the engine has."""
    points = lessons.lines_in_plane()
    parts = [points[step.labels == label, 0].tolist() for label in range(4)]
    bases = [] if step.subspaces is None else step.subspaces.bases
    lines = [lessons.angle_of(basis[0]) for basis in bases]

    def is_drawn() -> bool:
        drawn = [trace["x"] for trace in traces_of(page, "lesson-em", "rows of ")]
        found = angles(page, "lesson-em", "subspace ")
        return drawn == [part for part in parts if part] and found == pytest.approx(lines)

    wait_until(page, is_drawn, what=f"the {step.phase} of round {step.round} is drawn")


def pixels(chart: Locator, colours: list[str]) -> list[int]:
    """Pixels of each colour on the screen."""
    image = np.asarray(Image.open(io.BytesIO(chart.screenshot())).convert("RGB")).astype(int)
    wanted = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours]
    return [int((np.abs(image - rgb).max(axis=2) <= 32).sum()) for rgb in wanted]


def expect_drawn(page: Page, key: str) -> None:
    """Every colour that plotly was given for a chart is on the screen."""
    chart = find_keyed_chart(page, key)
    colours = chart.evaluate(_COLOURS)
    wait_until(page, lambda: min(pixels(chart, colours)) > 5, what=f"{key} shows {colours}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_untouched_everything_is_drawn_and_terms_have_the_colour_of_their_lines(
    app_server: Server, tiny: TinyTable, open_page: PageOpener, scheme: Literal["light", "dark"]
) -> None:
    with open_page(scheme=scheme) as page:
        open_app(page, link(app_server, tiny.path))
        go_to_learn(page)
        for key in CHARTS:
            expect_drawn(page, key)
        expect(page.locator(".katex-error")).to_have_count(0)
        equations = page.locator(".katex-display").filter(has=page.locator('[style*="color:"]'))
        assert equations.count() >= 6, "one of lessons 1, 3, 4, 5, two of lesson 2"
        terms = page.locator('.katex-html [style*="color:"]')
        first = subspace_colour(0, scheme)
        assert terms.evaluate_all(_INKS) == ["rgb({}, {}, {})".format(*bytes.fromhex(first[1:]))]
        for key in ("one-rows", "space-1", "space-3", "em", "spectra-True"):
            assert find_keyed_chart(page, f"lesson-{key}").evaluate(_COLOURS)[0] == first
        band = page.locator("figure svg[role=img]").last.locator("polygon").first
        expect(band).to_have_attribute("fill", first)
        expect_no_traceback(page)


def test_residuals_are_drawn_and_turn_with_the_line(shared: Page) -> None:
    points = lessons.cloud_in_plane()
    drawn = []
    for keys in (("Home",), ("PageUp", "ArrowRight")):
        degrees = move(shared, "lesson-angle", *keys)
        direction = lessons.line_at(degrees)
        feet = (points @ direction)[:, None] * direction
        (lost,) = traces_of(shared, "lesson-one-rows", "what is lost")
        strokes = np.column_stack([lost["x"], lost["y"]]).astype(float).reshape(-1, 3, 2)
        np.testing.assert_array_equal(strokes[:, 0], points)
        np.testing.assert_allclose(strokes[:, 1], feet, atol=1e-12)
        share = np.square(strokes[:, 0] - strokes[:, 1]).sum() / points.square().sum()
        expect(shared.get_by_text(f"Your line loses {share:.0%} of the rows")).to_be_visible()
        drawn.append(degrees)
    assert drawn[0] == 0 < drawn[1]


def drag(page: Page, chart: Locator) -> None:
    """Turn a picture in space by the mouse."""
    before, box = chart.evaluate(_EYE), chart.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + box["width"] / 8, y + box["height"] / 8, steps=5)
    page.mouse.up()
    wait_until(page, lambda: chart.evaluate(_EYE) != before, what="the camera has moved")


@pytest.mark.parametrize(("k", "numbers"), [(1, 246), (3, 129)])
def test_subspaces_in_space_say_what_they_store_and_can_be_turned(
    shared: Page, k: int, numbers: int
) -> None:
    key = f"lesson-space-{k}"
    column = shared.get_by_test_id("stColumn").filter(has=shared.locator(f".st-key-{key}"))
    expect(column.get_by_text(f"{numbers} numbers of 120 · 3 = 360")).to_be_visible()
    expect(column.locator(".katex-html").filter(has_text="bases")).to_contain_text(f"={numbers}")
    drag(shared, find_keyed_chart(shared, key))


def test_refit_and_assign_are_those_of_em_and_back_undoes_them(shared: Page) -> None:
    _, start = start_anew(shared)
    steps = em_of(start)
    for step in steps[1:4]:
        press(shared, f"Next: {step.phase}")
        expect_half_step(shared, step)
    for step in steps[2::-1]:
        press(shared, "Back")
        expect_half_step(shared, step)
    expect(shared.get_by_role("button", name="Back")).to_be_disabled()


def test_another_start_begins_at_half_step_0_with_other_parts(shared: Page) -> None:
    move(shared, "lesson-step", "End")
    expect_half_step(shared, em_of(shown_start(shared))[-1])
    before, after = start_anew(shared)
    expect(slider(shared, "lesson-step")).to_have_value("0")
    assert not torch.equal(em_of(before)[0].labels, em_of(after)[0].labels)
    expect_half_step(shared, em_of(after)[0])


def test_twenty_starts_end_in_different_minima(shared: Page) -> None:
    ends = [em_of(start)[-1] for start in range(STARTS)]
    costs = [end.cost or 0.0 for end in ends]
    (marks,) = traces_of(shared, "lesson-starts", "starts")
    assert marks["y"] == pytest.approx(costs)
    stuck = [start for start in range(STARTS) if costs[start] > 1.05 * min(costs)]
    free = [start for start in range(STARTS) if start not in stuck]
    assert len({round(costs[start], 3) for start in stuck}) > 1
    expect(shared.get_by_text(f"{len(stuck)} get stuck")).to_be_visible()
    for start in (stuck[-1], free[-1]):
        press_point(shared, find_keyed_chart(shared, "lesson-starts"), start)
        expect_until(shared, partial(shown_start, shared), start)
        expect_half_step(shared, ends[start])
    assert not torch.equal(ends[stuck[-1]].labels, ends[free[-1]].labels)


def test_a_robust_loss_draws_another_line(shared: Page) -> None:
    points = lessons.line_with_outliers()
    squared = lessons.angle_of(lessons.best_line(points))
    for name, loss in (("Huber", "huber"), ("Tukey", "tukey"), ("Distance (ℓ₁)", "l1")):
        choose(shared, name)
        robust = lessons.angle_of(lessons.best_line(points, loss))
        for key, angle in (("lesson-outliers-True", squared), ("lesson-outliers-False", robust)):
            expect_until(shared, partial(angles, shared, key, "the line"), pytest.approx([angle]))
        assert abs(robust - 20) < 5 < abs(squared - 20), "the forty rows lie along 20°"


def test_stored_numbers_are_counted_from_the_sliders(shared: Page) -> None:
    block = shared.get_by_test_id("stHorizontalBlock")
    lesson = block.filter(has=shared.locator(".st-key-lesson-n"))
    totals = set()
    for name, key in (("n", "End"), ("d", "ArrowLeft"), ("k", "ArrowRight"), ("j", "ArrowRight")):
        move(shared, f"lesson-{name}", key)
        n, d, k, j = (int(slider(shared, f"lesson-{name}").input_value()) for name in "ndkj")
        total = n * j + k * j * d
        expect(lesson.locator(".katex-html")).to_have_text(re.compile(rf"={total}$"))
        totals.add(total)
    assert len(totals) == 4


def kept(page: Page, key: str) -> list[int]:
    """Bars of each subspace that have its colour."""
    bars = traces_of(page, key, "subspace ")
    return [bar["color"].count(subspace_colour(label, "light")) for label, bar in enumerate(bars)]


def heights(page: Page, key: str) -> list[list[float]]:
    return [bar["y"] for bar in traces_of(page, key, "subspace ")]


def test_dimensions_are_bought_for_what_the_even_ones_store(shared: Page) -> None:
    points, labels = lessons.uneven_clusters()
    seen = set()
    for press_key in ("Home", "ArrowRight", "End"):
        j = move(shared, "lesson-even", press_key)
        spent = spending.spend_budget(points, labels, j)
        for key, dimensions in (("True", [j] * 3), ("False", list(spent.bought))):
            expect_until(shared, partial(kept, shared, f"lesson-spectra-{key}"), dimensions)
        np.testing.assert_allclose(heights(shared, "lesson-spectra-True"), spent.spectra)
        seen.add(spent.bought)
    assert len(seen) == 3


def test_bits_are_spent_as_the_engine_spends_them(shared: Page) -> None:
    points, labels = lessons.uneven_clusters()
    j = int(slider(shared, "lesson-even").input_value())
    seen = set()
    for press_key in ("Home", "ArrowRight"):
        spent = spending.spend_bits(points, labels, j, move(shared, "lesson-bits", press_key))
        for key, bits in (("True", spent.even), ("False", spent.bought)):
            expect_until(shared, partial(heights, shared, f"lesson-bits-{key}"), bits.tolist())
        seen.add(spent.budget)
    assert len(seen) == 2


def test_own_rows_follow_every_control(shared: Page, tiny: TinyTable) -> None:
    matrix, start = load_table(tiny.path).matrix, "directions"
    choose(shared, "By direction")
    move(shared, "lesson-own-step", "End")
    seen = set()

    def sizes() -> list[int]:
        return [len(trace["x"]) for trace in traces_of(shared, "lesson-own-map", "subspace ")]

    def costs() -> list[float]:
        return traces_of(shared, "lesson-own-costs", "cost")[0]["y"][1:]

    for key, name in (("k", "ArrowLeft"), ("rate", "ArrowLeft"), ("start", ""), ("step", "Home")):
        if name:
            move(shared, f"lesson-own-{key}", name)
        else:
            choose(shared, "At random")
            start = "random"
        k, rate, step = (
            int(slider(shared, f"lesson-own-{part}").input_value())
            for part in ("k", "rate", "step")
        )
        trace = lessons.trace_sample(matrix, k=k, rate=rate / 100, start=start)
        counts = trace.labels[step].bincount(minlength=k).tolist()
        expect_until(shared, sizes, counts)
        expect_until(shared, costs, pytest.approx(trace.costs[1:]))
        seen.add((tuple(counts), trace.costs))
    assert len(seen) == 4
