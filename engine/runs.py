"""The run store: one folder a run, complete or not there at all.

A crash, a cancelled job or a full disk never leaves half a run (`engine.folders`). Reading trusts
nothing: a damaged folder is reported and the others are listed all the same.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from engine.errors import EngineError, FormatError, ParameterError
from engine.folders import remove_folder, write_folder
from engine.labels import LABEL_FILE, RunLabel, read_label, write_label
from engine.paths import user_data_folder
from engine.records import RunRecord, RunSource

__all__ = [
    "DamagedRun",
    "Run",
    "RunLabel",
    "RunListing",
    "RunRecord",
    "RunSource",
    "RunStore",
    "check_run_target",
    "find_run",
    "is_run_id",
    "read_run",
    "write_run",
]

RECORD_FILE = "run.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One finished run on the disk.

    Attributes:
        id: Name of its folder; those a store gives sort by time.
        folder: Where it is.
        record: What its ``run.json`` says.
        label: What the user calls it and says of it.
        damage: Why the label cannot be read, written for the user; empty where it can be.
    """

    id: str
    folder: Path
    record: RunRecord
    label: RunLabel = field(default_factory=RunLabel)
    damage: str = ""

    def is_of(self, kind: str, fingerprint: str) -> bool:
        """Whether it is of that kind and of the table with that fingerprint."""
        return self.record.kind == kind and self.record.source["fingerprint"] == fingerprint

    @property
    def title(self) -> str:
        """What it goes by: the user's name for it, else the one it was given."""
        return self.label.name or self.record.name


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedRun:
    """A folder of the store that cannot be read as a run.

    Attributes:
        folder: Where it is.
        reason: What is wrong with it, written for the user.
    """

    folder: Path
    reason: str

    @property
    def id(self) -> str:
        """The name `RunStore.delete` takes to remove it."""
        return self.folder.name


@dataclass(frozen=True, slots=True, kw_only=True)
class RunListing:
    """What a store holds.

    Attributes:
        runs: Newest first.
        damaged: Folders that are no runs, by name.
    """

    runs: tuple[Run, ...]
    damaged: tuple[DamagedRun, ...]

    def of(self, kind: str, fingerprint: str) -> tuple[Run, ...]:
        """Those of a kind and of a table, newest first."""
        return tuple(run for run in self.runs if run.is_of(kind, fingerprint))


class RunStore:
    """The runs of one user.

    Attributes:
        root: The folder that holds them; made when the first run is.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = _default_root() if root is None else Path(root)

    def create(self, record: RunRecord, write: Callable[[Path], None]) -> Run:
        """Add a run.

        Args:
            record: What to write down about it.
            write: Puts the run's files into the empty folder it is given. May raise, `Cancelled`
                included: nothing is left behind then.

        Returns:
            The run as it was read back from the disk.

        Raises:
            EngineError: If the disk refuses (full, read-only, no permission).
        """
        moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        return write_run(self.root / f"{moment}-{secrets.token_hex(3)}", record, write)

    def list(self) -> RunListing:
        """Read what is there; a damaged folder is reported and skipped.

        Raises:
            EngineError: If the store's own folder cannot be read.
        """
        runs: list[Run] = []
        damaged: list[DamagedRun] = []
        for folder in self._folders():
            try:
                runs.append(read_run(folder))
            except EngineError as error:
                if os.path.lexists(folder):  # else deleted by someone else in between
                    damaged.append(DamagedRun(folder=folder, reason=str(error)))
        runs.sort(key=lambda run: (run.record.created_at, run.id), reverse=True)
        return RunListing(runs=tuple(runs), damaged=tuple(damaged))

    def load(self, run_id: str) -> Run:
        """Read one run.

        Raises:
            ParameterError: If there is no such run, or the text is not the name of one.
            FormatError: If it is damaged or from a newer version.
        """
        return read_run(self._existing(run_id))

    def delete(self, run_id: str) -> None:
        """Remove a run, damaged or not.

        Raises:
            ParameterError: If there is no such run, or the text is not the name of one.
            EngineError: If the disk refuses.
        """
        folder = self._existing(run_id)
        try:
            remove_folder(folder)
        except OSError as error:
            raise EngineError(
                f"could not delete the run {run_id} in {self.root}: {error}; "
                "check who owns the folder"
            ) from error

    def label(self, run_id: str, label: RunLabel) -> Run:
        """Name a run, and say something of it; its record stays as it is.

        Returns:
            The run as it was read back from the disk.

        Raises:
            ParameterError: If there is no such run, or the text is not the name of one.
            FormatError: If the run is damaged.
            EngineError: If the disk refuses.
        """
        run = self.load(run_id)
        write_label(run.folder, label)
        return read_run(run.folder)

    def _folders(self) -> list[Path]:
        try:
            return sorted(
                entry
                for entry in self.root.iterdir()
                if not entry.name.startswith(".") and (entry.is_dir() or entry.is_symlink())
            )
        except FileNotFoundError:
            return []
        except OSError as error:
            raise EngineError(
                f"could not read the run store {self.root}: {error}; "
                "point SUBSPACE_ATLAS_HOME at a folder of your own"
            ) from error

    def _existing(self, run_id: str) -> Path:
        if not is_run_id(run_id):
            raise ParameterError(
                f"a run id is the plain name of a folder in {self.root}, got {run_id!r}; "
                "take one from the list of runs"
            )
        folder = self.root / run_id
        if not folder.is_dir() and not folder.is_symlink():
            raise ParameterError(
                f"there is no run {run_id!r} in {self.root}; it may have been deleted. "
                "Take one from the list of runs"
            )
        return folder


def is_run_id(text: str) -> bool:
    """Whether a text could be the id of a run: the plain name of a folder."""
    plain = text and text == Path(text).name and not text.startswith(".")
    return bool(plain) and "\\" not in text and "\0" not in text


def find_run(run: str | Path) -> Path:
    """The folder of a run that is named by it, or by the run's id in the user's store.

    Args:
        run: A folder, which comes first, or an id. What lies in it is not looked at.

    Raises:
        ParameterError: If there is neither.
    """
    folder = Path(run)
    if folder.is_dir():
        return folder
    store = RunStore()
    if is_run_id(str(run)) and (store.root / str(run)).is_dir():
        return store.root / str(run)
    raise ParameterError(
        f"there is no run {str(run)!r}: neither a folder of that name nor an id in {store.root}; "
        "check the path, or take an id from subspace-atlas runs list"
    )


def read_run(folder: Path) -> Run:
    """Read the run in a folder, wherever it is.

    Raises:
        ParameterError: If there is no such folder.
        FormatError: If the folder is not a run, is damaged, or is from a newer version.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ParameterError(f"expected a run folder, found no folder at {folder}; check the path")
    path = folder / RECORD_FILE
    try:
        record = RunRecord.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FormatError(
            f"{folder} is not a run: it holds no {RECORD_FILE}; "
            "point at a folder that subspace-atlas compress or sweep wrote"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} could not be read: {error}") from error
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    label, damage = RunLabel(), ""
    try:
        label = read_label(folder)
    except FormatError as error:  # no reason to lose the run
        damage = str(error)
    # Not resolved: a run that is a link goes by the link's name, which `load` takes.
    return Run(id=folder.absolute().name, folder=folder, record=record, label=label, damage=damage)


def check_run_target(folder: Path, *, overwrite: bool = False) -> None:
    """Refuse a place that a run must not be written to; call it before long work.

    A new or empty folder is fine, and so is a run as it was written: it is replaced.

    Args:
        folder: Where the run is to go.
        overwrite: Also replace a folder that holds something else. Files are never replaced, nor
            the working directory, the home directory and what contains them.

    Raises:
        ParameterError: If the place is taken or cannot be written to.
    """
    folder = Path(folder).resolve()
    nearest = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise ParameterError(
            f"{nearest} is no folder you may write to; a run needs one, choose another place"
        )
    if nearest != folder:
        return
    for here in (Path.cwd(), Path.home().resolve()):
        if folder == here or folder in here.parents:
            raise ParameterError(
                f"{folder} holds your working or home directory and would be replaced; "
                "name a new folder inside it"
            )
    if overwrite or not any(folder.iterdir()):
        return
    try:
        read_run(folder)
    except FormatError as error:
        raise ParameterError(
            f"{folder} holds files and is not a run this version can read; they would be lost. "
            f"Choose another name or empty the folder ({error})"
        ) from error
    later = _written_later(folder)
    if later is not None:
        raise ParameterError(
            f"{folder} is a run or a compressed model, but {later} came into it or was changed "
            "since, and would be lost. Choose another name, or move that away first"
        )


def _written_later(folder: Path) -> Path | None:
    """Something in a run's folder that is younger than its record."""
    made = _last_change(folder / RECORD_FILE)
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        labelled = inside == Path(LABEL_FILE)  # which comes after the record by its nature
        if not labelled and path.is_file() and _last_change(path) > made:
            return inside
    return None


def _last_change(path: Path) -> float:
    """When a file was written or came to its place: old files moved in keep their first time."""
    status = path.stat()
    return max(status.st_mtime, status.st_ctime)


def write_run(
    folder: Path, record: RunRecord, write: Callable[[Path], None], *, overwrite: bool = False
) -> Run:
    """Write a run folder to any place, whole or not at all.

    Args:
        folder: Where to; missing parents are made, a run already there is replaced.
        record: What to write down about it.
        write: Puts the run's files into the empty folder it is given; may raise, nothing is left
            behind then.
        overwrite: See `check_run_target`.

    Returns:
        The run as it was read back from the disk.

    Raises:
        ParameterError: If the place is taken.
        EngineError: If the disk refuses (full, read-only, no permission).
    """
    folder = Path(folder)
    check_run_target(folder, overwrite=overwrite)

    def write_all(temporary: Path) -> None:
        write(temporary)
        (temporary / RECORD_FILE).write_text(record.to_json(), encoding="utf-8")

    try:
        # A link stays, what it points at is replaced.
        write_folder(folder.resolve(), write_all, youngest=RECORD_FILE)
    except OSError as error:
        raise EngineError(
            f"could not write the run to {folder}: {error}; "
            "free some space or choose a folder you may write to"
        ) from error
    return read_run(folder)


def _default_root() -> Path:
    return user_data_folder() / "runs"
