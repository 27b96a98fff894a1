"""The list of all jobs in the sidebar: what it tells of one's own, and hides of others'."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from pages.parts import job_list, jobs
from tests.pages.fake_queue import FakeQueue, make_status


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> FakeQueue:
    fake = FakeQueue()
    monkeypatch.setattr(jobs, "job_queue", lambda: fake)
    return fake


def list_jobs() -> None:
    from pages.parts import job_list

    job_list.show_jobs()


def run(*own: str) -> AppTest:
    app = AppTest.from_function(list_jobs, default_timeout=30)
    app.session_state["own-jobs"] = set(own)
    return app.run()


def words(app: AppTest) -> str:
    """All that the sidebar says."""
    assert not app.exception
    bars = [bar.proto.text for bar in app.sidebar.get("progress")]
    return "\n".join([*bars, *(caption.value for caption in app.sidebar.caption)])


def cancels(app: AppTest) -> list[str]:
    return [button.key for button in app.sidebar.button]


@pytest.mark.usefixtures("queue")
def test_nothing_is_shown_where_there_was_no_job() -> None:
    app = run()
    assert not app.sidebar.subheader
    assert words(app) == ""


def test_running_and_waiting_jobs_are_listed_with_their_places(queue: FakeQueue) -> None:
    queue.known = [
        make_status("running", phase="Start 2 of 4", done=1, total=4, eta_seconds=75),
        make_status("queued", job_id="2-cd", kind="layout", place=1),
        make_status("queued", job_id="3-ef", kind="sweep", place=2),
    ]
    text = words(run("1-ab", "3-ef"))
    assert "Compression, yours" in text
    assert "Start 2 of 4 · about 1 min 15 s left" in text
    assert "UMAP map, another session’s**  \nWaiting for its turn, next in line" in text
    assert "Sweep, yours**  \nWaiting for its turn, number 2 in line" in text


def test_own_jobs_can_be_cancelled_and_no_other(queue: FakeQueue) -> None:
    queue.known = [make_status("running"), make_status("queued", job_id="2-cd", place=1)]
    app = run("2-cd")
    assert cancels(app) == ["cancel-2-cd"]
    app.sidebar.button[0].click().run()
    assert queue.cancelled == ["2-cd"]


@pytest.mark.parametrize("state", ["running", "failed"])
def test_nothing_a_job_of_others_works_on_is_told(queue: FakeQueue, state: str) -> None:
    queue.known = [
        make_status(state, detail="/home/ada/secret.npy", error="/home/ada/secret.npy is damaged")
    ]
    assert "secret" not in words(run())
    if state == "failed":
        assert "secret" in words(run("1-ab")), "one's own failure says why"


def test_ended_jobs_say_how_the_newest_first_and_few(queue: FakeQueue) -> None:
    states = ["failed", "done", "cancelled", "done", "done", "done"]
    queue.known = [
        make_status(state, job_id=f"{number}-ab", elapsed_seconds=float(number))
        for number, state in enumerate(states)
    ]
    lines = words(run("3-ab")).splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == [
        "done in 5 s",
        "done in 4 s",
        "done in 3 s",
        "cancelled",
        "done in 1 s",
    ]
    assert "yours" in lines[2]


def test_checks_that_could_not_be_finished_are_no_plain_end(queue: FakeQueue) -> None:
    result = {"run": "r", "unfinished": ["sts", "words"]}
    queue.known = [make_status("done", kind="evaluate", result=result)]
    assert "ended, but 2 of the checks could not be finished" in words(run("1-ab"))
    queue.known = [make_status("done", kind="evaluate", result={**result, "unfinished": []})]
    assert "could not" not in words(run("1-ab"))


@pytest.mark.parametrize(("state", "ticks"), [("queued", True), ("running", True), ("done", False)])
def test_list_looks_again_by_itself_only_while_a_job_is_active(
    queue: FakeQueue, state: str, ticks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.known = [make_status(state)]
    clocks: list[float | None] = []
    fragment = job_list.st.fragment

    def watched(function: object, *, run_every: float | None) -> object:
        clocks.append(run_every)
        return fragment(function, run_every=run_every)

    monkeypatch.setattr(job_list.st, "fragment", watched)
    run()
    assert [clock is not None for clock in clocks] == [ticks]
