"""A group of processes over torch.distributed: gloo for tensors in memory, nccl for those on a GPU.

Sums are added up in the same order on every process, so all of them see the same bits and take the
same turns. DISTRIBUTED.md in this folder has what is moved and what it costs.
"""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import psutil
import torch
import torch.distributed as dist
from torch import Tensor

from engine.clustering.job import ENVIRONMENT, is_job
from engine.errors import EngineError, ParameterError

# A process that dies closes its connections, which the others see at once. This long it takes to
# notice a machine that went away without a word; a step may take no longer.
STEP_TIMEOUT = timedelta(minutes=30)
# One process may work alone for hours between two fits, on what the others are not needed for.
_IDLE_TIMEOUT = timedelta(days=7)
_DYING_SECONDS = 3.0  # a process that is killed closes its connections before it is seen to end
_SENT_TOGETHER = 1 << 24  # numbers in one message


class PeerLostError(EngineError, ConnectionError):
    """Another process of the job died, or its machine cannot be reached.

    Attributes:
        lost: Ranks that are known to have died; empty where that cannot be told from here.
    """

    def __init__(self, message: str, lost: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.lost = lost


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seat:
    """Where a process runs, so that others on its machine can see whether it lives."""

    host: int
    pid: int

    def has_died(self) -> bool:
        """Whether it runs on this machine and has ended; False as well where it cannot be seen."""
        if self.host != _host():
            return False
        try:
            return psutil.Process(self.pid).status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        except psutil.NoSuchProcess:
            return True


class TorchGroup:
    """The processes of one torch.distributed job; see `engine.clustering.group.Group`.

    Made by `join_group`. Every method raises `PeerLostError` when another process dies.

    Attributes:
        rank: Number of this process, from 0.
        size: How many there are.
    """

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        idle = dist.new_group(backend="gloo", timeout=_IDLE_TIMEOUT)
        assert isinstance(idle, dist.ProcessGroup)  # all ranks are in it
        self._idle = idle
        seats = self.gather(torch.tensor([[_host(), os.getpid()]]))
        self._seats = [_Seat(host=int(seat[0, 0]), pid=int(seat[0, 1])) for seat in seats]

    def add_up(self, parts: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over the processes."""
        with self._guarded():
            for part in parts:
                whole = part.contiguous()
                dist.all_reduce(whole)
                if whole is not part:
                    part.copy_(whole)

    def gather(self, part: Tensor) -> list[Tensor]:
        """The tensors of all processes, by rank; they may differ in length alone."""
        with self._guarded():
            lengths = self._lengths(part)
            if not any(lengths):
                return [part for _ in lengths]
            padded = part.new_zeros((max(lengths), *part.shape[1:]))
            padded[: len(part)] = part
            gathered = [torch.empty_like(padded) for _ in lengths]
            dist.all_gather(gathered, padded)
        return [whole[:length] for whole, length in zip(gathered, lengths, strict=True)]

    def share(self, parts: Iterable[Tensor]) -> None:
        """Replace each tensor by that of rank 0."""
        with self._guarded():
            for part in parts:
                whole = part.contiguous()
                dist.broadcast(whole, src=0)
                if whole is not part:
                    part.copy_(whole)

    def collect(self, part: Tensor) -> Tensor | None:
        """All parts one below the other, on rank 0 alone; None elsewhere.

        Args:
            part: Shape (n_p, …), dtype and trailing shape the same everywhere.
        """
        with self._guarded():
            lengths = self._lengths(part)
            if self.rank:
                for piece in _pieces(part.contiguous()):
                    dist.send(piece, dst=0)
                return None
            whole = part.new_empty((sum(lengths), *part.shape[1:]))
            for sender, own in enumerate(whole.split(lengths)):
                if sender == 0:
                    own.copy_(part)
                else:
                    for piece in _pieces(own):
                        dist.recv(piece, src=sender)
            return whole

    def hand_out(self, whole: Tensor | None, own: Tensor) -> None:
        """Fill each process's tensor with its part of what rank 0 has.

        Args:
            whole: On rank 0 the parts one below the other; not looked at elsewhere.
            own: Shape (n_p, …), to be filled, same dtype everywhere.
        """
        with self._guarded():
            lengths = self._lengths(own)
            if self.rank:
                for piece in _pieces(own):
                    dist.recv(piece, src=0)
                return
            assert whole is not None
            for receiver, part in enumerate(whole.split(lengths)):
                if receiver == 0:
                    own.copy_(part)
                else:
                    for piece in _pieces(part.contiguous()):
                        dist.send(piece, dst=receiver)

    def announce(self, message: bytes = b"") -> bytes:
        """A message of rank 0 to all; the others wait for it as long as it takes."""
        with self._guarded():
            length = torch.tensor([len(message)])
            dist.broadcast(length, src=0, group=self._idle)
            data = torch.zeros(int(length), dtype=torch.uint8)
            if self.rank == 0 and message:
                data = torch.frombuffer(bytearray(message), dtype=torch.uint8)
            dist.broadcast(data, src=0, group=self._idle)
        return data.numpy().tobytes()

    def died(self) -> tuple[int, ...]:
        """Ranks on this machine that have ended, as soon as one is seen to have."""
        deadline = time.monotonic() + _DYING_SECONDS
        while True:
            found = tuple(rank for rank, seat in enumerate(self._seats) if seat.has_died())
            if found or time.monotonic() > deadline:
                return found
            time.sleep(0.02)

    def lost(self) -> PeerLostError:
        """The error that says which processes died."""
        died = self.died()
        if not died:
            return PeerLostError(
                f"process {self.rank + 1} of {self.size} lost the others: one died or its machine "
                "cannot be reached",
            )
        names = " and ".join(str(rank + 1) for rank in died)
        noun = "process" if len(died) == 1 else "processes"
        reason = "died (killed, or out of memory)"
        return PeerLostError(f"{noun} {names} of {self.size} {reason}", died)

    def _lengths(self, part: Tensor) -> list[int]:
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(part)]))
        return [int(length) for length in lengths]

    @contextmanager
    def _guarded(self) -> Generator[None]:
        """Say in our words what gloo and nccl say in theirs."""
        try:
            yield
        except (RuntimeError, dist.DistBackendError) as error:
            raise self.lost() from error


@contextmanager
def join_group(timeout: timedelta = STEP_TIMEOUT) -> Generator[TorchGroup]:
    """Join the job that the environment tells of, and leave it at the end.

    Args:
        timeout: How long a step may take before a silent process counts as lost.

    Yields:
        The group, once all its processes are there.

    Raises:
        ParameterError: If no job started this process.
        PeerLostError: If the others cannot be reached.
    """
    if not is_job():
        raise ParameterError(
            f"no job started this process: {', '.join(ENVIRONMENT)} are not all set; start it "
            "with torchrun --nproc-per-node N -m engine.cli …"
        )
    backend = "gloo"
    if torch.cuda.is_available() and dist.is_nccl_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    try:
        dist.init_process_group(backend, timeout=timeout)
        group = TorchGroup()
    except (RuntimeError, dist.DistError) as error:
        raise PeerLostError(
            f"the other processes of the job cannot be reached ({error}); see that all were "
            "started and that MASTER_ADDR and MASTER_PORT lead to the first"
        ) from error
    try:
        yield group
    finally:
        dist.destroy_process_group()


def _pieces(values: Tensor) -> Iterable[Tensor]:
    """Views small enough for one message each."""
    return values.view(-1).split(_SENT_TOGETHER) if values.numel() else ()


def _host() -> int:
    """This machine as a number that fits into a tensor."""
    digest = hashlib.blake2b(platform.node().encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big")
