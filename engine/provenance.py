"""Where a result came from: content fingerprints and the versions that made it."""

from __future__ import annotations

import hashlib
import platform
from importlib import metadata

import torch
from torch import Tensor

_BLOCK_ROWS = 65_536  # about 100 MB of float32 at 384 columns: hashing never copies a whole table
_PACKAGES = ("subspace-atlas", "torch", "numpy")


def fingerprint_matrix(matrix: Tensor) -> str:
    """Content hash of a matrix: equal content, equal text, on every machine.

    Args:
        matrix: Shape (n, d), any float dtype.

    Returns:
        ``"blake2b:"`` and 32 hexadecimal digits over the shape, the dtype and the rows.

    Cost: one pass over the bytes, about 1 GB a second.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{tuple(matrix.shape)} {matrix.dtype}".encode())
    for block in matrix.detach().split(_BLOCK_ROWS):
        digest.update(block.contiguous().cpu().view(torch.uint8).numpy().data)  # bfloat16 too
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
