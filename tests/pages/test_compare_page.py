"""The Compare page as a script: the grid it asks for, and what it says of a weighted sweep."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from engine import RunStore, load_table
from engine.compression import CompressionConfig, compress_table
from engine.evaluation.results import CheckResult
from engine.evaluation.scores import Interval
from engine.frequencies import row_use
from engine.frontier import BytePoint, SizeCurves
from engine.grid import CODED_SHARES, LISTS
from engine.recording import record_compression, record_sweep
from engine.sweep import SweepConfig, run_sweep
from pages.parts import error_curves, evaluations, promises, state
from tests.pages.fake_queue import FakeQueue, make_status
from tests.pages.results import ACCURACY, PERPLEXITY

pytestmark = pytest.mark.usefixtures("queue")

COMPARE = Path(__file__).resolve().parents[2] / "pages" / "compare.py"
GRID = SweepConfig(rates=(0.3, 0.5), ks=(2, 3), seeds=(0,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "small.npy"
    np.save(path, np.random.default_rng(2).normal(size=(120, 16)).astype(np.float32))
    return path


def open_page(path: Path, **query: str) -> AppTest:
    app = AppTest.from_file(str(COMPARE), default_timeout=60)
    app.session_state["app-is-set-up"] = True
    for name, value in {"source": "File or folder", "spec": str(path), **query}.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def press_run(app: AppTest) -> None:
    next(button for button in app.sidebar.button if button.label == "Run the sweep").click().run()
    assert not app.exception


def test_plain_sweep_is_what_is_offered_first(path: Path, queue: FakeQueue) -> None:
    app = open_page(path)
    assert "129 fits." in [item.value for item in app.sidebar.caption]
    press_run(app)
    ((kind, params),) = queue.submitted
    assert kind == "sweep"
    lists = {name: tuple(params["config"].pop(name)) for name in LISTS}
    assert SweepConfig(**params["config"], **lists) == SweepConfig(shares=CODED_SHARES)


def test_a_grid_that_ships_is_said_to_and_how_long_it_took() -> None:
    app = AppTest.from_file(str(COMPARE), default_timeout=60)
    app.session_state["app-is-set-up"] = True
    app.run()
    assert not app.exception
    said = [item.value for item in app.sidebar.caption]
    assert "129 fits, about 1 h 10 min by the times of the sweep that ships with the app." in said
    assert any("This very grid is drawn already" in text for text in said)
    app.slider(key="sweep-seeds").set_value(1).run()
    said = [item.value for item in app.sidebar.caption]
    assert any(text.startswith("57 fits, about ") for text in said)
    assert any("Curves of this table ship with the app" in text for text in said)
    app.slider(key="sweep-starts").set_value(4).run()
    assert "57 fits." in [item.value for item in app.sidebar.caption], "nothing tells how long"


def test_choices_reach_the_sweep(path: Path, queue: FakeQueue) -> None:
    app = open_page(path, weights="English text", allocation="Best for each")
    assert "138 fits." in [item.value for item in app.sidebar.caption]
    app.toggle(key="affine").set_value(True)
    app.slider(key="power").set_value(1.0)
    app.toggle(key="sweep-coded").set_value(False)
    app.slider(key="sweep-starts").set_value(4).run()
    press_run(app)
    config = queue.submitted[0][1]["config"]
    wanted = {"weights": "en", "weight_power": 1.0, "allocation": "optimal", "affine": True}
    assert {name: config[name] for name in wanted} == wanted
    assert (config["n_init"], config["bits"]) == (4, [32])


def keep_sweep(path: Path, **changes: object) -> None:
    table = load_table(path)
    config = SweepConfig(**{"rates": (0.3, 0.5), "ks": (2, 3), "seeds": (0,), **changes})  # pyright: ignore[reportArgumentType]
    RunStore().create(*record_sweep(table, run_sweep(table, config)))


def test_plain_sweep_has_no_weighted_scale(path: Path) -> None:
    keep_sweep(path)
    app = open_page(path, against="Compression rate")
    assert app.segmented_control(key="scale").options == ["Error", "Against the SVD"]
    (frame,) = app.dataframe
    assert list(frame.value.columns) == ["Rate", "SVD", "k", "Error", "Against SVD"]


def test_weighted_sweep_opens_by_its_weighted_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = torch.arange(120).double()
    monkeypatch.setattr(row_use, "table_token_counts", lambda *_: counts)
    keep_sweep(path, weights="en", allocation="optimal", loss="l1")
    app = open_page(path, against="Compression rate")
    scale = app.segmented_control(key="weighted-scale")
    assert scale.options == ["Error", "Weighted error", "Against the SVD"]
    assert scale.value == "Weighted error"
    (frame,) = app.dataframe
    assert "Weighted SVD" in frame.value.columns
    (caption,) = [item.value for item in app.caption if item.value.startswith("From your sweep")]
    assert caption.replace("\\", "").endswith(
        "the best dimensions for each subspace, tokens weighted by English text, the loss l1."
    )
    scale.set_value("Error").run()
    assert not app.exception
    (frame,) = app.dataframe
    assert "SVD" in frame.value.columns


def verdict(app: AppTest) -> str:
    (text,) = [item.value for item in app.markdown if item.value.startswith(":material/balance:")]
    return text


def test_bytes_come_first_and_say_who_wins(path: Path) -> None:
    keep_sweep(path)
    app = open_page(path)
    assert app.segmented_control(key="against").value == "Stored bytes"
    coding = app.segmented_control(key="coding")
    assert coding.options == ["Best of all", "4 bits", "8 bits", "32 bits"]
    (frame,) = app.dataframe
    assert list(frame.value.columns)[:4] == ["Up to", "Bytes", "Best", "Plain rounding"]
    # Rows without structure: rounding loses least wherever there is room for it.
    assert "**Plain rounding** wins" in verdict(app)
    assert "from 50% of the table's bytes on" in verdict(app) or "% to 50%" not in verdict(app)
    (caption,) = [item.value for item in app.caption if item.value.startswith("From your sweep")]
    assert "6 fits, 22 ways to store of 120" in caption
    for choice in coding.options:
        coding.set_value(choice).run()
        assert not app.exception


def test_links_lead_to_either_axis_and_its_controls(path: Path) -> None:
    keep_sweep(path)
    app = open_page(path, against="Compression rate", scale="Against the SVD")
    assert app.segmented_control(key="scale").value == "Against the SVD"
    app.segmented_control(key="against").set_value("Stored bytes").run()
    assert not app.exception
    app = open_page(path, coding="4 bits")
    assert app.segmented_control(key="coding").value == "4 bits"


def test_a_link_to_bits_that_were_not_measured_opens_on_the_best(path: Path) -> None:
    keep_sweep(path, bits=(4,))
    app = open_page(path, coding="8 bits", **{"size-scale": "Weighted error"})
    coding = app.segmented_control(key="coding")
    assert (coding.options, coding.value) == (["Best of all", "4 bits", "32 bits"], "Best of all")


def test_a_sweep_in_32_bits_alone_says_so(path: Path) -> None:
    keep_sweep(path, bits=(32,))
    app = open_page(path)
    assert not [item for item in app.segmented_control if item.key == "coding"]
    assert any("fits in 32 bits alone" in item.value for item in app.caption)


def test_weighted_sweep_opens_by_its_weighted_error_against_bytes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = torch.arange(120).double()
    monkeypatch.setattr(row_use, "table_token_counts", lambda *_: counts)
    keep_sweep(path, weights="en")
    app = open_page(path)
    scale = app.segmented_control(key="size-scale")
    assert (scale.options, scale.value) == (["Error", "Weighted error"], "Weighted error")
    scale.set_value("Error").run()
    assert not app.exception


def test_measured_accuracy_is_a_scale_of_its_own(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_sweep(path)
    ours = BytePoint(
        family="messi", line="k = 10", k=10, bits=4, rate=0.5, stored_bytes=900, value=85.5,
        lowest=85.5, highest=85.5,
    )  # fmt: skip
    rounded = replace(ours, family="rounding", line="a step a row", k=0, value=84.0)
    accuracy = SizeCurves(
        measure="STS-B", points=(ours, rounded), dense_bytes=7680, higher_is_better=True,
        whole=86.0,
    )  # fmt: skip
    monkeypatch.setattr(state, "measured_accuracy", lambda _: accuracy)
    app = open_page(path)
    scale = app.segmented_control(key="size-scale")
    assert (scale.options, scale.value) == (["Error", "STS-B"], "Error")
    scale.set_value("STS-B").run()
    assert not app.exception
    assert "**k subspaces** 11.7% (k = 10 at 4 bits: 85.50)" in verdict(app)
    (frame,) = app.dataframe
    assert frame.value["k subspaces"].tolist()[-1] == 85.5


@pytest.fixture
def falling(path: Path) -> Path:
    """Rows of quickly falling variances: coded subspaces are made for them, rounding is not."""
    rows = np.random.default_rng(2).normal(size=(600, 16)) * 0.6 ** np.arange(16)
    np.save(path, rows.astype(np.float32))
    keep_sweep(path, shares=(0.04, 0.08))
    return path


def told(app: AppTest) -> str:
    (text,) = [item.value for item in app.markdown if "arrow_forward" in item.value]
    return text.replace("\\", "")


def press_make(app: AppTest) -> None:
    app.button(key="make-told").click().run()
    assert not app.exception


def end_job(app: AppTest, queue: FakeQueue, path: Path) -> CompressionConfig:
    """Do what the job was asked to, and let the page see it."""
    kind, params = queue.submitted[0]
    assert kind == "compress"
    config = CompressionConfig(**params["config"])
    table = load_table(path)
    run = RunStore().create(*record_compression(table, config, compress_table(table, config)))
    queue.known = [make_status("done", result={"run": run.id})]
    app.run()
    assert not app.exception
    return config


def card(app: AppTest) -> str:
    (text,) = [item.value for item in app.markdown if "is made, in" in item.value]
    return text.replace("\\", "")


def test_a_size_names_a_plan_that_keeps_its_promise(falling: Path, queue: FakeQueue) -> None:
    app = open_page(falling, **{"tell-size": "6.5"})
    assert told(app).startswith(":material/arrow_forward: **coded, k = 1**: 2.5 kB, 6.5%; should")
    promised = told(app)
    press_make(app)
    config = end_job(app, queue, falling)
    assert (config.method, config.k, config.max_bytes) == ("coded", 1, int(0.065 * 38_400))
    found, expected = (float(text) for text in re.findall(r"([0-9]+[.][0-9]{2})%", card(app)))
    assert "was expected, read off between two sizes that were measured" in card(app)
    assert " kB of the 2.5 kB asked for" in card(app)
    assert f"lose **{expected:.2f}%** of the energy" in promised, "as Explore says it"
    (run,) = RunStore().list().of("compress", load_table(falling).fingerprint)
    assert found == pytest.approx(100 * run.record.figures["relative_error"], abs=0.01)
    app.button(key="promise-away").click().run()
    assert not [item for item in app.markdown if "is made, in" in item.value]


def test_a_page_loaded_anew_still_knows_what_was_promised(falling: Path, queue: FakeQueue) -> None:
    app = open_page(falling)
    press_make(app)
    job = app.query_params["job_compress"]
    again = open_page(falling, job_compress=job)
    end_job(again, queue, falling)
    assert "was expected" in card(again)
    run = again.query_params["run"]
    assert "was expected" in card(open_page(falling, run=run)), "and so does one after it"


def lost_of(app: AppTest) -> float:
    found = re.search(r"lose [*]+([0-9.]+)%", told(app))
    assert found is not None
    return float(found.group(1))


@pytest.mark.parametrize("typed", ["2.5 kB", "2500", "6.5104%"])
def test_bytes_can_be_typed(falling: Path, typed: str) -> None:
    app = open_page(falling, **{"tell-bytes": typed})
    assert told(app).startswith(":material/arrow_forward: **coded, k = 1**: 2.5 kB, 6.5%; should")
    assert "takes at most 2.5 kB" in said_below(app)
    slider = app.select_slider(key="tell-size")
    assert slider.value == 6.5, "where it comes closest"
    slider.set_value(4.0).run()
    assert not app.exception
    assert app.text_input(key="tell-bytes").value == "", "the slider takes over"
    assert "takes at most 1.5 kB" in said_below(app)


def test_what_is_no_number_of_bytes_or_too_few_is_told(falling: Path) -> None:
    app = open_page(falling, **{"tell-bytes": "a lot"})
    (error,) = app.error
    assert "written as 750108, 1.1MB or 3% of the table, got 'a lot'" in plain(error.value)
    assert not [item for item in app.button if item.key == "make-told"]
    app.text_input(key="tell-bytes").set_value("9 B").run()
    assert not app.exception
    assert not app.error
    assert any("The smallest that was measured takes" in item.value for item in app.markdown)
    app.text_input(key="tell-bytes").set_value("2.5 kB").run()
    assert "2.5 kB" in told(app)


def test_coded_subspaces_are_explained_where_they_are_advised(falling: Path) -> None:
    said = said_below(open_page(falling))
    assert "**Coded, k = 1**: one subspace holds all tokens" in said
    assert "trellis-coded quantisation" in said


def plain(text: str) -> str:
    return text.replace("\\", "")


def said_below(app: AppTest) -> str:
    return plain(" ".join(item.value for item in app.caption))


def test_a_loss_names_the_smallest_plan(falling: Path) -> None:
    app = open_page(falling, tell="At a loss")
    slider = app.select_slider(key="tell-loss")
    assert slider.value == 0.2
    assert "further left loses less" in slider.label
    assert slider.options == sorted(slider.options, key=lambda text: float(text[:-1]))
    assert lost_of(app) <= 20
    assert "Making it took less than a minute where it was measured." in said_below(app)
    slider.set_value(0.02).run()
    assert lost_of(app) <= 2


def test_rounding_is_named_where_it_wins_and_something_else_is_made(
    path: Path, queue: FakeQueue
) -> None:
    keep_sweep(path)  # rows without structure
    app = open_page(path, **{"tell-size": "27"})
    assert "**int" in told(app)
    captions = [item.value for item in app.caption]
    assert any("made by other tools" in text for text in captions)
    assert any("The best that is made here" in text for text in captions)
    press_make(app)
    assert queue.submitted[0][1]["config"]["bits"] == 8


def test_a_plan_without_weights_has_no_weighted_error_to_keep(
    path: Path, queue: FakeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = torch.arange(120).double()
    monkeypatch.setattr(row_use, "table_token_counts", lambda *_: counts)
    keep_sweep(path, weights="en", rates=(0.5,), ks=(2,))
    point = BytePoint(
        family="svd", line="SVD", k=1, bits=32, rate=0.5, stored_bytes=4352, value=0.4,
        lowest=0.4, highest=0.4, plan={"method": "svd", "j": 8},
    )  # fmt: skip
    weighted = SizeCurves(
        measure="squared error, weighted by use", points=(point,), dense_bytes=7680, weighted=True
    )
    monkeypatch.setattr(error_curves, "read_size_curves", lambda *_, **__: weighted)
    app = open_page(path)
    assert "The smallest that was measured takes 4.4 kB, 57 % of the table" in " ".join(
        one.value for one in app.markdown
    )
    app.segmented_control(key="tell").set_value("At a loss").run()
    app.select_slider(key="tell-loss").set_value(0.5).run()
    press_make(app)
    end_job(app, queue, path)
    assert "unweighted" in card(app)


def test_a_job_that_failed_says_why_and_promises_nothing(path: Path, queue: FakeQueue) -> None:
    keep_sweep(path, shares=(0.2, 0.4))
    app = open_page(path)
    press_make(app)
    queue.known = [make_status("failed", error="the disk is full")]
    app.run()
    assert [item.value for item in app.error] == ["the disk is full"]
    assert not [item for item in app.markdown if "is made, in" in item.value]


def test_what_scores_is_checked_or_says_why_not(
    path: Path, queue: FakeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_sweep(path)
    point = BytePoint(
        family="coded", line="coded, k = 1", k=1, bits=0, rate=0.0, stored_bytes=2073, value=85.5,
        lowest=85.5, highest=85.5, plan={"method": "coded", "k": 1, "max_bytes": "27%"},
    )  # fmt: skip
    accuracy = SizeCurves(
        measure="STS-B", points=(point,), dense_bytes=7680, higher_is_better=True, whole=86.0,
        check="stsb",
    )  # fmt: skip
    monkeypatch.setattr(state, "measured_accuracy", lambda _: accuracy)
    app = open_page(path, **{"size-scale": "STS-B", "tell": "At a loss"})
    assert "should score **85.50**, 0.50 below the table itself" in told(app)
    press_make(app)
    end_job(app, queue, path)
    assert "85.50 is expected of it" in card(app)
    (why,) = [item.value for item in app.caption if ":material/block:" in item.value]
    assert "cannot be run" in why.replace("\\", "")
    assert len(queue.submitted) == 1  # a table without a model has no such check


@pytest.mark.parametrize(
    ("result", "expected", "kept"),
    [
        (ACCURACY, 79.6, True),  # what it scores
        (ACCURACY, 80.0, True),  # a drop of none is within −0.1 … 0.9
        (ACCURACY, 80.2, False),  # too much was promised, though the score's own interval holds it
        (PERPLEXITY, 83.0, True),
        (PERPLEXITY, 82.0, False),
    ],
)
def test_a_score_is_kept_where_the_loss_allows_for_it(
    result: CheckResult, expected: float, *, kept: bool
) -> None:
    assert promises.keeps(result, result.scores[1], expected) == kept


@pytest.mark.parametrize(
    ("asked", "loss", "said"),
    [
        (
            0.5,
            (0.40, -0.06, 0.84),
            "**Kept, but chance could hide more**, up to 0.84: at most 0.50",
        ),
        (0.5, (0.50, 0.40, 0.50), "**Kept**, chance allowed for: at most 0.50 below"),
        (0.5, (0.60, 0.20, 1.00), "**Not kept**, which may be chance: at most 0.50"),
        (0.5, (0.90, 0.60, 1.20), "**Not kept**, by more than chance: at most 0.50"),
        (0.0, (-0.10, -0.30, -0.01), "**Kept**, chance allowed for: at most 0.00"),
    ],
)
def test_what_was_asked_of_a_score_is_answered(
    asked: float, loss: tuple[float, float, float], said: str
) -> None:
    value, low, high = loss
    found = promises.answer_of_score(asked, Interval(value=value, low=low, high=high))
    assert found.startswith(said)


@pytest.mark.parametrize(
    ("error", "kept"), [(0.15, True), (0.20004, True), (0.2002, False), (0.3, False)]
)
def test_what_was_asked_of_an_error_is_answered(error: float, *, kept: bool) -> None:
    answer = promises.answer_of_error(0.2, error)
    assert answer == f"**{'Kept' if kept else 'Not kept'}**: at most 20.00% was asked for."


def test_the_card_of_a_score_answers_what_was_asked(
    path: Path, queue: FakeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_sweep(path)
    point = BytePoint(
        family="coded", line="coded, k = 1", k=1, bits=0, rate=0.0, stored_bytes=2073, value=79.7,
        lowest=79.7, highest=79.7, plan={"method": "coded", "k": 1, "max_bytes": "27%"},
        seconds=70.0,
    )  # fmt: skip
    accuracy = SizeCurves(
        measure="STS-B", points=(point,), dense_bytes=7680, higher_is_better=True, whole=80.0,
        check="stsb",
    )  # fmt: skip
    monkeypatch.setattr(state, "measured_accuracy", lambda _: accuracy)
    monkeypatch.setattr(promises, "_begin_check", lambda promise, *_: promise)
    measured = {"stsb": SimpleNamespace(result=ACCURACY)}
    monkeypatch.setattr(evaluations, "newest", lambda *_: measured)
    app = open_page(path, **{"size-scale": "STS-B", "tell": "At a loss"})
    assert "Making it took about a minute where it was measured, the check not counted." in (
        said_below(app)
    )
    press_make(app)
    end_job(app, queue, path)
    said = card(app)
    assert said.startswith(":material/check_circle:")
    assert "**Kept, but chance could hide more**, up to 0.90: at most 0.50 below" in said
    assert "scores **79.60** (accuracy, %), 0.40 below the table itself" in said
    assert "[−0.10, 0.90]" in said
    below = said_below(app)
    assert "79.70 was expected, the score of this plan where it was measured; another" in below
    assert "Both scores are of the same 1,849 items" in below


def test_accuracy_page_draws_every_size(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = COMPARE.with_name("accuracy.py")
    app = AppTest.from_file(str(page), default_timeout=60)
    app.session_state["app-is-set-up"] = True
    app.query_params.update(
        {"source": "File or folder", "spec": str(path), "accuracy-evidence": "Every size"}
    )
    app.run()
    assert not app.exception
    assert any("no accuracy was measured ahead" in item.value for item in app.markdown)
    app = AppTest.from_file(str(page), default_timeout=60)
    app.session_state["app-is-set-up"] = True
    app.query_params["accuracy-evidence"] = "Every size"
    app.run()
    assert not app.exception
    assert "Product quantisation" in verdict(app)
    assert "coded, k = 1**: 1.1 MB, 2.4%; should score **86.77**, 0.05 above" in told(app)
    assert "one coded subspace is as good as several on this check" in said_below(app)
    assert "(coded, k = 4: 86.38)" in said_below(app)
