"""Runs as zip files: taken out of a store, and into another, where nothing in them is trusted.

A file holds a folder a run, named by its id, so that what names a run (a link, the checks of a
plan) still finds it on the other side. Only files that a run of its kind has are packed and taken.
"""

from __future__ import annotations

import shutil
import stat
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from engine.errors import EngineError, FormatError, ParameterError
from engine.figure_checks import read_compression_figures
from engine.folders import write_file, write_folder
from engine.labels import LABEL_FILE
from engine.runs import RECORD_FILE, Run, RunStore, is_run_id, read_run

MOST_RUNS = 500
MOST_BYTES = 4 * 1024**3
"""Of everything in one zip file, unpacked."""
_LEFT_FREE = 512 * 1024**2  # bytes of the disk that an import leaves to everything else
_MOST_TEXT = 256 * 1024**2  # of a file that is read whole, as JSON
_MOST_RATIO = 100  # unpacked bytes for one packed; JSON with long lists of cells comes to 30
_BLOCK_BYTES = 4 << 20
_LONGEST_ID = 200
# Where a run of each kind keeps what it found; `engine.storage` and `engine.recording` write them.
_FILES = {
    "compress": ("factorization.json", "factorization.safetensors"),
    "evaluate": (),
    "sweep": ("sweep.json",),
}
# What reading a damaged zip file raises.
_DAMAGED = (BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, ValueError)
_KNOWN = {RECORD_FILE, LABEL_FILE, *(name for names in _FILES.values() for name in names)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What came of a zip file.

    Attributes:
        added: Runs that are in the store now and were not, in the order of the file.
        present: Ids of runs that the store had already, the very same; they were left alone.
    """

    added: tuple[Run, ...]
    present: tuple[str, ...]


def export_runs(store: RunStore, run_ids: Sequence[str], target: Path | BinaryIO) -> None:
    """Pack runs into one zip file, labels included.

    Args:
        store: Where they are.
        run_ids: Which; in the file they are in this order.
        target: The file.

    Raises:
        ParameterError: If there is no such run, or none is named.
        FormatError: If one is damaged, or a file of it is missing.
        EngineError: If the disk refuses.
    """
    runs = find_whole_runs(store, run_ids)
    try:
        # Stored, not deflated: the numbers of a fit do not get smaller.
        with ZipFile(target, "w", ZIP_STORED) as packed:
            for run in runs:
                for name in (RECORD_FILE, LABEL_FILE, *_FILES[run.record.kind]):
                    if (run.folder / name).is_file():
                        packed.write(run.folder / name, f"{run.id}/{name}")
    except OSError as error:
        raise EngineError(
            f"the runs could not be packed: {error.strerror}; free some space, or look whether "
            "they are still there"
        ) from error


def find_whole_runs(store: RunStore, run_ids: Sequence[str]) -> list[Run]:
    """The runs that `export_runs` would pack, each once, or why it would not.

    Raises:
        ParameterError: As there.
        FormatError: As there.
    """
    if not run_ids:
        raise ParameterError("a zip file needs at least one run; choose some")
    runs = [store.load(run_id) for run_id in dict.fromkeys(run_ids)]
    for run in runs:
        _check_files(run)
    return runs


def write_archive(store: RunStore, run_ids: Sequence[str], path: Path) -> None:
    """`export_runs` to a file that is there whole or not at all; one of that name is replaced.

    Raises:
        ParameterError: As there, or if the name does not end in ``.zip`` or its folder is missing.
        FormatError: As there.
        EngineError: If the disk refuses.
    """
    if path.suffix != ".zip" or not path.parent.is_dir():
        raise ParameterError(
            f"runs are exported to a .zip file in a folder that is there, got {path}; name another"
        )
    try:
        write_file(path, lambda temporary: export_runs(store, run_ids, temporary))
    except OSError as error:
        raise EngineError(
            f"could not write {path}: {error.strerror}; choose another place"
        ) from error


def import_runs(store: RunStore, source: Path | BinaryIO) -> Imported:
    """Take the runs of a zip file into a store: all of them or none.

    A run keeps its id. One that the store has already, the very same, is left as it is, its label
    included; another run under an id that is taken is refused.

    Args:
        store: Where to.
        source: What `export_runs` made.

    Raises:
        FormatError: If it is no zip file, is damaged, or holds anything but whole runs whose files
            can be read.
        ParameterError: If it holds too much, or an id is taken by another run.
        EngineError: If the disk refuses, or has too little room.
    """
    added: list[Run] = []
    present: list[str] = []
    try:
        with ZipFile(source) as packed:
            found = _survey(packed)
            _check_room(store.root, [entry for files in found.values() for entry in files.values()])
            for run_id, files in found.items():
                run = _unpack(packed, files, store.root / run_id)
                (present.append(run_id) if run is None else added.append(run))
    except BaseException as error:
        for run in added:
            store.delete(run.id)
        if isinstance(error, EngineError):
            raise
        if isinstance(error, OSError):
            raise EngineError(
                f"the runs could not be unpacked into {store.root}: {error}; free some space or "
                "point SUBSPACE_ATLAS_HOME at a folder of your own"
            ) from error
        if isinstance(error, _DAMAGED):
            raise FormatError(
                f"this is no zip file, or a damaged one ({error}); choose one that was exported "
                "here"
            ) from error
        raise
    return Imported(added=tuple(added), present=tuple(present))


def _survey(packed: ZipFile) -> dict[str, dict[str, ZipInfo]]:
    """Run id → file name → entry; looked at whole before anything is unpacked.

    Raises:
        FormatError: If an entry is anything but a plain file of a run.
        ParameterError: If there are too many, or they are too large.
    """
    found: dict[str, dict[str, ZipInfo]] = {}
    for entry in packed.infolist():
        run_id, slash, name = entry.filename.partition("/")
        if not name and entry.is_dir() and is_run_id(run_id):
            continue  # as other programs add them; a folder is made with its first file
        plain = slash and name in _KNOWN and is_run_id(run_id) and len(run_id) <= _LONGEST_ID
        if not plain or name in found.get(run_id, {}) or not run_id.isprintable():
            raise FormatError(
                f"this is no zip file of runs: it holds {entry.filename!r}, where each run is a "
                f"folder of {', '.join(sorted(_KNOWN))}; take a file that was exported on Runs or "
                "by `subspace-atlas runs export`"
            )
        _check_entry(entry)
        found.setdefault(run_id, {})[name] = entry
    entries = [entry for files in found.values() for entry in files.values()]
    _check_amount(len(found), entries)
    return found


def _check_entry(entry: ZipInfo) -> None:
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise FormatError(f"{entry.filename!r} is a link or no file; export the runs again")
    if entry.flag_bits & 1 or entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise FormatError(
            f"{entry.filename!r} is encrypted or packed in a way that is not read here; "
            "export the runs again"
        )
    if entry.filename.endswith(".json") and entry.file_size > _MOST_TEXT:
        raise ParameterError(
            f"{entry.filename!r} may take {_MOST_TEXT:,} bytes, it says {entry.file_size:,}"
        )


def _check_amount(runs: int, entries: Sequence[ZipInfo]) -> None:
    if not runs:
        raise FormatError("the zip file holds no run; choose one that this app exported")
    if runs > MOST_RUNS:
        raise ParameterError(
            f"a zip file may hold {MOST_RUNS} runs, this one holds {runs:,}; split it"
        )
    size, packed = (
        sum(getattr(entry, part) for entry in entries) for part in ("file_size", "compress_size")
    )
    if size > MOST_BYTES or size > _MOST_RATIO * max(1, packed):
        raise ParameterError(
            f"the runs of a zip file may take {MOST_BYTES:,} bytes unpacked, and {_MOST_RATIO} "
            f"times the file at most; this one says {size:,} in {packed:,}. Split it"
        )


def _check_room(folder: Path, entries: Sequence[ZipInfo]) -> None:
    """Refuse before anything is written, where the disk would be full of it."""
    place = next(place for place in (folder, *folder.parents) if place.is_dir())
    size, free = sum(entry.file_size for entry in entries), shutil.disk_usage(place).free
    if size + _LEFT_FREE > free:
        raise EngineError(
            f"the runs take {size:,} bytes unpacked, and {_LEFT_FREE:,} are left free beside them; "
            f"the disk of {folder} has {free:,}. Free some space or export fewer runs"
        )


def _unpack(packed: ZipFile, files: Mapping[str, ZipInfo], folder: Path) -> Run | None:
    """Unpack one run to its place, whole or not at all; None where the very same is there.

    Raises:
        FormatError: If it is no whole run.
        ParameterError: If another run is there.
    """
    if folder.exists() or folder.is_symlink():
        if _same_record(packed, files, folder):
            return None
        raise ParameterError(
            f"another run is already named {folder.name}; delete that first, or leave this one out"
        )

    def write(temporary: Path) -> None:
        for name, entry in files.items():
            with packed.open(entry) as source, (temporary / name).open("xb") as target:
                # Never more bytes than the entry said it has, which were counted above.
                for block in iter(lambda: source.read(_BLOCK_BYTES), b""):
                    target.write(block)
        try:
            run = read_run(temporary)
        except FormatError as error:
            raise FormatError(str(error).replace(str(temporary), folder.name)) from error
        if run.damage:
            raise FormatError(f"the name or note of {folder.name} is damaged; export it again")
        _check_files(run, files)
        _check_contents(run, folder.name)

    write_folder(folder, write, youngest=RECORD_FILE)
    return read_run(folder)


def _check_contents(run: Run, name: str) -> None:
    """That the figures of a run can be shown, and its files be read and are its own.

    Raises:
        FormatError: If not; the run is called by the name it would have.
    """
    from engine.recording import check_artefacts

    if run.record.kind == "compress":
        read_compression_figures(run.record.figures)
    try:
        check_artefacts(run.folder, run.record)
    except FormatError as error:
        reason = str(error).replace(str(run.folder), name)
        raise FormatError(
            f"the run {run.record.name!r} is damaged, and nothing was imported: {reason}. Export "
            "it again where it was made, or leave it out"
        ) from error


def _same_record(packed: ZipFile, files: Mapping[str, ZipInfo], folder: Path) -> bool:
    try:
        here = (folder / RECORD_FILE).read_bytes()
    except OSError:
        return False
    return RECORD_FILE in files and packed.read(files[RECORD_FILE]) == here


def _check_files(run: Run, names: Iterable[str] | None = None) -> None:
    """That a run has all files of its kind; and, where names are given, no others.

    Raises:
        FormatError: If not.
    """
    needed = _FILES[run.record.kind]
    missing = [name for name in needed if not (run.folder / name).is_file()]
    strange = sorted(set(names or ()) - {RECORD_FILE, LABEL_FILE, *needed})
    if missing or strange:
        wrong = f"lacks {', '.join(missing)}" if missing else f"has no use for {', '.join(strange)}"
        raise FormatError(f"the run {run.record.name!r} {wrong}: it is damaged")
