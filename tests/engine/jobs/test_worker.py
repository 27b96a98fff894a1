"""The worker process, spoken to line by line as the queue does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from engine.jobs.protocol import Cancel, Failure, Message, Ready, Report, Request, Result, encode
from engine.jobs.protocol import decode as decode_line

ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(entry or "." for entry in sys.path)}


def start(tasks: str = "tests.engine.jobs.registry:TASKS") -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "engine.jobs.worker", "--tasks", tasks],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )


class Talk:
    """One worker and what it says."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.jobs = 0

    def hear(self) -> Message:
        assert self.process.stdout is not None
        return decode_line(self.process.stdout.readline())

    def say(self, message: Message) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(encode(message))
        self.process.stdin.flush()

    def run(self, kind: str, **params: object) -> list[Message]:
        """All it says about one task, the end last."""
        self.jobs += 1
        self.say(Request(job_id=str(self.jobs), kind=kind, params=params))
        heard = [self.hear()]
        while isinstance(heard[-1], Report):
            heard.append(self.hear())
        return heard

    def fail(self, kind: str) -> Failure:
        (failure,) = self.run(kind)
        assert isinstance(failure, Failure)
        return failure


@pytest.fixture(scope="module")
def talk() -> Iterator[Talk]:
    """One worker for the module: that each task still finds it alive is part of the tests."""
    with start() as process:
        talk = Talk(process)
        assert talk.hear() == Ready(pid=process.pid)
        yield talk
        process.communicate()  # closes its input, at which it goes
        assert process.returncode == 0


def test_result_carries_what_the_task_gave(talk: Talk) -> None:
    (result,) = talk.run("echo", text="ünï\ncode", number=0.1, nothing=None)
    assert isinstance(result, Result)
    assert result.value["params"] == {"text": "ünï\ncode", "number": 0.1, "nothing": None}


def test_flood_of_progress_is_thinned_but_begins_and_ends(talk: Talk) -> None:
    *reports, result = talk.run("steps", count=100_000, phases=["One", "Two"])
    assert isinstance(result, Result)
    counts = {
        phase: [each.done for each in reports if isinstance(each, Report) and each.phase == phase]
        for phase in ("One", "Two")
    }
    for done in counts.values():
        assert done[0] == 0
        assert done[-1] == 100_000
        assert done == sorted(done)
    # 200,002 reports take seconds even on a slow machine: at 20 a second that is some dozens.
    assert len(reports) < 2_000


def test_last_report_of_work_that_ends_early_is_not_lost(talk: Talk) -> None:
    *_, last, result = talk.run("early")
    assert isinstance(last, Report)
    assert last.done == 7
    assert isinstance(result, Result)


def test_print_and_input_do_not_touch_the_protocol(talk: Talk) -> None:
    assert talk.run("chatty") == [Result(job_id=str(talk.jobs), value={"read": ""})]


def test_error_for_the_user_is_passed_on_as_it_is(talk: Talk) -> None:
    failure = talk.fail("refuse")
    assert failure.reason == "error"
    assert failure.message == "k must be between 1 and 5, got 9; lower k"
    assert failure.traceback == ""


def test_unknown_task_names_the_known_ones(talk: Talk) -> None:
    failure = talk.fail("guess")
    assert failure.reason == "error"
    assert "no task called 'guess'; the worker knows bug, " in failure.message


@pytest.mark.parametrize("kind", ["out_of_memory", "torch_out_of_memory"])
def test_lack_of_memory_says_what_to_do(talk: Talk, kind: str) -> None:
    failure = talk.fail(kind)
    assert failure.reason == "error"
    assert failure.message.startswith("There was not enough memory for this job. Close other")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("bug", "KeyError"),
        ("leave", "SystemExit"),
        ("panic", "BaseException"),
        ("not_json", "TypeError"),
    ],
)
def test_bug_is_one_sentence_for_the_user_and_a_traceback_for_us(
    talk: Talk, kind: str, name: str
) -> None:
    failure = talk.fail(kind)
    assert failure.reason == "bug"
    assert f"Something went wrong inside the program ({name}: " in failure.message
    assert "\n" not in failure.message
    assert failure.traceback.startswith("Traceback (most recent call last):")


def test_cancel_stops_a_task_that_reports_and_not_the_next(talk: Talk) -> None:
    talk.say(Request(job_id="long", kind="patient", params={}))
    assert isinstance(talk.hear(), Report)
    talk.say(Cancel(job_id="long"))
    talk.say(Request(job_id="next", kind="echo", params={}))
    heard = [talk.hear()]
    while isinstance(heard[-1], Report):
        heard.append(talk.hear())
    assert heard[-1] == Failure(job_id="long", reason="cancelled", message="The job was cancelled")
    result = talk.hear()
    assert isinstance(result, Result)
    assert result.job_id == "next"


def test_cancel_that_comes_before_the_task_begins_still_counts(talk: Talk) -> None:
    talk.say(Cancel(job_id="early"))
    talk.say(Request(job_id="early", kind="patient", params={}))
    failure = talk.hear()
    assert isinstance(failure, Failure)
    assert failure.reason == "cancelled"


def test_traceback_is_logged_whole() -> None:
    with start() as process:
        Talk(process).say(Request(job_id="1", kind="bug", params={}))
        assert process.stdout is not None
        for _ in range(2):  # ready, failure
            process.stdout.readline()
        _, logged = process.communicate()
    assert b"Traceback (most recent call last):" in logged
    assert b"registry.py" in logged


@pytest.mark.parametrize("kind", ["deaf", "stubborn"])
def test_end_of_the_parent_ends_the_worker_in_the_middle_of_a_task(kind: str) -> None:
    with start() as process:
        talk = Talk(process)
        assert isinstance(talk.hear(), Ready)
        talk.say(Request(job_id="1", kind=kind, params={}))
        assert isinstance(talk.hear(), Report)
        process.communicate(timeout=20)  # closes its input; the task itself would take 60 s
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("tasks", "reason"),
    [
        ("no.such.module:TASKS", b"No module named"),
        ("tests.engine.jobs.registry:NOTHING", b"has no attribute"),
    ],
)
def test_registry_that_is_not_there_ends_the_worker_with_the_reason(
    tasks: str, reason: bytes
) -> None:
    with start(tasks) as process:
        process.wait(timeout=20)  # its input is still open
        out, logged = process.communicate()
    assert process.returncode == 1
    assert out == b""
    assert reason in logged


def test_line_that_is_no_message_ends_the_worker_with_the_reason() -> None:
    with start() as process:
        assert isinstance(Talk(process).hear(), Ready)
        _, logged = process.communicate(b"hello\n", timeout=20)
    assert b"expected a message between the app and its worker" in logged
