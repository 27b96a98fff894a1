"""Two plans on the Compare page: what a link opens, what is said, what the tables and maps hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from engine import EngineError, RunStore, load_table, memory
from engine.access import ROOTS_VARIABLE
from engine.compression import CompressionConfig, compress_table
from engine.recording import record_compression, record_sweep
from engine.run_differences import WEIGHTS_DIFFER
from engine.sweep import SweepConfig, run_sweep
from pages.parts import pair_tables, two_plans
from pages.parts.charts import MapPoints
from pages.parts.pair_map import PairLabels, gain_map, pair_map
from pages.parts.plan_pair import Side, load_pair

pytestmark = pytest.mark.usefixtures("queue")

COMPARE = Path(__file__).resolve().parents[2] / "pages" / "compare.py"
N, D = 120, 16


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "small.npy"
    np.save(path, np.random.default_rng(2).normal(size=(N, D)).astype(np.float32))
    return path


def keep_run(path: Path, **changes: object) -> str:
    table = load_table(path)
    config = CompressionConfig(**{"k": 3, "j": 4, "n_init": 1, **changes})  # pyright: ignore[reportArgumentType]
    return RunStore().create(*record_compression(table, config, compress_table(table, config))).id


def open_page(path: Path, **query: str) -> AppTest:
    app = AppTest.from_file(str(COMPARE), default_timeout=60)
    app.session_state["app-is-set-up"] = True
    wanted = {"source": "File or folder", "spec": str(path), "view": "Two plans", **query}
    for name, value in wanted.items():
        app.query_params[name.replace("_", "-")] = value
    app.run()
    assert not app.exception
    return app


def sentence(app: AppTest) -> str:
    (text,) = [item.value for item in app.markdown if item.value.startswith(":material/balance:")]
    return text


def test_table_without_a_plan_says_where_to_make_one(path: Path) -> None:
    app = open_page(path)
    (info,) = app.info
    assert "has no plan yet" in info.value
    assert not app.selectbox(key="source").disabled


def test_one_plan_meets_the_svd_of_its_size(path: Path) -> None:
    run = keep_run(path)
    app = open_page(path)
    assert (app.selectbox(key="pair-a").value, app.selectbox(key="pair-b").value) == (run, "svd")
    assert "B has one subspace for all tokens, so none can move." in sentence(app)
    assert [item.label for item in app.metric] == ["Closer in B", "Mean error of a token"]
    assert app.segmented_control(key="pair-colour-svd").options == ["Subspace", "Where one wins"]
    tokens, subspaces = (item.value for item in app.dataframe)
    assert len(tokens) == N
    assert subspaces["Subspace"].str.contains("only in A").sum() == 2
    assert subspaces["Tokens in A"].sum() == N
    assert subspaces["Tokens in B"].max() == N


WORDS = ["the", "of", "house", "berlin", "quantum", "garden", "tree", "run", "dog", "cat"]


def test_weighted_plan_meets_the_weighted_svd(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(path, np.random.default_rng(2).normal(size=(len(WORDS), 6)).astype(np.float32))
    text = path.with_suffix(".tokens.txt")
    text.write_text("\n".join(WORDS), encoding="utf-8")
    text = path.with_name("counted.txt")
    text.write_text("the house " * 500 + "dog", encoding="utf-8")
    run = keep_run(path, k=2, j=2, weights=str(text), weight_power=1.0, neighbours=0)
    figures = RunStore().load(run).record.figures
    assert figures["weighted_svd"]["relative_error"] > figures["svd"]["relative_error"] * 1.0001
    pair = load_pair(load_table(path), run, "svd")
    assert pair.second.error == pytest.approx(figures["weighted_svd"]["relative_error"], rel=1e-6)
    assert pair.second.name == f"weighted SVD, j = {figures['weighted_svd']['dimensions'][0]}"
    # A run from elsewhere may name a file that others must not have read to them.
    monkeypatch.setenv(ROOTS_VARIABLE, str(path.parent / "other"))
    table = replace(load_table(path), spec="bundled:minilm")
    with pytest.raises(EngineError, match="may not be opened here"):
        load_pair(table, run, "svd")


def test_svd_that_would_not_fit_in_memory_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(path, np.random.default_rng(9).normal(size=(N, D)).astype(np.float32))  # fitted anew
    run = keep_run(path)
    monkeypatch.setattr(memory, "free_bytes", lambda: 10_000_000)
    (warning,) = open_page(path, pair_a=run, pair_b="svd").warning
    assert "The SVD of 120 × 16 numbers needs about" in warning.value.replace("\\", "")


def test_same_plan_twice_moves_nothing(path: Path) -> None:
    run = keep_run(path)
    app = open_page(path, pair_a=run, pair_b=run)
    assert "**About even**" in sentence(app)
    assert "**0% of the tokens moved**" in sentence(app)
    figures = {item.label: item.value for item in app.metric}
    assert figures["Moved"] == "0.0%"
    assert figures["Agreement"] == "1.00"
    assert figures["Closer in B"] == "0.0%"
    assert figures["Turned by"] == "0°"
    assert "**0 tokens** moved" in [item.value for item in app.markdown]


def test_most_tokens_closer_in_the_plan_that_loses_more(path: Path) -> None:
    # Few long rows on one axis, many short ones on another: one direction can hold either.
    rows = np.random.default_rng(3).normal(scale=0.01, size=(N, D)).astype(np.float32)
    rows[:10, 0] += 20
    rows[10:, 1] += 1
    np.save(path, rows)
    text = path.with_name("counted.txt")
    text.write_text("dog " * 500, encoding="utf-8")
    path.with_suffix(".tokens.txt").write_text(
        "\n".join(["dog" if row == 60 else f"never{row}" for row in range(N)]), encoding="utf-8"
    )
    best = keep_run(path, k=1, j=1, method="svd")
    weighted = keep_run(
        path, k=1, j=1, method="svd", weights=str(text), weight_power=1.0, weight_floor=0.0
    )
    said = sentence(open_page(path, pair_a=weighted, pair_b=best))
    assert "**B loses less**" in said
    assert "More tokens are closer in A all the same: what B saves" in said
    same = open_page(path, pair_a=best, pair_b=best)
    assert "all the same" not in sentence(same)
    assert "times" not in sentence(same)
    assert not any(WEIGHTS_DIFFER in item.value for item in same.caption)
    app = open_page(path, pair_a=weighted, pair_b=best)
    assert any(WEIGHTS_DIFFER in item.value for item in app.caption)


@pytest.mark.parametrize(
    ("sides", "said"),
    [
        ((0.4, 100, 0.2, 2500), "**B loses less**, but takes 25 times the bytes of A: A loses"),
        ((0.2, 100, 0.4, 130), "**A loses less**, though B takes 1.3 times its bytes: A loses"),
        ((0.2, 250, 0.2, 100), "**About even**, though A takes 2.5 times the bytes of B: A loses"),
        ((0.4, 100, 0.2, 109), "**B loses less**: A loses"),
    ],
)
def test_verdict_names_how_many_times_the_bytes(
    path: Path, monkeypatch: pytest.MonkeyPatch, sides: tuple[float, int, float, int], said: str
) -> None:
    first, second = keep_run(path), keep_run(path, k=2, j=6)
    found = load_pair(load_table(path), first, second)

    def side(one: Side, error: float, size: int) -> Any:  # noqa: ANN401 - stands in for a Side
        plan = SimpleNamespace(
            k=one.factorization.k, labels=one.factorization.labels, stored_bytes=size
        )
        return SimpleNamespace(
            factorization=plan, error=error, weights=None, row_errors=one.row_errors,
            summaries=one.summaries, name=one.name,
        )  # fmt: skip

    pair = replace(
        found, first=side(found.first, *sides[:2]), second=side(found.second, *sides[2:])
    )
    monkeypatch.setattr(two_plans, "load_pair", lambda *_: pair)
    monkeypatch.setattr(pair_tables, "show_subspaces", lambda *_: None)
    assert f":material/balance: {said}" in sentence(open_page(path, pair_a=first, pair_b=second))


def test_link_names_both_plans_and_opens_the_view(path: Path) -> None:
    first, second = keep_run(path), keep_run(path, k=2, j=6)
    keep_run(path, k=4, j=2)  # newer than either
    app = open_page(path, view="Curves", pair_a=first, pair_b=second)
    assert app.segmented_control(key="view").value == "Curves"
    app = AppTest.from_file(str(COMPARE), default_timeout=60)
    app.session_state["app-is-set-up"] = True
    for name, value in (("source", "File or folder"), ("spec", str(path))):
        app.query_params[name] = value
    app.query_params["pair-a"], app.query_params["pair-b"] = first, second
    app.run()
    assert not app.exception
    assert app.segmented_control(key="view").value == "Two plans"
    assert app.selectbox(key="pair-a").value == first
    assert app.selectbox(key="pair-b").value == second


def test_tables_count_the_same_tokens(path: Path) -> None:
    first, second = keep_run(path), keep_run(path, k=2, j=6)
    app = open_page(path, pair_a=first, pair_b=second)
    moved, subspaces, flow = (item.value for item in app.dataframe)
    assert f"**{len(moved):,} tokens** moved" in [item.value for item in app.markdown]
    assert (moved["In A"] != moved["In B"]).all()
    change = moved["B − A"].abs()
    assert (change.diff().dropna() <= 0).all(), "the greatest change comes first"
    np.testing.assert_allclose(moved["Error in B"] - moved["Error in A"], moved["B − A"])
    assert subspaces["Subspace"].str.contains("only in A").sum() == 1
    assert subspaces["In both"].sum() == N - len(moved)
    assert flow.shape == (3, 2)
    assert flow.to_numpy().sum() == N
    app.segmented_control(key="pair-rows").set_value("All tokens").run()
    assert len(app.dataframe[0].value) == N
    app.text_input(key="pair-find").set_value("11").run()
    found = app.dataframe[0].value["Token"]
    assert len(found)
    assert found.str.contains("11").all()


def test_file_of_tokens_is_made_when_it_is_asked_for(path: Path) -> None:
    keep_run(path)
    (button,) = (item.proto for item in open_page(path).get("download_button"))
    assert button.deferred_file_id
    assert "formula" in button.help


@pytest.mark.parametrize("name", ["pair-a", "pair-b"])
def test_link_to_a_plan_that_is_gone_says_so(path: Path, name: str) -> None:
    keep_run(path)
    app = open_page(path, **{name: "20200101-000000-000000-abcdef"})
    (warning,) = app.warning
    assert "no plan of this table" in warning.value
    assert app.selectbox(key="pair-a").value is not None
    app.run()
    assert not app.warning, "the link names the plan that is shown from now on"


def test_sweep_is_no_plan(path: Path) -> None:
    keep_run(path)
    table = load_table(path)
    config = SweepConfig(rates=(0.5,), ks=(2,), seeds=(0,), bits=(32,))
    sweep = RunStore().create(*record_sweep(table, run_sweep(table, config)))
    (warning,) = open_page(path, pair_b=sweep.id).warning
    assert "no plan of this table" in warning.value


def test_damaged_run_is_told(path: Path) -> None:
    run = keep_run(path)
    for file in (RunStore().load(run).folder).glob("*.safetensors"):
        file.write_bytes(b"no tensors")
    (warning,) = open_page(path, pair_a=run).warning
    assert "cannot be compared" in warning.value


def test_leaving_the_view_clears_the_link_but_not_the_choice(path: Path) -> None:
    first, second = keep_run(path), keep_run(path, k=2, j=6)
    app = open_page(path, pair_a=first, pair_b=second)
    app.segmented_control(key="view").set_value("Curves").run()
    assert "pair-a" not in app.query_params
    app.segmented_control(key="view").set_value("Two plans").run()
    assert (app.selectbox(key="pair-a").value, app.selectbox(key="pair-b").value) == (first, second)


def points(n: int = 6) -> MapPoints:
    layout = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    tokens = ["<b>x</b>", *(f"t{i}" for i in range(1, n))]
    return MapPoints(layout=layout, rows=np.arange(n), tokens=tokens, theme="light", uirevision="u")


LABELS = PairLabels(
    first=np.array([0, 0, 1, 1, 1, 0]),
    second=np.array([0, 0, 1, 2, 2, 1]),
    names=["1 · a", "2 · b", "3 (only in B) · <c>"],
)


@pytest.mark.parametrize("stacked", [True, False])
def test_same_number_has_the_same_colour_on_both_maps(stacked: bool) -> None:
    figure = pair_map(points(), LABELS, ("A · one", "B · two"), moved_only=False, stacked=stacked)
    traces: list[Any] = list(figure.data)  # pyright: ignore[reportArgumentType]
    assert [(trace.name, trace.xaxis, len(trace.x)) for trace in traces] == [
        ("1 · a", "x", 3),
        ("2 · b", "x", 3),
        ("1 · a", "x2", 2),
        ("2 · b", "x2", 2),
        ("3 (only in B) · &lt;c&gt;", "x2", 2),
    ]
    colours = {trace.name: trace.marker.color for trace in traces}
    assert all(trace.marker.color == colours[trace.name] for trace in traces)
    assert len(set(colours.values())) == 3
    assert [trace.showlegend for trace in traces] == [True, True, False, False, True]
    assert figure.layout.xaxis2.matches == "x"  # pyright: ignore[reportAttributeAccessIssue]
    assert figure.layout.yaxis2.matches == "y"  # pyright: ignore[reportAttributeAccessIssue]


def test_those_who_stayed_step_back() -> None:
    figure = pair_map(points(), LABELS, ("A", "B"), moved_only=True, stacked=False)
    traces: list[Any] = list(figure.data)  # pyright: ignore[reportArgumentType]
    drawn = {(trace.name, trace.xaxis): list(trace.text) for trace in traces}
    assert drawn["stayed", "x"] == ["&lt;b&gt;x&lt;/b&gt;", "t1", "t2"] == drawn["stayed", "x2"]
    assert drawn["1 · a", "x"] == ["t5"]
    assert drawn["2 · b", "x2"] == ["t5"]


def test_gain_is_centred_on_zero() -> None:
    gain = np.array([-0.3, 0, 0.1, 0, 0, 0])
    (trace,) = gain_map(points(), gain).data
    marker = trace.marker  # pyright: ignore[reportAttributeAccessIssue]
    assert marker.cmin == -marker.cmax
    np.testing.assert_allclose(marker.color, gain, rtol=1e-6)
    assert [text.partition(" by")[0] for text in marker.colorbar.ticktext] == [
        "A closer",
        "equal",
        "B closer",
    ]


def test_equal_plans_draw_as_well() -> None:
    (trace,) = gain_map(points(), np.zeros(6)).data
    assert trace.marker.cmax > 0  # pyright: ignore[reportAttributeAccessIssue]


def test_groups_that_both_plans_have_look_different_however_many_one_has() -> None:
    first = np.arange(20)
    second = np.where(first % 5 == 4, first, 4)  # in B only 4, 9, 14 and 19, two pairs of one hue
    names = [f"{number}" for number in range(20)]
    looks = PairLabels(first=first, second=second, names=names).looks
    assert sorted(looks) == list(range(20))
    assert {looks[number] for number in (4, 9, 14, 19)} == {0, 1, 2, 3}
    few = PairLabels(first=first % 8, second=second % 8, names=names[:8])
    assert few.looks == list(range(8)), "colours are those of Explore where they suffice"
