"""Files that are made when their button is pressed."""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path


def zip_folder(name: str, write: Callable[[Path], object]) -> bytes:
    """A folder as a zip file.

    Args:
        name: Of the folder inside, so that unpacking makes one.
        write: Fills the folder it is given.

    Returns:
        The zip file; stored, not deflated: numbers of a fit do not get smaller.
    """
    buffer = BytesIO()
    with tempfile.TemporaryDirectory() as made, zipfile.ZipFile(buffer, "w") as archive:
        folder = Path(made)
        write(folder)
        for path in sorted(folder.rglob("*")):
            archive.write(path, f"{name}/{path.relative_to(folder).as_posix()}")
    return buffer.getvalue()


def file_name(*parts: str) -> str:
    """A name that every file system takes, from names that may hold anything."""
    return "-".join(re.sub(r"[^\w.-]+", "-", part).strip("-.") for part in parts)
