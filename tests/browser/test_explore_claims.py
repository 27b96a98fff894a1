"""What the Explore page claims in words and drawings, against what the engine itself finds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Locator, Page, expect

from engine import EmbeddingTable, Factorization, RunStore, load_table, pca_layout
from engine.compression import CompressionConfig, compress_table
from engine.library import find_starter
from engine.measures import summarise_subspaces
from engine.naming import suggest_names
from engine.portraits import describe_row, describe_subspace
from engine.recording import record_compression
from engine.row_measures import find_row_measures
from engine.trust import MapTrust
from pages.parts.palette import CONTEXT, subspace_colour
from tests.browser.conftest import PageOpener
from tests.browser.driver import (
    chart_traces,
    find_chart,
    open_app,
    palette_pixels,
    settle,
    wait_until,
)
from tests.browser.explorer import (
    JOB_SECONDS,
    TinyTable,
    choose,
    expect_alert,
    job_panel,
    link,
    open_tiny,
    press_compress,
    runs_on_disk,
    search,
)
from tests.browser.server import Server

pytestmark = pytest.mark.usefixtures("quiet_log")

# Colours start over after the eighth subspace.
MANY = 10
# Controls that a test sets; a link names the token besides.
SET_BY_HAND = ("Subspaces k", "Compression rate", "Seed", "Map", "Colour", "Find a token")
# Label of each control → what is typed, chosen or slid to.
_CONTROLS = """() => Object.fromEntries([
  ...Array.from(document.querySelectorAll('input[aria-label]'),
    input => [input.ariaLabel, input.type === 'checkbox' ? input.checked : input.value]),
  ...Array.from(document.querySelectorAll('[role=radiogroup]'), group => [
    group.ariaLabel ?? group.parentElement.innerText.split('\\n')[0],
    group.querySelector('[aria-checked=true]')?.innerText.trim()]),
])"""


@pytest.fixture(scope="module")
def tiny_fit(app_server: Server, tiny: TinyTable) -> Factorization:
    """What the tiny run holds."""
    return Factorization.load(RunStore(app_server.home / "runs").load(tiny.run).folder)


@pytest.fixture
def many(app_server: Server, tmp_path: Path) -> TinyTable:
    """Rows near ten subspaces of dimension 3 out of 24, compressed: more than there are colours."""
    # Other rows each time: what was measured of the same rows would be kept.
    generator = np.random.default_rng(len(runs_on_disk(app_server)))
    parts = [generator.normal(size=(30, 3)) @ generator.normal(size=(3, 24)) for _ in range(MANY)]
    matrix = np.concatenate(parts).astype(np.float32)
    path = tmp_path / "many.npy"
    np.save(path, matrix)
    table, config = load_table(path), CompressionConfig(k=MANY, j=3, n_init=2)
    made = record_compression(table, config, compress_table(table, config))
    run = RunStore(app_server.home / "runs").create(*made)
    return TinyTable(path=path, tokens=tuple(table.tokens), matrix=matrix, run=run.id)


@pytest.fixture(scope="module")
def bundled() -> EmbeddingTable:
    """The table of the bundled model."""
    return load_table("bundled:minilm")


@pytest.fixture(scope="module")
def shipped_fit(bundled: EmbeddingTable) -> Factorization:
    """The plan that ships with the bundled model."""
    starter = find_starter(bundled.fingerprint)
    assert starter is not None
    return starter.fit(bundled.matrix)


def drawn(chart: Locator, what: str) -> list[Any]:
    """A property of each trace, as a list where it has one value a point."""
    return chart.evaluate(
        "(chart, path) => chart._fullData.map(trace => {"
        " const found = path.split('.').reduce((value, name) => value?.[name], trace) ?? [];"
        " return typeof found === 'object' ? Array.from(found) : found; })",
        what,
    )


def drawn_rows(chart: Locator) -> NDArray[np.int64]:
    """Rows of the points of a map, trace after trace."""
    return np.concatenate([np.array(rows, dtype=np.int64) for rows in drawn(chart, "customdata")])


def tab_to(page: Page, target: Locator, *, key: str = "Tab", most: int = 60) -> None:
    """Press a key until something has the focus."""
    for _ in range(most):
        if target.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press(key)
    pytest.fail(f"{target} is not reached by {most} times {key}")


def say_trust(trust: MapTrust | None) -> str:
    assert trust is not None
    return f"trustworthiness {trust.trustworthiness:.2f}, continuity {trust.continuity:.2f}"


def test_card_of_a_token_tells_what_the_engine_finds(
    app_server: Server, tiny: TinyTable, tiny_fit: Factorization, page: Page
) -> None:
    matrix = load_table(tiny.path).matrix
    portraits = [describe_row(tiny_fit, matrix, row) for row in range(len(tiny.tokens))]
    portrait = max((each for each in portraits if each.kept < 1), key=lambda each: each.error)
    open_tiny(page, app_server, tiny, map="PCA", token=portrait.row)
    card = page.locator(".st-key-token-card")
    expect(card.get_by_role("heading")).to_have_text(tiny.tokens[portrait.row])
    expect(card).to_contain_text(
        f"Subspace {portrait.label + 1} of {tiny_fit.k} · row {portrait.row} · "
        f"length {portrait.length:.3g}"
    )
    near = {each.row for each in portrait.before}
    kept = len(near & {each.row for each in portrait.after})
    assert 0 < kept < len(near)
    expect(card.get_by_test_id("stMetricValue")).to_have_text(
        [f"{portrait.error:.1%}", f"{kept} of {len(near)}"]
    )
    expect(card).to_contain_text(
        f"stored as {tiny_fit.dimensions[portrait.label]} coordinates, "
        f"which hold {portrait.energy[-1]:.1%} of its energy"
    )
    lost = card.get_by_test_id("stMarkdown").filter(has_text="What is lost").inner_text()
    named = lost.partition("points most towards: ")[2].strip().split(", ")
    assert named == [tiny.tokens[each.row] for each in portrait.residual[:6]]


def test_map_in_space_is_the_even_sample_that_it_says(
    app_url: str, bundled: EmbeddingTable, page: Page
) -> None:
    open_app(page, app_url)
    choose(page, "PCA")
    choose(page, "3-D")
    said = page.get_by_text("tokens are drawn in space: an even sample of the rows")
    count, total = re.findall(r"[\d,]{2,}", said.inner_text())[:2]
    assert total == f"{len(bundled.tokens):,}"
    chart = find_chart(page)
    assert {trace["type"] for trace in chart_traces(chart)} == {"scatter3d"}
    rows = drawn_rows(chart)
    assert count == f"{len(rows):,}"
    gaps = np.diff(np.sort(rows))
    assert 1 < gaps.max() <= gaps.min() + 1, "the sample is even"
    places = np.column_stack([np.concatenate(drawn(chart, axis)) for axis in "xyz"])
    wanted = pca_layout(bundled.matrix, 3).numpy()[rows]
    # Summed in another order by another process: float32 over 384 numbers.
    np.testing.assert_allclose(places, wanted, atol=1e-4)


def test_card_of_a_subspace_and_the_legend_tell_what_the_engine_finds(
    app_url: str, bundled: EmbeddingTable, shipped_fit: Factorization, page: Page
) -> None:
    open_app(page, app_url)
    chart = find_chart(page)
    page.get_by_role("button", name="Filter").click()
    page.get_by_test_id("stPopoverBody").get_by_role("button", name="2", exact=True).click()
    page.keyboard.press("Escape")
    settle(page)
    typical = [each.typical_rows for each in summarise_subspaces(shipped_fit, bundled.matrix)]
    names = suggest_names(bundled.tokens, shipped_fit.labels, shipped_fit.k, typical)
    legend = [f"{label + 1} · {name}" for label, name in enumerate(names)]
    expect(chart.locator(".legendtext")).to_have_text(legend)
    portrait = describe_subspace(shipped_fit, bundled.matrix, 1)
    card = page.locator(".st-key-subspace-card")
    expect(card.get_by_role("heading").first).to_have_text(f"Subspace {legend[1]}")
    expect(card).to_contain_text(
        f"{portrait.rows:,} tokens in {portrait.dimension} of {len(portrait.spectrum)} dimensions, "
        f"which keep {portrait.energy_kept:.1%} of their energy; the best {portrait.dimension} "
        f"for them would keep {sum(portrait.spectrum[: portrait.dimension]):.1%}"
    )
    (spectrum,) = chart_traces(find_chart(page, position=1))
    np.testing.assert_allclose(np.diff(spectrum["y"]), portrait.spectrum, atol=1e-6)
    lines = chart_traces(find_chart(page, position=2))[::2]
    ends = [[angles.degrees[0], angles.degrees[-1]] for angles in portrait.angles]
    np.testing.assert_allclose([line["x"] for line in lines], ends, atol=1e-2)
    others = [f"subspace {angles.label + 1}" for angles in portrait.angles]
    assert [line["y"] for line in lines] == [[name, name] for name in others]


def set_by_hand(page: Page) -> None:
    """Change k, rate, seed, map, colour and search, and look at a token that is found."""
    for label, key in (("Subspaces k", "ArrowRight"), ("Compression rate", "ArrowLeft")):
        page.get_by_role("slider", name=label).press(key)
        settle(page)
    seed = page.get_by_role("spinbutton", name="Seed")
    seed.fill("7")
    seed.press("Enter")
    settle(page)
    choose(page, "PCA")
    choose(page, "Norm")
    search(page, "word1")
    page.get_by_test_id("stDataFrame").first.click(position={"x": 16, "y": 35 * 1.5})
    settle(page)


def test_shared_link_restores_what_was_set(
    app_server: Server, tiny: TinyTable, page: Page, open_page: PageOpener
) -> None:
    open_tiny(page, app_server, tiny)
    page.get_by_text("Advanced", exact=True).click()
    before = page.evaluate(_CONTROLS)
    set_by_hand(page)
    wanted = page.evaluate(_CONTROLS)
    assert {label for label in wanted if wanted[label] != before[label]} == set(SET_BY_HAND)
    token = page.locator(".st-key-token-card").get_by_role("heading").inner_text()
    page.get_by_role("button", name="Share", exact=True).click()
    address = page.get_by_test_id("stPopoverBody").get_by_test_id("stCode").inner_text()
    with open_page() as other:
        open_app(other, address)
        other.get_by_text("Advanced", exact=True).click()
        settle(other)
        assert other.evaluate(_CONTROLS) == wanted
        expect(other.locator(".st-key-token-card").get_by_role("heading")).to_have_text(token)
        drawn_here = chart_traces(find_chart(page))
        there = find_chart(other)
        wait_until(other, lambda: chart_traces(there) == drawn_here, what="the map is the same")


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("Frequency", "uses in a million tokens of English"),
        ("False on the map", "neighbours on the map that are false"),
    ],
)
def test_bundled_map_is_recoloured_by_what_was_measured(
    app_url: str, bundled: EmbeddingTable, page: Page, name: str, title: str
) -> None:
    open_app(page, app_url)
    chart = find_chart(page)
    choose(page, name)
    expect(chart.locator(".cbtitle")).to_contain_text(title)
    measures = find_row_measures(bundled.fingerprint, None, "UMAP")
    assert measures is not None
    values = measures.frequency if name == "Frequency" else measures.false
    assert values is not None
    codes = np.concatenate(drawn(chart, "marker.color")[:-1])  # the last trace is of rings
    assert (codes.min(), codes.max()) == (1, 255)
    in_order = codes[np.argsort(values.numpy()[drawn_rows(chart)], kind="stable")]
    assert (np.diff(in_order) >= 0).all(), "the colours rise with the values"


def test_trust_of_the_bundled_maps_is_what_is_stored(
    app_url: str, bundled: EmbeddingTable, page: Page
) -> None:
    open_app(page, app_url)
    for kind in ("UMAP", "PCA"):
        choose(page, kind)
        measures = find_row_measures(bundled.fingerprint, None, kind)
        assert measures is not None
        expect(page.get_by_text(say_trust(measures.trust))).to_be_visible()


def test_trust_is_told_as_it_was_measured(
    app_server: Server, many: TinyTable, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(app_server.home))
    fingerprint = load_table(many.path).fingerprint
    assert find_row_measures(fingerprint, many.run, "PCA") is None
    open_tiny(page, app_server, many, map="PCA")
    expect(page.get_by_text("trustworthiness")).to_have_count(0)
    page.get_by_role("button", name="Measure").click()
    page.get_by_text("trustworthiness").wait_for(timeout=JOB_SECONDS * 1000)
    measures = find_row_measures(fingerprint, many.run, "PCA")
    assert measures is not None
    expect(page.get_by_text(say_trust(measures.trust))).to_be_visible()


def test_symbols_differ_where_colours_repeat(
    app_server: Server, many: TinyTable, page: Page
) -> None:
    open_tiny(page, app_server, many, map="PCA")
    for kind in ("2-D", "3-D"):
        choose(page, kind)
        chart = find_chart(page)
        colours = [trace["color"] for trace in chart_traces(chart)][:MANY]
        symbols = drawn(chart, "marker.symbol")[:MANY]
        assert len(set(colours)) < MANY
        assert len(set(zip(colours, symbols, strict=True))) == MANY


def test_filter_and_search_are_done_by_keys_alone(
    app_server: Server, tiny: TinyTable, tiny_fit: Factorization, page: Page
) -> None:
    open_tiny(page, app_server, tiny, map="PCA")
    tab_to(page, page.get_by_role("button", name="Filter"))
    page.keyboard.press("Enter")
    pills = page.get_by_test_id("stPopoverBody").get_by_role("button", name=re.compile(r"^\d$"))
    pills.first.wait_for()
    tab_to(page, pills.first)
    for _ in range(2):
        page.keyboard.press("ArrowRight")  # the pills are one stop of the Tab key
    page.keyboard.press("Space")
    card = page.locator(".st-key-subspace-card")
    expect(card).to_contain_text("Subspace 3")
    expect(card).to_contain_text(f"{tiny_fit.sizes[2]} tokens in")
    page.keyboard.press("Escape")
    settle(page)
    tab_to(page, page.get_by_label("Find a token"), key="Shift+Tab")
    page.keyboard.type(tiny.tokens[-1])
    page.keyboard.press("Enter")
    heading = page.locator(".st-key-token-card").get_by_role("heading")
    expect(heading).to_have_text(tiny.tokens[-1])


def test_first_visit_says_how_to_select_until_something_is(app_url: str, page: Page) -> None:
    open_app(page, app_url)
    hint = page.get_by_text("Click a point")
    expect(hint).to_be_visible()
    expect(page.locator(".st-key-token-card")).to_have_count(0)
    search(page, "berlin")
    expect(hint).to_have_count(0)
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(hint).to_be_visible()


def test_what_is_not_found_stays_on_the_canvas_in_grey(app_url: str, page: Page) -> None:
    open_app(page, app_url)
    chart = find_chart(page)
    palette = [subspace_colour(label, "light") for label in range(len(chart_traces(chart)))]
    grey = CONTEXT["light"]
    assert palette_pixels(chart, [grey], tolerance=8)[0] < 100
    search(page, "er")
    wait_until(
        page,
        lambda: palette_pixels(chart, [grey], tolerance=8)[0] > 10_000,
        what="most of the points are grey",
    )
    assert max(palette_pixels(chart, palette)) > 50, "what is found keeps its colour"


def test_long_job_says_how_long_and_is_cancelled(app_server: Server, page: Page) -> None:
    open_app(page, link(app_server, k=12, starts=6))
    find_chart(page)
    press_compress(page)
    left = re.compile(r"about (\d+ min )?\d+ s left")
    expect(job_panel(page)).to_contain_text(left, timeout=JOB_SECONDS * 1000)
    cancel(page, "compress")


def test_drawing_of_a_map_is_cancelled(app_server: Server, page: Page) -> None:
    open_app(page, link(app_server, **{"in": "3-D"}))
    expect(page.get_by_text("PCA stands in for it")).to_be_visible()
    page.get_by_role("button", name="Draw UMAP").click()
    cancel(page, "layout")
    settle(page)
    expect(page.get_by_role("button", name="Draw UMAP")).to_be_visible()


def cancel(page: Page, slot: str) -> None:
    """Cancel a job by its button, and see that it is said and its panel gone."""
    job_panel(page, slot).get_by_role("button", name="Cancel").click()
    expect_alert(page, "Cancelled")
    expect(job_panel(page, slot)).to_have_count(0)
