"""Uploads, written where the worker process can read them; none stays that could not be read."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from engine import EngineError
from engine.folders import write_file
from engine.paths import uploads_folder
from pages.parts import hosting

_KNOWN = "uploads"
_UNREAD = "uploads-unread"


def keep_upload(file: UploadedFile) -> str:
    """Write an upload where the worker process can read it, once; same content, same file.

    Returns:
        Its path.

    Raises:
        EngineError: If it is too large, or the disk refuses.
    """
    known: dict[str, str] = st.session_state.setdefault(_KNOWN, {})
    if file.file_id not in known:
        hosting.check_upload(file.name, file.size)
        content = file.getvalue()
        digest = hashlib.blake2b(content, digest_size=8).hexdigest()
        path = uploads_folder() / digest / Path(file.name).name
        try:
            if not path.exists():
                write_file(path, lambda temporary: temporary.write_bytes(content))
                _unread().add(str(path))
        except OSError as error:
            raise EngineError(
                f"the upload could not be kept in {path.parent}: {error.strerror}; free some space "
                "or point SUBSPACE_ATLAS_HOME at a folder of your own"
            ) from error
        known[file.file_id] = str(path)
    return known[file.file_id]


def note_read(*paths: str | None) -> None:
    """These could be read: uploads among them stay."""
    _unread().difference_update(path for path in paths if path)


def forget_unread(*paths: str | None) -> None:
    """Delete those of these that are uploads of this session and could never be read.

    While a file is still chosen it is written anew at the next run: what it lacked may be given
    then, such as the name of the array.
    """
    known: dict[str, str] = st.session_state.get(_KNOWN, {})
    for path in _unread().intersection(path for path in paths if path):
        with suppress(OSError):  # a disk that refuses is no reason to end the page
            Path(path).unlink(missing_ok=True)
            Path(path).parent.rmdir()
        _unread().discard(path)
        for file_id in [each for each, kept in known.items() if kept == path]:
            del known[file_id]


def _unread() -> set[str]:
    """Paths that this session has written and nobody has read yet."""
    unread: set[str] = st.session_state.setdefault(_UNREAD, set())
    return unread
