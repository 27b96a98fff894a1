"""One command on several processes: rank 0 runs it as ever, the others help it fit.

Rank 0 reads the options, prints, projects, measures and writes. Each process has only its own
range of the rows; what is fitted comes to the others as a message. See
engine/clustering/DISTRIBUTED.md.
"""

from __future__ import annotations

import functools
import json
import signal
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from engine.clustering.job import is_job, job_rank
from engine.errors import EngineError, ShapeError

if TYPE_CHECKING:
    from torch import Tensor

    from engine.checkpoint import CheckpointFile
    from engine.clustering.distributed import TorchGroup
    from engine.fitting import Fit
    from engine.methods import FitTask
    from engine.progress import ProgressCallback
    from engine.rows import RowMatrix

_Command = TypeVar("_Command", bound=Callable[..., Any])
_LINGER_SECONDS = 4.0  # a process that lost another stays this long, so as not to look lost itself


class StoppedError(EngineError):
    """The launcher asked this process to end."""


def across_ranks(command: _Command) -> _Command:
    """Give a command its ``fitter``, and let it run on rank 0 alone where there are several.

    The command needs the options ``source``, ``tensor`` and ``output``.
    """

    @functools.wraps(command)
    def run(**options: Any) -> Any:  # noqa: ANN401 - whatever the command takes and gives
        if not is_job():
            from engine.methods import fit_alone

            return command(fitter=fit_alone, **options)
        from engine.clustering.distributed import join_group

        with _ended_by_signal():
            if job_rank() > 0:
                return _follow(options["source"], options["tensor"])
            with join_group() as group, _leading(group, options["output"]) as leader:
                return command(fitter=leader.fit, **options)

    return run  # pyright: ignore[reportReturnType]


class _Leader:
    """Rank 0: tells the others what to fit, fits its part, keeps the checkpoint."""

    def __init__(self, group: TorchGroup, output: Path | None) -> None:
        self._group = group
        self._output = output
        self.file: CheckpointFile | None = None
        self.fitting = False  # else the others wait for a message

    def fit(self, task: FitTask, progress: ProgressCallback) -> Fit:
        """Fit with all processes; gives the labels of all rows."""
        from engine.checkpoint import fingerprint_fit
        from engine.fitting import fit_rows
        from engine.resuming import fit_resumably
        from engine.rows import cut_rows, row_range

        fingerprint = fingerprint_fit(task.points, task.weights, task.request)
        resumable = task.request.method != "svd" and task.labels is None
        file = self._open(fingerprint) if resumable else None
        resume = None if file is None else file.load()
        if file is not None and resume is not None:
            message = f"Resuming from iteration {file.iteration} ({file.path})"
            click.echo(message, err=True)
        self.fitting = True
        n = len(task.points)
        header = {
            "request": task.request.as_config(),
            "rows": n,
            "columns": task.points.shape[1],
            "fingerprint": fingerprint if resumable else None,
            "weighted": task.weights is not None,
            "labelled": task.labels is not None,
        }
        self._group.announce(json.dumps(header).encode())
        own = row_range(n, 0, self._group.size)
        for whole in (task.weights, task.labels):
            if whole is not None:
                self._group.hand_out(whole, whole[own].clone())
        self._group.announce(b"" if resume is None else resume.to_bytes())
        rows = _rows(cut_rows(task.points, own), _cut(task.weights, own), self._group)
        if resumable:
            fit = fit_resumably(
                rows, task.request, fingerprint, resume=resume, file=file, progress=progress
            )
        else:
            given = _cut(task.labels, own)
            fit = fit_rows(rows, task.request, given=given, progress=progress)
        labels = self._group.collect(fit.result.labels)
        assert labels is not None
        self.fitting = False
        return replace(fit, result=replace(fit.result, labels=labels))

    def _open(self, fingerprint: str) -> CheckpointFile:
        from engine.checkpoint import CheckpointFile
        from engine.runs import RunStore

        place = RunStore().root / f".{fingerprint}.partial"  # hidden: no run of the store yet
        if self._output is not None:
            place = self._output.absolute().with_name(f"{self._output.name}.partial")
        self.file = CheckpointFile(place, fingerprint)
        return self.file

    def how_to_go_on(self) -> str:
        """Where the same command would begin, as half a sentence."""
        if self.file is None or not self.file.iteration:
            return "no iteration was finished, run the same command again"
        return f"run the same command again to resume from iteration {self.file.iteration}"


@contextmanager
def _leading(group: TorchGroup, output: Path | None) -> Generator[_Leader]:
    """Rank 0's part of the job: at its end the others are let go, or told apart from the dead."""
    from engine.clustering.distributed import PeerLostError

    leader = _Leader(group, output)
    try:
        yield leader
    except (PeerLostError, StoppedError) as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the launcher ends us as well, in a moment
        _flush(leader)
        died = group.died() or getattr(error, "lost", ())
        reason = str(group.lost()) if died else str(error)
        raise EngineError(f"{reason}; {leader.how_to_go_on()}") from error
    except KeyboardInterrupt as error:
        _flush(leader)
        if leader.file is None or not leader.file.iteration:
            raise
        raise KeyboardInterrupt(f"Interrupted; {leader.how_to_go_on()}.") from error
    except BaseException:
        _flush(leader)
        if not leader.fitting:  # the others wait for a word; in a fit they see the line go dead
            with suppress(EngineError):
                group.announce()
        raise
    group.announce()
    if leader.file is not None:
        leader.file.remove()


def _follow(source: str, tensor: str | None) -> None:
    """What every process but rank 0 does: fit what it is told to, on its own rows."""
    from engine.clustering.distributed import PeerLostError, join_group
    from engine.sources import load_rows

    try:
        with join_group() as group:
            try:
                points: RowMatrix | None = None  # not before rank 0 could read the source
                while header := group.announce():
                    if points is None:
                        points = load_rows(source, tensor=tensor, rank=group.rank, size=group.size)
                    _help(group, points, json.loads(header))
            except (PeerLostError, StoppedError):
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                died = group.died()
                if 0 in died and group.rank == min(set(range(group.size)) - set(died)):
                    click.echo(
                        f"error: {group.lost()}; run the same command again to resume from the "
                        "last iteration that was kept",
                        err=True,
                    )
                time.sleep(_LINGER_SECONDS)
                sys.exit(2)
    except PeerLostError:
        sys.exit(2)  # rank 0 says it
    except KeyboardInterrupt:
        sys.exit(130)


def _help(group: TorchGroup, points: RowMatrix, header: dict[str, Any]) -> None:
    """One fit, as rank 0 announced it."""
    import torch

    from engine.checkpoint import Checkpoint
    from engine.fitting import fit_rows
    from engine.progress import ignore_progress
    from engine.requests import FitRequest
    from engine.resuming import fit_resumably
    from engine.rows import row_range

    own = row_range(header["rows"], group.rank, group.size)
    expected = (own.stop - own.start, header["columns"])
    if tuple(points.shape) != expected:
        raise ShapeError(
            f"process {group.rank + 1} of {group.size} has rows {tuple(points.shape)} of the "
            f"source where the first one's call for {expected}; all need the same file"
        )
    parts: dict[str, Tensor | None] = {"weighted": None, "labelled": None}
    for name, dtype in (("weighted", torch.float64), ("labelled", torch.int64)):
        if header[name]:
            part = torch.empty(len(points), dtype=dtype)
            group.hand_out(None, part)
            parts[name] = part
    checkpoint = group.announce()
    resume = Checkpoint.from_bytes(checkpoint, "the checkpoint") if checkpoint else None
    request = FitRequest(**header["request"])
    try:
        rows = _rows(points, parts["weighted"], group)
        if header["fingerprint"] is None:
            fit = fit_rows(rows, request, given=parts["labelled"], progress=ignore_progress)
        else:
            fit = fit_resumably(
                rows, request, header["fingerprint"], resume=resume, progress=ignore_progress
            )
    except EngineError as error:
        if isinstance(error, ConnectionError | StoppedError):
            raise
        sys.exit(2)  # the same request fails on rank 0 in the same way, which says it
    group.collect(fit.result.labels)


def _rows(points: RowMatrix, weights: Tensor | None, group: TorchGroup) -> Any:  # noqa: ANN401
    from engine.clustering.weighted_rows import WeightedRows

    return WeightedRows.of(points, weights, group=group)


def _cut(values: Tensor | None, rows: slice) -> Tensor | None:
    return None if values is None else values[rows]


def _flush(leader: _Leader) -> None:
    """Write the last iteration; what else went wrong is the better story."""
    if leader.file is not None:
        with suppress(EngineError):
            leader.file.flush()


@contextmanager
def _ended_by_signal() -> Generator[None]:
    """Turn the launcher's SIGTERM into an error, so that the last iteration is still written."""

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise StoppedError("the job was stopped")

    before = signal.signal(signal.SIGTERM, stop)
    yield
    signal.signal(signal.SIGTERM, before)  # after an error the launcher ends us: say why first
