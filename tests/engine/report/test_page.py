"""The report as a file: what stands in it, and that nothing in a table can break out of it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.grid import plain_cells
from engine.report import ReportedMap, build_report
from engine.report.plan import public_spec
from engine.sweep import SweepConfig, run_sweep
from engine.wording import printable
from tests.engine.report.plans import Page, all_rows, make_plan

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!-- <script>",
    "</th><img src=x onerror=alert(1)>",
    "&lt;b&gt;",
    '" onmouseover="alert(1)',
    "{{ 7 * 7 }} {% raw %}",
    "%{x} var(--ink)",
    "\u2028\x00\r\n\t",
]
WORDS = ["the", "of", "house", "berlin", "quantum", "zymurgy", "garden", "tree", "run", "qqqq"]
texts = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    min_size=6,
    max_size=10,
    unique=True,
)


@given(texts)
@example(HOSTILE)
@settings(max_examples=25)  # each page holds plotly's script of 5 MB
def test_any_token_comes_out_as_it_went_in(tokens: list[str]) -> None:
    plan = make_plan(tokens, d=4, k=2, j=2)
    page = Page(report=build_report(plan, all_rows(plan)))
    drawn = [token for trace in page.figures["map"]["data"] for token in trace["text"]]
    assert sorted(drawn) == sorted(tokens)
    shown = page.texts["th.token"]  # those kept best, then those kept worst: all of them, twice
    assert sorted(shown) == sorted([printable(token) for token in tokens] * 2)
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert not [tag for tag, _ in page.tags if tag in ("img", "iframe", "link", "object")]
    assert not [name for _, attributes in page.tags for name in attributes if name[:2] == "on"]


def test_half_of_a_surrogate_pair_becomes_a_question_mark() -> None:
    plan = make_plan(["\ud800", *WORDS], k=2, j=2)
    page = Page(report=build_report(plan, all_rows(plan)))
    assert "?" in [token for trace in page.figures["map"]["data"] for token in trace["text"]]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"method": "svd", "j": 2}, "one flat subspace (the SVD) of dimension 2"),
        ({"k": 1, "j": 2, "affine": True}, "one affine subspace of dimension 2"),
        ({"k": 2, "j": 2}, "2 flat subspaces of dimension 2"),
        ({"k": 2, "j": 2, "affine": True}, "2 affine subspaces of dimension 2"),
        (
            {"k": 2, "j": 2, "bits": 4},
            "subspaces of dimension 2, with coordinates in 4 bits",
        ),
        ({"k": 2, "j": (1, 3)}, "2 flat subspaces of dimension 1 to 3"),
        ({"k": 2, "j": 2, "loss": "l1"}, "2 flat subspaces of dimension 2"),
        ({"k": 10, "j": 2}, "10 flat subspaces of dimension 2"),
    ],
)
def test_every_kind_of_plan_is_reported(config: dict[str, Any], said: str) -> None:
    plan = make_plan([f"token {row}" for row in range(60)], **config)
    page = Page(report=build_report(plan, all_rows(plan)))
    assert f"{said}." in page.words
    assert plan.figures["verdict"] in page.words
    assert f"{plan.figures['relative_error']:.2%}" in page.words
    assert len(page.figures["map"]["data"]) == plan.factorization.k
    assert len(page.texts["tr"]) == 3 + plan.factorization.k + 24
    assert "Against the SVD" not in page.words, "there is no sweep"
    assert plan.table.fingerprint in page.words
    assert f"torch {plan.versions['torch']}" in page.words


def test_points_lie_where_the_layout_puts_them() -> None:
    plan = make_plan([f"token {row}" for row in range(40)], k=3, j=1)
    places = all_rows(plan)
    for label, trace in enumerate(Page(report=build_report(plan, places)).figures["map"]["data"]):
        members = np.flatnonzero(plan.labels == label)
        for axis, name in enumerate("xy"):
            packed = base64.b64decode(trace[name]["bdata"])
            np.testing.assert_array_equal(
                np.frombuffer(packed, dtype="<f4"), places.layout[members, axis]
            )
        assert trace["text"] == [plan.table.tokens[row] for row in members]
        # Rounded to a hundredth of a percent: the hover shows a tenth.
        np.testing.assert_allclose(trace["customdata"], plan.row_errors[members], atol=5.1e-5)


def test_sample_is_said_to_be_one() -> None:
    plan = make_plan([f"token {row}" for row in range(40)], k=2, j=2)
    whole = all_rows(plan)
    some = ReportedMap(kind="PCA", layout=whole.layout, rows=np.arange(0, 40, 2))
    page = Page(report=build_report(plan, some))
    assert "An even sample of 20 of 40 tokens is drawn" in page.words
    assert sum(len(trace["text"]) for trace in page.figures["map"]["data"]) == 20
    assert "An even sample" not in Page(report=build_report(plan, whole)).words


def test_weighted_plan_shows_what_rare_and_frequent_tokens_lose(tmp_path: Path) -> None:
    plan = make_plan(WORDS, k=2, j=2, weights="en", folder=tmp_path)
    words = Page(report=build_report(plan, all_rows(plan))).words
    assert "Error by how often a token is used" in words
    assert "Counted in English text" in words
    for band in plan.figures["bands"]:
        assert f"{100 * band['error']:.2f}%" in words
    assert f"weighted SVD {plan.figures['weighted_svd']['weighted_error']:.2%}" in words


@pytest.mark.parametrize("weights", ["none", "en"])
def test_sweep_is_drawn_by_the_error_that_was_fitted(weights: str, tmp_path: Path) -> None:
    plan = make_plan(WORDS, k=2, j=2, weights=weights, folder=tmp_path)
    sweep = run_sweep(
        plan.table, SweepConfig(rates=(0.2, 0.5), ks=(2,), seeds=(0,), weights=weights)
    )
    page = Page(report=build_report(plan, all_rows(plan), sweep=sweep, origin="a sweep of mine"))
    traces = {trace["name"]: trace for trace in page.figures["curves"]["data"]}
    error = "relative_error" if weights == "none" else "weighted_error"
    assert traces["this plan: k = 2"]["y"] == [plan.figures[error]]
    plain = (cell for cell in plain_cells(sweep.cells) if cell.k == 2)
    swept = [getattr(cell, error) for cell in plain]
    assert traces["k = 2"]["y"] == pytest.approx(swept)
    rival = "SVD" if weights == "none" else "weighted SVD"
    assert f"Against the {rival}" in page.words
    assert "From a sweep of mine: " in page.words


@pytest.mark.parametrize("bits", [None, 8])
def test_star_is_there_where_it_is_spoken_of(bits: int | None) -> None:
    plan = make_plan(WORDS, k=2, j=2, bits=bits)
    sweep = run_sweep(plan.table, SweepConfig(rates=(0.5,), ks=(2,), n_init=1))
    page = Page(report=build_report(plan, all_rows(plan), sweep=sweep))
    stars = [
        trace["name"]
        for trace in page.figures["curves"]["data"]
        if trace.get("marker", {}).get("symbol") == "star"
    ]
    assert stars == ([] if bits else ["this plan: k = 2"])
    assert ("the star is this plan" in page.words) is bool(stars)


def test_sweep_by_other_weights_is_read_by_the_plain_error(tmp_path: Path) -> None:
    plan = make_plan(WORDS, k=2, j=2, folder=tmp_path)
    sweep = run_sweep(plan.table, SweepConfig(rates=(0.5,), ks=(2,), n_init=1, weights="en"))
    page = Page(report=build_report(plan, all_rows(plan), sweep=sweep))
    star = page.figures["curves"]["data"][-1]
    assert star["y"] == [plan.figures["relative_error"]]


def test_policy_names_the_scripts_and_nothing_that_could_be_fetched() -> None:
    plan = make_plan(WORDS, k=2, j=2)
    page = Page(report=build_report(plan, all_rows(plan)))
    (policy,) = [
        str(attributes["content"]) for tag, attributes in page.tags if "http-equiv" in attributes
    ]
    assert policy.startswith("default-src 'none';")
    for text in page.texts["script"]:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert (f"'sha256-{digest}'" in policy) is not text.startswith('{"map"')
    assert "http" not in policy
    links = [attributes for _, attributes in page.tags if {"href", "src"} & set(attributes)]
    assert all(set(link) == {"href", "rel"} for link in links), "links to follow, nothing to load"


def test_what_makes_it_again_is_shown_as_it_is() -> None:
    plan = replace(make_plan(WORDS, k=2, j=2), again={"By command": "compress 'a b' > <c>"})
    page = Page(report=build_report(plan, all_rows(plan)))
    assert "By command" in page.texts["h3"]
    assert "compress 'a b' > <c>" in page.texts["pre"]


def test_plan_that_ships_has_no_date() -> None:
    plan = make_plan(WORDS, k=2, j=2)
    made = replace(plan, created=datetime(2026, 3, 4, 5, 6, tzinfo=UTC))
    assert "04 March 2026, 05:06 UTC" in Page(report=build_report(made, all_rows(plan))).words
    shipped = replace(plan, created=None, versions={})
    words = Page(report=build_report(shipped, all_rows(plan))).words
    assert "ahead; ships with Subspace Atlas" in words
    assert "Made with" not in words


def test_a_row_of_zeros_is_not_kept_best() -> None:
    plan = make_plan(WORDS, k=2, j=2)
    plan.table.matrix[3] = 0
    page = Page(report=build_report(plan, all_rows(plan)))
    assert WORDS[3] not in page.texts["th.token"]
    assert len(page.texts["th.token"]) == 2 * (len(WORDS) - 1)


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("bundled:minilm", "bundled:minilm"),
        ("org/name-v1.5", "org/name-v1.5"),
        ("/home/me/secret/rows.npy", "rows.npy"),
        ("~/rows.npy", "rows.npy"),
        ("../rows.npy", "rows.npy"),
        ("C:\\Users\\me\\rows.npy", "rows.npy"),
        ("a/b/c.npy", "c.npy"),
    ],
)
def test_where_a_file_lies_is_not_told(spec: str, name: str) -> None:
    assert public_spec(spec) == name


def test_text_that_tokens_were_counted_in_is_named_without_its_folder(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("the house of berlin " * 20, encoding="utf-8")
    plan = make_plan(WORDS, k=2, j=2, weights=str(text), folder=tmp_path)
    report = build_report(plan, all_rows(plan)).decode()
    assert "Counted in notes.txt" in report
    assert str(tmp_path) not in report
