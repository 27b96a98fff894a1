"""Which sources an app that others reach may open: local files below given folders, the hub or not.

The command line and the functions of `engine` open whatever their user may read; only the app, its
pages and its jobs, ask here first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import SourceError
from engine.frequencies.row_use import NO_WEIGHTS
from engine.frequencies.running_text import languages
from engine.paths import uploads_folder
from engine.sources import expand_path, is_hub_id
from engine.sources.bundled import PREFIX
from engine.sources.shards import INDEX_SUFFIX
from engine.sources.tokens import token_files_beside

ROOTS_VARIABLE = "SUBSPACE_ATLAS_ROOTS"
HUB_VARIABLE = "SUBSPACE_ATLAS_HUB"
_OFF = ("off", "0", "no", "false")
_DEPTH = 2  # a model's folder and those of its modules


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What may be opened.

    Attributes:
        roots: Folders below which local files may be, and nowhere else; None for anywhere. Uploads
            are always there.
        hub: Whether models of the Hugging Face hub may.
    """

    roots: tuple[Path, ...] | None = None
    hub: bool = True

    @classmethod
    def of_environment(cls, *, hosted: bool = False) -> Access:
        """What the variables say.

        Args:
            hosted: Whether others reach the app: then no local file may be opened where
                SUBSPACE_ATLAS_ROOTS does not say which.
        """
        named = os.environ.get(ROOTS_VARIABLE)
        roots = None
        if named is not None or hosted:
            parts = (named or "").split(os.pathsep)
            roots = tuple(Path(part).expanduser() for part in parts if part.strip())
        return cls(roots=roots, hub=os.environ.get(HUB_VARIABLE, "").lower() not in _OFF)

    def describe(self) -> str:
        """Which local files may be opened, in a sentence."""
        if self.roots is None:
            return "Any file that the server can read."
        if not self.roots:
            return "This server opens no file by its path; upload it instead."
        return f"This server opens files below {_list(self.roots)} only."

    def check_source(self, spec: str, tokens: str | None = None) -> None:
        """Refuse what may not be opened, before it is looked at.

        Args:
            spec: As `engine.load_table` takes it.
            tokens: As `engine.load_table` takes it.

        Raises:
            SourceError: Saying what may be opened; the same for a file that is there and for one
                that is not.
        """
        if tokens is not None:
            self.check_path(tokens)
        if spec.startswith(PREFIX):
            return
        if is_hub_id(spec) and not _exists(spec):
            if not self.hub:
                raise SourceError(
                    f"this server opens no models of the Hugging Face hub, so not {spec} either; "
                    "upload its table, or ask whoever runs it to download the model"
                )
            return
        self.check_path(spec)

    def check_path(self, path: str | Path) -> None:
        """Refuse a local file or folder that lies, or leads, outside the roots.

        Raises:
            SourceError: As `check_source`.
        """
        if self.roots is None:
            return
        try:
            roots = [root.resolve() for root in (*self.roots, uploads_folder())]
            outside = any(
                not any(found.resolve().is_relative_to(root) for root in roots)
                for found in _reached(expand_path(path))
            )
        except (OSError, ValueError, RuntimeError):  # no name of a file, or links in a circle
            outside = True
        if outside:
            raise SourceError(
                f"{path} may not be opened here. {self.describe()} Whoever runs it can name more "
                f"folders in {ROOTS_VARIABLE}"
            )

    def check_job(self, params: Mapping[str, Any]) -> None:
        """Refuse a job that would open what may not be opened.

        Args:
            params: As the tasks of `engine.jobs.tasks` take them.

        Raises:
            SourceError: As `check_source`.
        """
        source, config = params["source"], params.get("config") or {}
        self.check_source(source["spec"], source.get("tokens"))
        if self.roots is None:
            return  # before the languages are asked for, which takes a second
        options = params.get("options") or {}
        named = [options.get("text"), options.get("data"), config.get("weights")]
        for path in named:
            if path not in (None, NO_WEIGHTS) and path not in languages():
                self.check_path(path)


def _exists(spec: str) -> bool:
    try:
        return expand_path(spec).exists()
    except (OSError, ValueError):
        return False


def _reached(path: Path) -> Iterator[Path]:
    """A path and all that is read with it and may lead elsewhere."""
    yield path
    if "*" in path.name:
        yield from path.parent.glob(path.name)
    elif path.is_dir():
        yield from _links(path, _DEPTH)
    elif path.name.endswith(INDEX_SUFFIX):
        yield from _links(path.parent, 1)
    else:
        yield from token_files_beside(path)


def _links(folder: Path, depth: int) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.is_symlink():
            yield entry
        elif depth > 1 and entry.is_dir():
            yield from _links(entry, depth - 1)


def _list(roots: tuple[Path, ...]) -> str:
    return " and ".join(map(str, roots))
