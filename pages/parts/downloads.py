"""Files that are made when their button is pressed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from engine import archives


def zip_folder(name: str, write: Callable[[Path], object]) -> bytes:
    """A folder as a zip file.

    Args:
        name: Of the folder inside, so that unpacking makes one.
        write: Fills the folder it is given.
    """
    buffer = BytesIO()
    with tempfile.TemporaryDirectory() as made:
        write(Path(made))
        archives.zip_folder(Path(made), buffer, name=name)
    return buffer.getvalue()
