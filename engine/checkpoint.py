"""A fit that can go on after it was killed: the subspaces of its last iteration, in one file.

Labels are not kept: they follow from the subspaces in one pass over the rows, which the next
iteration makes anyway, and they are as long as the table. Nor are the statistics: they follow from
the labels in the same pass.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from engine.clustering.search import StartReport
from engine.clustering.subspaces import SubspaceSet
from engine.errors import EngineError, FormatError, ParameterError
from engine.folders import write_file
from engine.provenance import fingerprint_matrix
from engine.requests import FitRequest
from engine.rows import RowMatrix

SCHEMA_VERSION = 1
_HEADER = "subspace-atlas checkpoint"
_PAUSE_SECONDS = 2.0  # between two writes: what a kill may cost, against what writing costs
_SAMPLED_ROWS = 4096  # enough to tell tables apart without reading all of one


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """Where a fit was.

    Attributes:
        fingerprint: Of the table, its weights and the request; see `fingerprint_fit`.
        k: Number of subspaces, chosen if it was to be.
        loss: As `parse_loss` reads it, its scale known.
        starts: What became of each start, the one that goes on among them.
        cost_history: Cost after each finished iteration of that start.
        subspaces: Those of the last one.
    """

    fingerprint: str
    k: int
    loss: str
    starts: tuple[StartReport, ...]
    cost_history: tuple[float, ...]
    subspaces: SubspaceSet

    @property
    def iteration(self) -> int:
        """Finished iterations on all rows."""
        return len(self.cost_history)

    def to_bytes(self) -> bytes:
        """As a safetensors file whose header holds the rest as JSON."""
        subspaces = self.subspaces
        tensors = {f"basis.{c}": basis.contiguous() for c, basis in enumerate(subspaces.bases)}
        tensors["energies"] = subspaces.energies.contiguous()
        if subspaces.offsets is not None:
            tensors["offsets"] = subspaces.offsets.contiguous()
        header = {
            "schema": SCHEMA_VERSION,
            "fingerprint": self.fingerprint,
            "k": self.k,
            "loss": self.loss,
            "starts": [asdict(start) for start in self.starts],
            "cost_history": self.cost_history,
            "price": subspaces.price,
        }
        return save(tensors, metadata={_HEADER: json.dumps(header)})

    @classmethod
    def from_bytes(cls, data: bytes, name: str) -> Checkpoint:
        """Read what `to_bytes` made.

        Args:
            data: The bytes.
            name: What a message calls them.

        Raises:
            FormatError: If they are something else, damaged, or from another version.
        """
        try:
            header = _read_header(data)
            if header["schema"] != SCHEMA_VERSION:
                raise FormatError(
                    f"{name} has schema {header['schema']}, this version reads {SCHEMA_VERSION}; "
                    "finish it with the version that began it, or delete it"
                )
            tensors = load(data)
            bases = [tensors[f"basis.{c}"] for c in range(header["k"])]
            starts = [s | {"cost_history": tuple(s["cost_history"])} for s in header["starts"]]
            return cls(
                fingerprint=header["fingerprint"],
                k=header["k"],
                loss=header["loss"],
                starts=tuple(StartReport(**start) for start in starts),
                cost_history=tuple(header["cost_history"]),
                subspaces=SubspaceSet(
                    frames=torch.stack([_complete(basis) for basis in bases]),
                    dimensions=tuple(len(basis) for basis in bases),
                    energies=tensors["energies"],
                    offsets=tensors.get("offsets"),
                    price=header["price"],
                ),
            )
        except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(
                f"{name} is damaged or no checkpoint of ours ({error}); delete it to begin anew"
            ) from error


class CheckpointFile:
    """The checkpoint of one fit on the disk, written whole or not at all.

    Args:
        path: Where it is, or is to be.
        fingerprint: Of the fit it is for.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self.iteration = 0
        self._pending: Checkpoint | None = None
        self._written = float("-inf")

    def load(self) -> Checkpoint | None:
        """What an earlier process left, or None.

        Raises:
            ParameterError: If it is of another fit.
            FormatError: If it is damaged.
        """
        try:
            found = Checkpoint.from_bytes(self.path.read_bytes(), str(self.path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise FormatError(f"{self.path} cannot be read: {error}") from error
        if found.fingerprint != self.fingerprint:
            raise ParameterError(
                f"{self.path} holds the unfinished fit of another table or plan (k = {found.k}, "
                f"iteration {found.iteration}); finish it with the command that began it, delete "
                "the file, or name another output"
            )
        self.iteration = found.iteration
        return found

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write it, unless the last one was written a moment ago; `flush` writes it then."""
        self._pending = checkpoint
        if time.monotonic() - self._written >= _PAUSE_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what `keep` has put off.

        Raises:
            EngineError: If the disk refuses.
        """
        if self._pending is None:
            return
        data = self._pending.to_bytes()
        try:
            write_file(self.path, lambda path: path.write_bytes(data))
        except OSError as error:
            raise EngineError(
                f"could not write the checkpoint {self.path}: {error}; free some space or choose a "
                "folder you may write to"
            ) from error
        self.iteration, self._pending = self._pending.iteration, None
        self._written = time.monotonic()

    def remove(self) -> None:
        """Forget the fit: it is finished."""
        self._pending = None
        self.path.unlink(missing_ok=True)


def fingerprint_fit(matrix: RowMatrix, weights: Tensor | None, request: FitRequest) -> str:
    """Text that is equal for equal tables (by a sample of their rows), weights and requests.

    Args:
        matrix: Shape (n, d), all rows.
        weights: Shape (n,), or None.
        request: What to fit.
    """
    n = len(matrix)
    sample = torch.arange(min(n, _SAMPLED_ROWS)) * n // min(n, _SAMPLED_ROWS)
    parts = [str(tuple(matrix.shape)), fingerprint_matrix(matrix[sample])]
    parts.append(json.dumps(request.as_config(), sort_keys=True))
    digest = hashlib.blake2b("\n".join(parts).encode(), digest_size=16)
    if weights is not None:
        digest.update(weights[sample].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read_header(data: bytes) -> dict[str, Any]:
    """The JSON in a safetensors file's header; its reader for bytes drops it."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_HEADER])


def _complete(basis: Tensor) -> Tensor:
    """A basis (j, d) with orthonormal rows added to make a frame (d, d)."""
    full = torch.linalg.qr(basis.double().T, mode="complete").Q.T.to(basis.dtype)
    return torch.cat([basis, full[len(basis) :]])
