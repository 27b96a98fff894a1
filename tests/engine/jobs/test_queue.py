"""The queue keeps its word whatever happens to the worker."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from engine.errors import JobError, ParameterError
from engine.jobs import JobQueue, JobStatus
from engine.jobs import queue as queue_module

TASKS = "tests.engine.jobs.registry:TASKS"
PATIENCE = 20.0  # seconds for what takes milliseconds: only a hang runs into it
# Promised are 0.5 s. The rest is for a loaded machine, where this thread itself may wait for its
# turn; without the promise a task here would take 60 s.
CANCELLED_WITHIN = 1.5


def until(true: Callable[[], bool]) -> None:
    """Wait for something that the queue does not tell."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def end(queue: JobQueue, job_id: str) -> JobStatus:
    """The job's status once it has ended."""
    status = queue.wait(job_id, PATIENCE)
    assert status.finished, f"still {status.state} after {PATIENCE} s"
    return status


def begin(queue: JobQueue, kind: str) -> str:
    """Submit a job and wait until it has reported."""
    job_id = queue.submit(kind, {})
    until(lambda: queue.status(job_id).phase != "")
    return job_id


def worker_of(queue: JobQueue) -> int:
    status = end(queue, queue.submit("echo", {}))
    assert status.result is not None
    return status.result["pid"]


def seconds_to_cancel(queue: JobQueue, job_id: str) -> float:
    started = time.monotonic()
    queue.cancel(job_id)
    assert end(queue, job_id).state == "cancelled"
    return time.monotonic() - started


def is_gone(pid: int) -> bool:
    try:
        # Where nobody collects orphans, a dead process stays behind as a zombie.
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def queue() -> Iterator[JobQueue]:
    with JobQueue(TASKS) as queue:
        yield queue


# The usual course


def test_job_gives_its_result_from_another_process(queue: JobQueue) -> None:
    status = end(queue, queue.submit("echo", {"k": 5, "names": ["ä", None]}))
    assert status.state == "done"
    assert status.result is not None
    assert status.result["params"] == {"k": 5, "names": ["ä", None]}
    assert status.result["pid"] == queue.worker_pid != os.getpid()
    assert (status.fraction, status.error, status.eta_seconds) == (1.0, None, None)


def test_jobs_run_one_after_the_other_in_the_same_process(queue: JobQueue) -> None:
    ids = [queue.submit("echo", {"number": number}) for number in range(5)]
    pids = {end(queue, job_id).result["pid"] for job_id in ids}
    assert pids == {queue.worker_pid}
    assert [status.job_id for status in queue.jobs()] == ids


def test_waiting_job_is_queued_until_its_turn(queue: JobQueue) -> None:
    first = begin(queue, "patient")
    second = queue.submit("echo", {})
    assert queue.wait(second, timeout=0.05).state == "queued"
    assert queue.status(second).elapsed_seconds == 0
    queue.cancel(first)
    assert end(queue, second).state == "done"


def test_waiting_jobs_know_their_place_in_line(queue: JobQueue) -> None:
    first = begin(queue, "patient")
    waiting = [queue.submit("echo", {"number": number}) for number in range(3)]
    assert [queue.status(job_id).place for job_id in (first, *waiting)] == [None, 1, 2, 3]
    queue.cancel(waiting[0])
    assert [status.place for status in queue.jobs()] == [None, None, 1, 2]
    queue.cancel(first)
    assert end(queue, waiting[2]).place is None


def test_equal_requests_have_one_digest_and_others_another(queue: JobQueue) -> None:
    ids = [queue.submit("echo", {"number": number}) for number in (1, 1, 2)]
    digests = [queue.status(job_id).request for job_id in ids]
    assert digests[0] == digests[1] == queue_module.request_digest("echo", {"number": 1})
    assert len({*digests, queue_module.request_digest("patient", {"number": 1})}) == 3


def test_progress_can_be_watched(queue: JobQueue) -> None:
    job_id = queue.submit("steps", {"count": 400, "seconds": 0.01, "phases": ["Fitting"]})
    until(lambda: (queue.status(job_id).eta_seconds or 0) > 0)
    status = queue.status(job_id)
    assert (status.state, status.phase, status.total) == ("running", "Fitting", 400)
    assert status.detail == f"at {status.done}"
    assert 0 < status.fraction < 1
    # The estimate is silent in the first second of a phase.
    assert status.elapsed_seconds >= 1
    queue.cancel(job_id)
    ended = end(queue, job_id)
    assert ended.eta_seconds is None
    assert queue.status(job_id) == ended  # the clock has stopped


def test_parameters_are_those_of_the_moment_of_submitting(queue: JobQueue) -> None:
    first = begin(queue, "patient")
    params: dict[str, object] = {"ks": [1]}
    second = queue.submit("echo", params)
    params["ks"] = {"not", "json"}
    queue.cancel(first)
    assert end(queue, second).result["params"] == {"ks": [1]}


def test_flood_of_progress_does_not_hold_the_queue_up(queue: JobQueue) -> None:
    flood = queue.submit("steps", {"count": 100_000, "phases": ["One", "Two"]})
    after = queue.submit("echo", {})
    assert end(queue, flood).done == 100_000
    assert queue.status(flood).phase == "Two"
    assert end(queue, after).state == "done"


def test_many_threads_may_submit(queue: JobQueue) -> None:
    ids: dict[int, list[str]] = {}

    def submit(thread: int) -> None:
        ids[thread] = [queue.submit("echo", {"thread": thread, "number": n}) for n in range(20)]
        for job_id in ids[thread]:
            queue.wait(job_id, PATIENCE)

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    for thread, own in ids.items():
        for number, job_id in enumerate(own):
            status = queue.status(job_id)
            assert status.state == "done"
            assert status.result is not None
            assert status.result["params"] == {"thread": thread, "number": number}
    assert len({job_id for own in ids.values() for job_id in own}) == 80


def test_only_the_last_jobs_are_kept(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "KEPT_JOBS", 3)
    ids = [queue.submit("echo", {}) for _ in range(6)]
    end(queue, ids[-1])
    assert [status.job_id for status in queue.jobs()] == ids[3:]
    with pytest.raises(ParameterError, match=r"there is no job .* Submit it again"):
        queue.status(ids[0])


@pytest.mark.parametrize("act", [JobQueue.status, JobQueue.cancel, JobQueue.wait])
def test_unknown_job_is_refused(queue: JobQueue, act: Callable[[JobQueue, str], object]) -> None:
    with pytest.raises(ParameterError, match="there is no job 'x'"):
        act(queue, "x")


def test_large_parameters_are_sent_to_a_file(queue: JobQueue) -> None:
    with pytest.raises(ParameterError, match=r"may take 32,768 bytes as JSON, got .* to a file"):
        queue.submit("echo", {"tokens": "x" * 40_000})


def test_parameters_that_are_no_json_are_refused(queue: JobQueue) -> None:
    with pytest.raises(ParameterError, match="must be JSON"):
        queue.submit("echo", {"matrix": b"\0"})


# Failing


def test_error_for_the_user_is_passed_on(queue: JobQueue) -> None:
    status = end(queue, queue.submit("refuse", {}))
    assert (status.state, status.traceback) == ("failed", None)
    assert status.error == "k must be between 1 and 5, got 9; lower k"
    assert status.fraction == 0


def test_bug_brings_its_traceback_and_the_terminal_shows_it(
    queue: JobQueue, capfd: pytest.CaptureFixture[str]
) -> None:
    status = end(queue, queue.submit("bug", {}))
    logged = ""

    def seen() -> bool:
        nonlocal logged
        logged += capfd.readouterr().err
        return 'KeyError: "first line' in logged or "KeyError: 'first line" in logged

    until(seen)
    assert status.error is not None
    assert status.error.startswith("Something went wrong inside the program (KeyError")
    assert status.traceback is not None
    assert "registry.py" in status.traceback
    assert end(queue, queue.submit("echo", {})).state == "done"


def test_worker_killed_for_memory_fails_its_job_and_no_other(queue: JobQueue) -> None:
    before = worker_of(queue)
    killed, after = queue.submit("killed", {}), queue.submit("echo", {})
    status = end(queue, killed)
    assert status.state == "failed"
    assert status.error is not None
    assert "stopped by the system, most likely for lack of memory" in status.error
    assert "choose a smaller table, a lower k or fewer starts" in status.error
    status = end(queue, after)
    assert status.result is not None
    assert status.result["pid"] != before


def test_worker_killed_from_outside_while_it_works(queue: JobQueue) -> None:
    job_id = begin(queue, "deaf")
    assert queue.worker_pid is not None
    os.kill(queue.worker_pid, signal.SIGKILL)
    status = end(queue, job_id)
    assert status.error is not None
    needed = re.search(r"it needed at least ([\d,]+) MB", status.error)
    assert needed is not None
    assert int(needed[1].replace(",", "")) > 1  # an interpreter alone takes some 10 MB
    assert end(queue, queue.submit("echo", {})).state == "done"


def test_worker_killed_while_idle_is_replaced(queue: JobQueue) -> None:
    before = worker_of(queue)
    os.kill(before, signal.SIGKILL)
    until(lambda: queue.worker_pid is None)
    assert worker_of(queue) != before


def test_crash_inside_a_library_names_signal_and_last_words(queue: JobQueue) -> None:
    status = end(queue, queue.submit("crash", {}))
    assert status.error is not None
    assert "ended unexpectedly (SIGSEGV)" in status.error
    assert "about to crash" in status.error
    assert "registry.py" in status.error  # faulthandler says where
    assert end(queue, queue.submit("echo", {})).state == "done"


def test_pipe_that_is_written_into_fails_the_job_and_no_other(queue: JobQueue) -> None:
    status = end(queue, queue.submit("garble", {}))
    assert status.error is not None
    assert "expected a message between the app and its worker, got b'garbage" in status.error
    assert end(queue, queue.submit("echo", {})).state == "done"


def test_worker_that_cannot_start_fails_each_job_with_its_last_words() -> None:
    with JobQueue("no.such.module:TASKS") as queue:
        for job_id in [queue.submit("echo", {}) for _ in range(2)]:
            status = end(queue, job_id)
            assert status.state == "failed"
            assert status.error is not None
            assert "could not start. Install subspace-atlas again" in status.error
            assert "No module named 'no'" in status.error


def test_interpreter_that_is_not_there_fails_each_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with JobQueue(TASKS) as queue:
        with queue._changed:  # both are there before the queue looks at the first
            ids = [queue.submit("echo", {}) for _ in range(2)]
        for job_id in ids:
            error = end(queue, job_id).error
            assert error is not None
            assert "could not start: [Errno 2] No such file or directory" in error


# Cancelling


def test_cancelling_a_job_that_listens_keeps_the_process(queue: JobQueue) -> None:
    before = worker_of(queue)
    assert seconds_to_cancel(queue, begin(queue, "patient")) < CANCELLED_WITHIN
    assert worker_of(queue) == before


@pytest.mark.parametrize("kind", ["deaf", "stubborn"])
def test_cancelling_a_job_that_does_not_listen_ends_the_process(queue: JobQueue, kind: str) -> None:
    job_id = begin(queue, kind)
    before = queue.worker_pid
    assert before is not None
    assert seconds_to_cancel(queue, job_id) < CANCELLED_WITHIN
    assert worker_of(queue) != before
    assert is_gone(before)


def test_worker_is_replaced_before_the_next_job_asks(queue: JobQueue) -> None:
    job_id = begin(queue, "deaf")
    before = queue.worker_pid
    seconds_to_cancel(queue, job_id)
    until(lambda: queue.worker_pid not in (None, before))


def test_waiting_job_is_dropped_at_once(queue: JobQueue) -> None:
    running = begin(queue, "patient")
    waiting, after = queue.submit("deaf", {}), queue.submit("echo", {})
    queue.cancel(waiting)
    assert queue.status(waiting).state == "cancelled"
    assert queue.status(running).state == "running"
    queue.cancel(running)
    assert end(queue, after).state == "done"


def test_cancelling_what_has_ended_changes_nothing(queue: JobQueue) -> None:
    job_id = queue.submit("echo", {})
    done = end(queue, job_id)
    queue.cancel(job_id)
    assert queue.status(job_id) == done


def test_cancelling_twice_is_cancelling_once(queue: JobQueue) -> None:
    job_id = begin(queue, "deaf")
    started = time.monotonic()
    while not queue.status(job_id).finished:
        queue.cancel(job_id)  # a second wish must not start the time anew
        time.sleep(0.01)
    assert time.monotonic() - started < CANCELLED_WITHIN


# Warming


@pytest.fixture
def warm_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[int]]:
    """Which processes have begun to warm themselves."""
    path = tmp_path / "warm.log"
    path.touch()
    monkeypatch.setenv("WARM_LOG", str(path))
    return lambda: [int(line) for line in path.read_text().split()]


def test_worker_warms_itself_once_without_being_seen(warm_log: Callable[[], list[int]]) -> None:
    with JobQueue("tests.engine.jobs.registry:QUICK_WARM", warm=True) as queue:
        until(lambda: len(warm_log()) == 1)
        assert queue.jobs() == []
        assert worker_of(queue) == warm_log()[0]
        worker_of(queue)
        assert len(warm_log()) == 1


def test_fresh_worker_is_warmed_again(warm_log: Callable[[], list[int]]) -> None:
    with JobQueue("tests.engine.jobs.registry:QUICK_WARM", warm=True) as queue:
        seconds_to_cancel(queue, begin(queue, "deaf"))
        until(lambda: queue.worker_pid in warm_log()[-1:])


def test_job_does_not_wait_behind_warming_that_listens(warm_log: Callable[[], list[int]]) -> None:
    with JobQueue("tests.engine.jobs.registry:SLOW_WARM", warm=True) as queue:
        until(lambda: len(warm_log()) == 1)
        assert worker_of(queue) == warm_log()[0]
        until(lambda: len(warm_log()) == 2)  # it goes on afterwards
        assert warm_log()[0] == warm_log()[1]


def test_job_ends_warming_that_does_not_listen(
    warm_log: Callable[[], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "_WARM_PATIENCE_SECONDS", 0.2)
    with JobQueue("tests.engine.jobs.registry:DEAF_WARM", warm=True) as queue:
        until(lambda: len(warm_log()) == 1)
        assert worker_of(queue) != warm_log()[0]


def test_warming_that_kills_the_worker_is_not_tried_again(
    warm_log: Callable[[], list[int]],
) -> None:
    with JobQueue("tests.engine.jobs.registry:KILLED_WARM", warm=True) as queue:
        until(lambda: len(warm_log()) == 1)
        pids: set[int] = set()
        for _ in range(5):
            pids.add(worker_of(queue))
            time.sleep(0.05)  # idle long enough for warming to begin, if it were to
        assert len(warm_log()) == 1
        assert len(pids) == 1


# Ending


def test_closing_cancels_what_is_left_and_ends_the_worker() -> None:
    queue = JobQueue(TASKS)
    running, waiting = begin(queue, "deaf"), queue.submit("echo", {})
    worker = queue.worker_pid
    assert worker is not None
    queue.close()
    assert is_gone(worker)
    assert queue.status(running).state == "cancelled"
    assert queue.status(waiting).state == "cancelled"
    queue.close()
    with pytest.raises(JobError, match="closed and takes no new jobs"):
        queue.submit("echo", {})


def test_waiting_thread_is_let_go_when_the_queue_closes() -> None:
    queue = JobQueue(TASKS)
    job_id = begin(queue, "deaf")
    threading.Timer(0.05, queue.close).start()
    assert end(queue, job_id).state == "cancelled"


@pytest.mark.parametrize("last_words", ["os.kill(os.getpid(), signal.SIGKILL)", "pass"])
def test_worker_never_outlives_its_parent(last_words: str) -> None:
    script = (
        "import os, signal\n"
        "from engine.jobs import JobQueue\n"
        f"queue = JobQueue({TASKS!r})\n"
        "job_id = queue.submit('deaf', {})\n"
        "while not queue.status(job_id).phase: queue.wait(job_id, 0.01)\n"
        "print(queue.worker_pid, flush=True)\n"
        f"{last_words}\n"
    )
    path = os.pathsep.join(entry or "." for entry in sys.path)
    parent = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        timeout=PATIENCE,
        check=False,
    )
    assert parent.returncode == (-9 if "SIGKILL" in last_words else 0)
    worker = int(parent.stdout)
    until(lambda: is_gone(worker))


def test_file_in_the_working_directory_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "queue.py").write_text("raise SystemExit('the wrong queue was imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(Path(entry or ".").resolve()) for entry in sys.path])
    with JobQueue(TASKS) as queue:
        assert end(queue, queue.submit("echo", {})).state == "done"
