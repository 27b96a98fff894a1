"""What is written down about a run: the JSON beside its arrays, checked on the way in and out."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NoReturn, TypedDict, TypeGuard, cast, get_args

from engine.errors import FormatError, ParameterError

SCHEMA_VERSION = 1
RunKind = Literal["compress", "evaluate", "sweep"]


class _NamedSource(TypedDict):
    spec: str
    name: str
    fingerprint: str
    rows: int
    columns: int
    dtype: str


class RunSource(_NamedSource, total=False):
    """The table a run was made from.

    Attributes:
        spec: The text that `engine.load_table` takes to find it again.
        name: What people call it.
        fingerprint: Content hash of its matrix.
        rows: n, at least 1.
        columns: d, at least 1.
        dtype: The dtype it was stored in ("float16").
        tensor: Name of the array, only where `engine.load_table` was given one.
        tokens: Path of the file of its tokens, likewise.
    """

    tensor: str
    tokens: str


def utc_now() -> str:
    """The present moment as ISO-8601 text in UTC, to the microsecond."""
    return datetime.now(UTC).isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """Config, seed, source and versions of one result, with the figures it came to.

    Attributes:
        kind: What was run.
        name: What the run is called in lists.
        source: The table it was made from.
        config: Everything the method was given, seed included; JSON values only.
        figures: What came out; JSON values only (None for a figure that does not apply).
        wall_seconds: Time the work took, at least 0.
        versions: Package → version, as `engine.provenance.installed_versions` gives them.
        created: When, ISO-8601 in UTC; now, unless given.
        schema_version: Version of this layout.

    Raises:
        ParameterError: If a value has the wrong type or range, or JSON cannot hold it.
    """

    kind: RunKind
    name: str
    source: RunSource
    config: dict[str, Any]
    figures: dict[str, Any]
    wall_seconds: float
    versions: dict[str, str]
    created: str = field(default_factory=utc_now)
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Check every value, so that what is written can be read again."""
        if self.schema_version != SCHEMA_VERSION:
            raise _wrong("schema_version", f"{SCHEMA_VERSION}", self.schema_version)
        if self.kind not in get_args(RunKind):
            raise _wrong("kind", " or ".join(map(repr, get_args(RunKind))), self.kind)
        _check_text("name", self.name)
        _check_source(self.source)
        for name in ("config", "figures", "versions"):
            _check_object(name, getattr(self, name))
        for package, version in self.versions.items():
            _check_text(f"versions[{package!r}]", version)
        seconds: object = self.wall_seconds
        if not _is_number(seconds) or not 0 <= seconds < math.inf:
            raise _wrong("wall_seconds", "a finite number, at least 0", seconds)
        _check_moment(self.created)
        self.to_json()

    @property
    def created_at(self) -> datetime:
        """When the run was made, aware, in UTC."""
        return datetime.fromisoformat(self.created)

    def to_json(self) -> str:
        """The record as indented JSON.

        Raises:
            ParameterError: If JSON cannot hold a value (NaN, an array, a set, …).
        """
        try:
            plain = {part.name: getattr(self, part.name) for part in fields(self)}
            return json.dumps(plain, indent=2, allow_nan=False) + "\n"
        except (TypeError, ValueError, RecursionError) as error:
            raise ParameterError(
                f"a run record holds JSON values only (text, finite numbers, true, false, null, "
                f"lists, objects): {error}. Convert the value first"
            ) from error

    @classmethod
    def from_json(cls, text: str) -> RunRecord:
        """Read a record back.

        Args:
            text: What `to_json` gave.

        Raises:
            FormatError: If it is not JSON, a key is missing or unknown, a value has the wrong
                type, or a newer version of the program wrote it.
        """
        try:
            # NaN and Infinity are no JSON, though Python's reader takes them.
            raw = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"expected JSON, could not read it: {error}") from error
        if not isinstance(raw, dict):
            raise FormatError(f"expected a JSON object, got {type(raw).__name__}")
        values = cast("dict[str, Any]", raw)
        # Before the keys: a newer version may well have keys that this one does not know.
        version = values.get("schema_version")
        if _is_integer(version) and version > SCHEMA_VERSION:
            raise FormatError(
                f"written by a newer version of Subspace Atlas (schema {version}, this one reads "
                f"up to {SCHEMA_VERSION}); update with: pip install --upgrade subspace-atlas"
            )
        try:
            _check_keys("the record", values, {part.name for part in fields(cls)})
            return cls(**values)
        except ParameterError as error:
            raise FormatError(str(error)) from error


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _wrong(name: str, expected: str, got: object) -> ParameterError:
    return ParameterError(f"{name} must be {expected}, got {got!r}")


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise _wrong(name, "text", value)


def _check_object(name: str, value: object) -> None:
    if not isinstance(value, dict):
        raise _wrong(name, "an object with named values", value)


def _check_keys(
    name: str, values: dict[str, Any], expected: set[str], optional: frozenset[str] = frozenset()
) -> None:
    missing, unknown = sorted(expected - values.keys()), sorted(values.keys() - expected - optional)
    if missing or unknown:
        found = [f"missing: {', '.join(missing)}"] if missing else []
        found += [f"unknown: {', '.join(unknown)}"] if unknown else []
        raise ParameterError(
            f"{name} needs exactly the keys {', '.join(sorted(expected))}; {'; '.join(found)}"
        )


def _check_source(source: object) -> None:
    _check_object("source", source)
    values = cast("dict[str, Any]", source)
    _check_keys("source", values, set(RunSource.__required_keys__), RunSource.__optional_keys__)
    for name in ("spec", "name", "fingerprint", "dtype", *RunSource.__optional_keys__):
        if name in values:
            _check_text(f"source[{name!r}]", values[name])
    for name in ("rows", "columns"):
        if not _is_integer(values[name]) or values[name] < 1:
            raise _wrong(f"source[{name!r}]", "a whole number, at least 1", values[name])


def _check_moment(value: object) -> None:
    expected = "a moment in UTC, like 2025-01-31T12:00:00+00:00"
    if not isinstance(value, str):
        raise _wrong("created", expected, value)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise _wrong("created", expected, value) from error
    if moment.utcoffset() != timedelta(0):
        raise _wrong("created", expected, value)
