"""Finished parts of long work, a line each, so that a killed run is taken up where it ended."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, cast

from engine.errors import EngineError, FormatError, ParameterError


class Journal:
    """A file that grows by a line of JSON for each finished part.

    The first line says what the work is; only the same work takes the lines over. The file is made
    with the first part. A last line that a kill cut short is dropped.

    Args:
        path: The file; its folder must exist.
        header: What decides the result, as plain values.

    Raises:
        ParameterError: If the file was begun by other work.
        FormatError: If the file is damaged otherwise than at its end, or cannot be read.
    """

    def __init__(self, path: Path, header: dict[str, object]) -> None:
        self.path = path
        self._header = json.dumps(header, allow_nan=False)
        self.parts: list[dict[str, Any]] = []
        self._length = 0  # bytes that are whole lines
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise FormatError(f"{path} cannot be read ({error.strerror}); delete it") from error
        self._length = content.rfind(b"\n") + 1
        lines = content[: self._length].splitlines()
        if lines:
            self.parts = self._checked(lines)

    def append(self, *parts: dict[str, object]) -> None:
        """Add finished parts; they are on the disk when this returns.

        Raises:
            EngineError: If the disk refuses.
        """
        text = "".join(json.dumps(part, allow_nan=False) + "\n" for part in parts)
        if not self._length:
            text = f"{self._header}\n{text}"
        try:
            with self.path.open("r+b" if self.path.exists() else "xb") as file:
                file.truncate(self._length)  # away with a last line that is not whole
                file.seek(self._length)
                self._length += file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise EngineError(
                f"could not write {self.path}: {error.strerror}; free some space or choose a "
                "folder you may write to"
            ) from error

    def _checked(self, lines: list[bytes]) -> list[dict[str, Any]]:
        try:
            values: list[Any] = [json.loads(line) for line in lines]
        except (ValueError, RecursionError) as error:
            raise FormatError(
                f"{self.path} is damaged ({error}); delete it to start anew"
            ) from error
        if values[0] != json.loads(self._header):
            raise ParameterError(
                f"{self.path} is what remains of a run on another table or with other settings; "
                "delete it to start anew, give the same ones to go on, or choose another name"
            )
        if not all(isinstance(value, dict) for value in values):
            raise FormatError(f"{self.path} is damaged; delete it to start anew")
        return cast("list[dict[str, Any]]", values[1:])
