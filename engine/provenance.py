"""Where a result came from: content fingerprints and the versions that made it."""

from __future__ import annotations

import hashlib
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import torch

from engine.rows import RowMatrix, compute_dtype, each_block

_BLOCK_NUMBERS = 1 << 20  # 4 MB of float32: hashing never copies a whole table
_PACKAGES = ("subspace-atlas", "torch", "numpy")


def fingerprint_matrix(matrix: RowMatrix) -> str:
    """Content hash of a matrix: equal content, equal text, on every machine.

    Args:
        matrix: Shape (n, d), any float dtype, in memory, mapped or in shards.

    Returns:
        ``"blake2b:"`` and 32 hexadecimal digits over the shape, the dtype and the rows. Rows of
        16-bit floats count in float32, so that a table has one fingerprint wherever it is kept.

    Cost: one pass over the bytes, about 1 GB a second.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{tuple(matrix.shape)} {compute_dtype(matrix)}".encode())
    for _, block in each_block(matrix.detach(), max(1, _BLOCK_NUMBERS // matrix.shape[1])):
        digest.update(block.contiguous().cpu().view(torch.uint8).numpy().data)
    return f"blake2b:{digest.hexdigest()}"


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def describe_machine() -> dict[str, object]:
    """Date, processor, threads and versions, as plain values for JSON."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": cpu_model(),
        "threads": torch.get_num_threads(),
        "versions": installed_versions(),
    }


def cpu_model() -> str:
    """The processor's own name where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
