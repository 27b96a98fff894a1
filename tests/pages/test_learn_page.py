"""The Learn page as a script: what its lessons say, and what their controls change."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from engine import lessons, spending
from engine.budget import PlanSizes, matching_rank
from pages.parts import jobs
from tests.pages.fake_queue import FakeQueue

LEARN = Path(__file__).resolve().parents[2] / "pages" / "learn.py"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "job_queue", FakeQueue)
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path / "home"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "rows_*.npy"
    np.save(path, np.random.default_rng(2).normal(size=(300, 24)).astype(np.float32))
    return path


def open_learn(table: Path) -> AppTest:
    app = AppTest.from_file(str(LEARN), default_timeout=120)
    app.session_state["app-is-set-up"] = True
    app.query_params["source"] = "File or folder"
    app.query_params["spec"] = str(table)
    return run(app)


def run(app: AppTest) -> AppTest:
    app.run()
    assert not app.exception
    return app


def words(app: AppTest) -> str:
    return "\n".join(element.value for element in app.markdown)


def press(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click()
    return run(app)


def test_every_lesson_is_there_without_a_touch(table: Path) -> None:
    app = open_learn(table)
    numbers = [int(header.value.split(" ")[0]) for header in app.header]
    assert numbers == [1, 2, 3, 4, 5, 6]
    text = words(app)
    assert "**246 numbers** of 120 · 3 = 360" in text
    assert "**129 numbers** of 120 · 3 = 360" in text
    for question in ("Why can one plane fail?", "why one restarts", "When does the SVD win?"):
        assert question in text


def test_the_best_line_is_found_at_a_press(table: Path) -> None:
    app = open_learn(table)
    assert "loses **77%**" in words(app)
    next(button for button in app.button if button.label == "Find the best line").click()
    app = run(app)
    best = round(lessons.angle_of(lessons.best_line(lessons.cloud_in_plane())))
    assert app.slider(key="lesson-angle").value == best
    mine, svd = re.findall(r"loses \*\*(\d+)%\*\*", words(app))[:2]
    assert mine == svd


def test_em_goes_by_hand_to_its_end_and_back(table: Path) -> None:
    app = open_learn(table)
    step = app.slider(key="lesson-step")
    assert step.value == 2
    app = press(app, "lesson-next")
    assert app.slider(key="lesson-step").value == 3
    assert "**Refit**" in words(app)
    app = press(app, "lesson-end")
    assert "**has settled**" in words(app)
    assert app.button(key="lesson-next").disabled
    app = press(app, "lesson-back")
    assert "has settled" not in words(app)
    assert not app.button(key="lesson-next").disabled
    app = press(app, "lesson-restart")
    assert app.slider(key="lesson-step").value == 0
    assert app.button(key="lesson-back").disabled
    assert "**the start**" in words(app)


def test_counts_are_those_of_the_plan(table: Path) -> None:
    app = open_learn(table)
    for key, value in (("n", 2000), ("d", 128), ("k", 3), ("j", 40)):
        app.slider(key=f"lesson-{key}").set_value(value)
        app = run(app)
    sizes = PlanSizes(d=128, sizes=(667, 667, 666), dimensions=(40, 40, 40))
    assert any(r"= 95\,360" in found.value for found in app.latex)
    assert sizes.parameters == 95_360
    rank = matching_rank(2000, 128, sizes.parameters)
    assert f"one subspace of dimension {rank}" in words(app)
    assert "**63% fewer numbers**" in words(app)


def test_bases_that_cost_too_much_are_named(table: Path) -> None:
    app = open_learn(table)
    for key, value in (("n", 1000), ("k", 10), ("j", 384)):
        app.slider(key=f"lesson-{key}").set_value(value)
        app = run(app)
    assert "That is **not less** than the 1,000 × 768 = 768,000 before" in words(app)


def test_bits_are_spent_where_they_save_most(table: Path) -> None:
    app = open_learn(table)
    app.slider(key="lesson-even").set_value(4)
    app = run(app)
    app.slider(key="lesson-bits").set_value(2)
    app = run(app)
    spent = spending.spend_bits(*lessons.uneven_clusters(), 4, 2)
    assert f"**The same for all that is kept**: {spent.lost_even:.1%} of the energy" in words(app)
    assert f"**Where they save most**: {spent.lost_bought:.1%} of the energy lost" in words(app)
    assert f"at most {spent.budget:,} bits" in words(app)


def test_own_rows_are_those_of_the_sidebar(table: Path) -> None:
    app = open_learn(table)
    assert r"on all of **rows\_\*" in words(app)
    app.slider(key="lesson-own-k").set_value(2)
    app = run(app)
    assert "with k = 2 and" in words(app)


def test_a_rate_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    path = tmp_path / "few.npy"
    np.save(path, np.random.default_rng(2).normal(size=(60, 24)).astype(np.float32))
    app = open_learn(path)
    app.slider(key="lesson-own-k").set_value(8)
    app = run(app)
    app.slider(key="lesson-own-rate").set_value(90)
    app = run(app)
    assert any("rate" in error.value for error in app.error)
    assert app.header[5].value.startswith("6 ·")


def test_a_table_that_cannot_be_read_leaves_the_other_lessons(tmp_path: Path) -> None:
    app = open_learn(tmp_path / "missing.npy")
    assert len(app.header) == 6
    assert "missing" in app.error[0].value
