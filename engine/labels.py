"""What a user calls a run and says of it: a small file beside the record, which stays as it is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast
from unicodedata import category

from engine.errors import EngineError, FormatError, ParameterError
from engine.folders import write_file

LABEL_FILE = "label.json"
LONGEST_NAME, LONGEST_NOTE = 80, 2000
_SCHEMA_VERSION = 1
_UNSHOWN = ("Cc", "Cs", "Zl", "Zp")  # controls, halves of surrogate pairs, breaks of lines
_MOST_BYTES = 64_000  # of the file; a label in any script takes less


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLabel:
    """A name and a note of the user's.

    Attributes:
        name: One line, at most 80 characters; empty where the run goes by the name it was given.
        note: Any text, at most 2,000 characters.

    Raises:
        ParameterError: If one is too long, the name is not one line, or either is no plain text.
    """

    name: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        """Check both, so that what is written can be read and shown again."""
        for what, text, longest in (
            ("name", self.name, LONGEST_NAME),
            ("note", self.note, LONGEST_NOTE),
        ):
            if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ParameterError(f"the {what} of a run must be text, got {text!r}")
            if len(text) > longest:
                raise ParameterError(
                    f"the {what} of a run may have {longest:,} characters, got {len(text):,}; "
                    "shorten it"
                )
        lines = self.note.replace("\n", "").replace("\t", "")
        if any(category(letter) in _UNSHOWN for letter in self.name + lines):
            raise ParameterError(
                "the name of a run is one line of text and its note lines of text, got control "
                "characters; leave them out"
            )

    def __bool__(self) -> bool:
        """Whether anything is said."""
        return bool(self.name or self.note)


def read_label(folder: Path) -> RunLabel:
    """The label in a run's folder; an empty one where there is none.

    Raises:
        FormatError: If the file is damaged.
    """
    path = folder / LABEL_FILE
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return RunLabel()
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from error
    try:
        if len(content) > _MOST_BYTES:
            raise ParameterError(f"it takes more than {_MOST_BYTES:,} bytes")
        values: Any = json.loads(content)
        known = {"schema", *(item.name for item in fields(RunLabel))}
        if not isinstance(values, dict) or set(cast("dict[str, Any]", values)) != known:
            raise ParameterError(f"it should hold exactly {', '.join(sorted(known))}")
        if values["schema"] != _SCHEMA_VERSION:
            raise ParameterError("another version of Subspace Atlas wrote it")
        return RunLabel(name=values["name"], note=values["note"])
    except (ValueError, RecursionError) as error:  # a ParameterError is a ValueError
        raise FormatError(f"{path} is damaged: {error}; name the run anew") from error


def write_label(folder: Path, label: RunLabel) -> None:
    """Keep a label in a run's folder; an empty one is taken away.

    Raises:
        EngineError: If the disk refuses; the label is as it was then.
    """
    path = folder / LABEL_FILE
    text = json.dumps({"schema": _SCHEMA_VERSION, **asdict(label)}, indent=1, ensure_ascii=False)
    try:
        if label:
            write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise EngineError(
            f"could not keep the name and note in {folder}: {error.strerror}; free some space or "
            "check who owns the folder"
        ) from error
