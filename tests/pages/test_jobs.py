"""A job's panel and its end, with a queue that says what a test wants."""

from __future__ import annotations

import gc
import time

import pytest
from streamlit.testing.v1 import AppTest

from engine.jobs.queue import request_digest
from engine.jobs.status import JobState
from engine.jobs.tasks import TASKS
from pages.parts import jobs
from tests.pages.fake_queue import FakeQueue, make_status


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> FakeQueue:
    fake = FakeQueue()
    monkeypatch.setattr(jobs, "job_queue", lambda: fake)
    return fake


def watch_a_job() -> None:
    import streamlit as st

    from pages.parts import jobs
    from pages.parts.state import Source

    if st.button("Go"):
        jobs.start("compress", Source(spec="a.npy"), {"config": {"k": 2}})
        st.rerun()
    st.text(f"active: {jobs.is_active('compress')}")
    st.text(f"result: {jobs.outcome('compress')}")


def run(*, watching: bool = True) -> AppTest:
    app = AppTest.from_function(watch_a_job, default_timeout=30)
    if watching:
        app.query_params["job_compress"] = "1-ab"  # as after a reload
    return app.run()


def texts(app: AppTest) -> list[str]:
    assert not app.exception
    return [element.value for element in app.text]


@pytest.mark.usefixtures("queue")
def test_nothing_is_shown_without_a_job() -> None:
    app = run(watching=False)
    assert texts(app) == ["active: False", "result: None"]
    assert not app.error
    assert not app.info


def test_start_submits_the_source_and_watches(queue: FakeQueue) -> None:
    app = run(watching=False)
    app.button[0].click().run()
    source = {"spec": "a.npy", "tensor": None, "tokens": None}
    assert queue.submitted == [("compress", {"source": source, "config": {"k": 2}})]
    assert app.session_state["job.compress"] == "1-ab"
    assert app.query_params["job_compress"] in ("1-ab", ["1-ab"])
    assert texts(app) == ["active: True", "result: None"]


def test_refused_job_is_an_error_on_the_page(queue: FakeQueue) -> None:
    queue.refusal = "k must be at least 1, got *0*; raise it"
    app = run(watching=False)
    app.button[0].click().run()
    assert not app.exception
    assert [error.value for error in app.error] == [r"k must be at least 1, got \*0\*; raise it"]
    assert texts(app)[0] == "active: False"


def test_running_job_has_a_panel_and_can_be_cancelled(queue: FakeQueue) -> None:
    queue.known = [
        make_status("running", phase="Fitting", done=1, total=4, eta_seconds=75, detail="0.2")
    ]
    app = run()
    assert texts(app) == ["active: True", "result: None"]
    cancel = next(button for button in app.button if button.label == "Cancel")
    cancel.click().run()
    assert queue.cancelled == ["1-ab"]
    assert [info.value for info in app.info] == ["Cancelled. Nothing was changed."]
    assert "job.compress" not in app.session_state


def test_result_is_handed_over_once(queue: FakeQueue) -> None:
    queue.known = [make_status("done", result={"run": "abc"})]
    app = run()
    assert texts(app) == ["active: False", "result: {'run': 'abc'}"]
    app.run()
    assert texts(app) == ["active: False", "result: None"]
    assert "job_compress" not in app.query_params


def test_failure_stays_on_the_page_until_the_next_job(queue: FakeQueue) -> None:
    queue.known = [make_status("failed", error="The worker ended. Run it again")]
    app = run()
    for _ in range(2):
        assert texts(app)[1] == "result: None"
        (error,) = app.error
        assert error.value.replace("\\", "") == "The worker ended. Run it again"
        app.run()
    queue.known = []
    app.button[0].click().run()
    assert not app.error


def watch_for_a_table() -> None:
    import streamlit as st

    from pages.parts import jobs
    from pages.parts.state import Source

    if st.button("Go"):
        jobs.start("compress", Source(spec="a.npy"), {})
        st.rerun()
    shown = Source(spec=st.query_params.get("source", "a.npy"))
    st.text(f"result: {jobs.outcome('compress', shown)}")


@pytest.mark.parametrize("state", ["failed", "cancelled", "done"])
def test_a_job_of_another_table_is_neither_told_nor_handed_over(
    queue: FakeQueue, state: JobState
) -> None:
    for source, heard in (("b.npy", False), ("a.npy", True)):
        app = AppTest.from_function(watch_for_a_table, default_timeout=30).run()
        app.button[0].click().run()
        queue.known = [make_status(state, error="why", result={"run": "abc"})]
        app.query_params["source"] = source
        app.run()
        told = len(app.error) + len(app.info) + (texts(app) != ["result: None"])
        assert told == (1 if heard else 0)
        app.query_params["source"] = "a.npy"
        app.run()
        assert len(app.error) + len(app.info) == (heard and state != "done"), "dropped, not hidden"


def test_that_a_job_was_cancelled_is_not_said_for_ever(
    queue: FakeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.known = [make_status("cancelled")]
    app = run()
    assert app.run().info, "pages run again by themselves after a job's end"
    monkeypatch.setattr(jobs, "_CANCELLED_SECONDS", 0)
    assert not app.run().info


def test_every_kind_of_job_has_a_name_and_a_place() -> None:
    assert set(jobs.KINDS) == set(TASKS)


def test_job_of_an_earlier_server_is_forgotten(queue: FakeQueue) -> None:
    queue.known = [make_status("running", job_id="2-cd")]
    app = run()
    assert texts(app) == ["active: False", "result: None"]
    assert "job.compress" not in app.session_state
    (error,) = app.error
    assert "knows nothing of this job" in error.value


def join_a_job() -> None:
    import streamlit as st

    from pages.parts import jobs
    from pages.parts.state import Source

    jobs.join("model", Source(spec="a.npy"), {"run": None})
    st.text(f"result: {jobs.outcome('model')}")


def test_other_tabs_job_for_the_same_is_watched_not_cancelled_and_heard_of(
    queue: FakeQueue,
) -> None:
    source = {"spec": "a.npy", "tensor": None, "tokens": None}
    wanted = request_digest("model", {"source": source, "run": None})
    other = request_digest("model", {"source": source, "run": "another"})
    queue.known = [
        make_status("running", job_id="2-cd", kind="model", request=other),
        make_status("running", job_id="3-ef", kind="model", request=wanted),
    ]
    app = AppTest.from_function(join_a_job, default_timeout=30).run()
    assert app.session_state["job.model"] == "3-ef"
    assert [bar.proto.text for bar in app.get("progress")] == ["**Starting**"]
    assert not app.button
    assert "job_model" not in app.query_params, "a link to it would make it one's own"
    queue.known = [make_status("done", job_id="3-ef", kind="model", result={"path": "a.zip"})]
    app.run()
    assert texts(app) == ["result: {'path': 'a.zip'}"]


def test_watching_costs_next_to_nothing_once_there_is_a_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def seconds() -> float:
        began = time.process_time()
        gc.collect()
        return time.process_time() - began

    monkeypatch.setattr(jobs, "JobQueue", lambda **_: FakeQueue())
    before = min(seconds() for _ in range(3))
    try:
        jobs.job_queue.__wrapped__()
        assert min(seconds() for _ in range(3)) < before / 5
    finally:
        gc.unfreeze()
