"""The errors this package raises on purpose.

Every one derives from `EngineError` and, where Python has a word for it, from the built-in kind as
well, so callers may catch either. The message says what was expected, what came and what to do;
the app shows it as it stands. Anything else that is raised is a bug.
"""

from __future__ import annotations

from collections.abc import Iterable


class EngineError(Exception):
    """Base of every error raised on purpose; its text is written for the user."""


class ParameterError(EngineError, ValueError):
    """A parameter is outside what the data or the method allows."""


class ShapeError(EngineError, ValueError):
    """Two arrays do not fit together, or one has the wrong number of axes."""


class SourceError(EngineError, ValueError):
    """An embedding table could not be read from where the user pointed."""


class ModelError(EngineError, ValueError):
    """A model is built in a way that its embedding cannot be replaced as asked."""


class FormatError(EngineError, ValueError):
    """A file of our own is damaged, incomplete or from a newer version."""


class MissingDependencyError(EngineError, ImportError):
    """An optional package is needed; the message names the exact install command."""


class MemoryShortageError(EngineError, MemoryError):
    """Work would need more memory than is free; it was not begun."""


class JobError(EngineError, RuntimeError):
    """A background job ended without a result."""


class Cancelled(EngineError):
    """Raised out of a progress callback to stop the work at the next safe point."""


def check_names(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse names that are not known.

    Raises:
        ParameterError: Naming what is taken and what came.
    """
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ParameterError(
            f"{what} takes {', '.join(sorted(known))}, got {', '.join(unknown)} as well; "
            "leave that out"
        )
