"""Folders as zip files to take home."""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO
from zipfile import ZipFile, ZipInfo

from engine.progress import Progress, ProgressCallback, ignore_progress

_BLOCK_BYTES = 4 << 20  # between two chances to cancel


def zip_folder(
    folder: Path,
    archive: Path | BinaryIO,
    *,
    name: str,
    progress: ProgressCallback = ignore_progress,
) -> None:
    """Write a folder as a zip file: stored, not deflated, as numbers of a fit do not get smaller.

    Args:
        folder: What to pack.
        archive: Where to.
        name: Of the folder inside, so that unpacking makes one.
        progress: Called with the bytes packed; may raise to stop.

    Raises:
        OSError: If the disk refuses.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    done, total = 0, max(1, sum(path.stat().st_size for path in paths))
    with ZipFile(archive, "w") as packed:
        for path in paths:
            inside = ZipInfo.from_file(path, f"{name}/{path.relative_to(folder).as_posix()}")
            with path.open("rb") as source, packed.open(inside, "w") as target:
                while block := source.read(_BLOCK_BYTES):
                    progress(Progress(phase="Packing", done=done, total=total))
                    target.write(block)
                    done += len(block)


def file_name(*parts: str) -> str:
    """A name that every file system takes, from names that may hold anything."""
    return "-".join(re.sub(r"[^\w.-]+", "-", part).strip("-.") for part in parts)
