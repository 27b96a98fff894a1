"""Folders and files that are complete or not there at all.

A folder is filled under a temporary name beside its place, on the same file system, and renamed
when everything is on the disk. What a killed process left is swept by the next one.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

_STALE_SECONDS = 86_400.0
# Host and process that write it: on a shared home directory, only the same host can tell whether
# the process is still alive.
_TEMPORARY = re.compile(r"\.tmp-run-(?P<host>[0-9a-f]{8})-(?P<pid>[0-9]{1,9})-[0-9a-f]{8}")


def write_folder(
    folder: Path, write: Callable[[Path], None], *, youngest: str | None = None
) -> None:
    """Make a folder, or replace one, in one step.

    Args:
        folder: Where to; missing parents are made. What is there is lost once the new one is whole.
        write: Fills the empty folder it is given. May raise anything: nothing is left behind then.
        youngest: Name of a file in it that no other is to be younger than, by its times.

    Raises:
        OSError: If the disk refuses (full, read-only, no permission).
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    temporary = _temporary_name(folder.parent)
    try:
        temporary.mkdir()
        write(temporary)
        mode = _usual_mode(temporary)
        inside = [*temporary.rglob("*")]
        for path in inside:
            if path.is_file():
                path.chmod(mode)  # which is a change, and makes it younger
        if youngest is not None:
            (temporary / youngest).touch()
        for path in [*inside, temporary]:
            _flush(path)
        _put_in_place(temporary, folder)
    except BaseException:  # an interrupt from the keyboard, too, leaves nothing
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _flush(folder.parent)


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Make a file, or replace one, in one step.

    Args:
        path: Where to; missing parents are made.
        write: Writes the file it is given. May raise anything: nothing is left behind then.

    Raises:
        OSError: If the disk refuses (full, read-only, no permission).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    temporary = _temporary_name(path.parent)
    try:
        write(temporary)
        temporary.chmod(_usual_mode(path.parent))
        _flush(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def is_left_over(path: Path) -> bool:
    """Whether it is a half-written folder or file, of a process that was killed or still writes."""
    return _TEMPORARY.fullmatch(path.name) is not None


def remove_folder(folder: Path) -> None:
    """Remove a folder, or a link to one, so that never half of it is seen.

    Raises:
        OSError: If the disk refuses; the folder is untouched then.
    """
    # First out of sight in one step; what an interrupted removal leaves is swept later.
    doomed = folder.rename(_temporary_name(folder.parent))
    if doomed.is_symlink():
        doomed.unlink(missing_ok=True)
    else:
        shutil.rmtree(doomed, ignore_errors=True)


def _host() -> str:
    return hashlib.blake2b(platform.node().encode(), digest_size=4).hexdigest()


def _temporary_name(parent: Path) -> Path:
    return parent / f".tmp-run-{_host()}-{os.getpid()}-{secrets.token_hex(4)}"


def _sweep(parent: Path) -> None:
    """Remove what killed processes left."""
    for entry in parent.iterdir():
        match = _TEMPORARY.fullmatch(entry.name)
        if match is None:
            continue
        with suppress(OSError):  # it may vanish while we look: another process sweeps, too
            ended = match["host"] == _host() and not psutil.pid_exists(int(match["pid"]))
            if ended or time.time() - entry.stat().st_mtime > _STALE_SECONDS:
                if entry.is_dir():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink()


def _put_in_place(temporary: Path, folder: Path) -> None:
    if not folder.exists():
        temporary.rename(folder)
        return
    # A folder cannot be renamed onto a full one: the old one steps aside, and back on failure.
    old = _temporary_name(folder.parent)
    folder.rename(old)
    try:
        temporary.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _usual_mode(folder: Path) -> int:
    """Who may read a new file there: safetensors lets nobody but the owner, whatever the umask."""
    probe = _temporary_name(folder)
    probe.touch()
    mode = stat.S_IMODE(probe.stat().st_mode)
    probe.unlink()
    return mode


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if os.name != "posix":  # Windows can flush neither a folder nor what is opened for reading
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems cannot flush folders; a file must be flushed.
        if not path.is_dir() or error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
