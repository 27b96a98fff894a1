"""That the figures of a plan are what they should be: those of a run may come from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from engine.errors import FormatError
from engine.wording import BAND_TITLES

_Check = Callable[[str, object], None]
_MOST = 2**63  # nothing here comes near it, and more cannot be written as a share
# Figures that runs made before there were token weights, or SVDs of few bits, do not have.
_LATER_PLAN = ("weighted_error", "bands", "bits")
_LATER = (*_LATER_PLAN, "weighted_svd", "weights")


def read_compression_figures(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures of a run as `Compression.as_dict` gives them, also where an older version ran.

    Args:
        figures: Of a run's record.

    Returns:
        A copy; what the older version did not measure is None.

    Raises:
        FormatError: If a figure is missing that every version writes, or is not what it should be.
    """
    plan, svd = set(_PLAN) - set(_LATER_PLAN), figures.get("svd")
    missing = set(_ALL) - set(_LATER) - set(figures)
    missing |= plan - set(cast("dict[str, Any]", svd)) if isinstance(svd, dict) else {"svd"}
    if missing:
        raise FormatError(f"the run lacks {', '.join(sorted(missing))}; it was not made by us")
    completed = {
        **dict.fromkeys(_LATER),
        **figures,
        **{name: _complete(figures.get(name)) for name in ("svd", "weighted_svd")},
    }
    check_figures(completed)
    return completed


def _complete(plan: object) -> object:
    if not isinstance(plan, dict):
        return plan
    return {**dict.fromkeys(_LATER_PLAN), **cast("dict[str, Any]", plan)}


def check_figures(figures: Mapping[str, Any]) -> None:
    """Refuse figures that a page or a report could not show.

    Args:
        figures: As `engine.compression.Compression.as_dict` gives them, none missing.

    Raises:
        FormatError: Naming the first that is not what it should be.
    """
    _check_object("figures", figures, _ALL)
    _or_none(_SHARE)("wall_seconds", figures.get("wall_seconds"))
    if (figures["weights"] is None) != (figures["weighted_svd"] is None):
        raise _wrong("weighted_svd", "there where weights are, and only there", "one without other")
    plans = [figures, figures["svd"], figures["weighted_svd"] or figures["svd"]]
    if figures["weights"] is not None and any(plan["weighted_error"] is None for plan in plans):
        raise _wrong("weighted_error", "a number where weights are", None)
    names = [[band["name"] for band in plan["bands"] or ()] for plan in plans]
    if any(other != names[0] for other in names):
        raise _wrong("bands", "the same for the plan and each SVD", names)
    if (figures["parameters"] is None) != (figures["rate"] is None):  # both are, of a coded plan
        raise _wrong("rate", "there where parameters are, and only there", "one without other")


def _check_object(name: str, value: object, parts: Mapping[str, _Check]) -> None:
    if not isinstance(value, Mapping):
        raise _wrong(name, "an object with named values", value)
    values = cast("Mapping[str, object]", value)
    for part, check in parts.items():
        if part not in values:
            raise _wrong(name, f"an object with {part}", sorted(values))
        check(f"{name}.{part}", values[part])


def _is(
    expected: str, kinds: type | tuple[type, ...], *, least: float | None = None
) -> Callable[[str, object], None]:
    def check(name: str, value: object) -> None:
        fits = isinstance(value, kinds) and (kinds is bool or not isinstance(value, bool))
        if fits and isinstance(value, int | float):
            fits = (-_MOST if least is None else least) <= value <= _MOST
        if not fits:
            raise _wrong(name, expected, value)

    return check


def _or_none(check: _Check) -> _Check:
    return lambda name, value: None if value is None else check(name, value)


def _object(parts: Mapping[str, _Check]) -> _Check:
    return lambda name, value: _check_object(name, value, parts)


def _list_of(check: _Check, *, least: int = 0) -> _Check:
    def check_each(name: str, value: object) -> None:
        # Lists as JSON has them, tuples before they were written.
        if not isinstance(value, list | tuple) or len(cast("list[object]", value)) < least:
            raise _wrong(name, "a list" if not least else f"a list of at least {least}", value)
        for place, item in enumerate(cast("Iterable[object]", value)):
            check(f"{name}[{place}]", item)

    return check_each


def _band_name(name: str, value: object) -> None:
    if not isinstance(value, str) or value not in BAND_TITLES:
        raise _wrong(name, " or ".join(map(repr, BAND_TITLES)), value)


def _wrong(name: str, expected: str, got: object) -> FormatError:
    return FormatError(
        f"{name.removeprefix('figures.')} must be {expected}, got {got!r:.100}; the run was not "
        "made by us, or changed since"
    )


_TEXT = _is("text", str)
_NUMBER = _is("a number", (int, float))
_SHARE = _is("a number, at least 0", (int, float), least=0)
_WHOLE = _is("a whole number, at least 0", int, least=0)
_COUNT = _is("a whole number, at least 1", int, least=1)
_BAND = {"name": _band_name, "rows": _COUNT, "share_of_text": _SHARE, "error": _SHARE}
_NEIGHBOURS = {
    "mean": _SHARE,
    "standard_error": _SHARE,
    "count": _COUNT,
    "queries": _COUNT,
    "total_rows": _COUNT,
}
_START = {
    "seeding": _TEXT,
    "cost": _NUMBER,
    "cost_history": _list_of(_NUMBER),
    "converged": _is("true or false", bool),
    "wall_seconds": _SHARE,
}
_PLAN: dict[str, _Check] = {
    "k": _COUNT,
    "dimensions": _list_of(_WHOLE, least=1),
    "bits": _or_none(_COUNT),
    "parameters": _WHOLE,
    "stored_bytes": _WHOLE,
    "rate": _NUMBER,  # below 0 where a plan stores more than the table
    "relative_error": _SHARE,
    "weighted_error": _or_none(_SHARE),
    "bands": _or_none(_list_of(_object(_BAND))),
    "neighbours_kept": _or_none(_object(_NEIGHBOURS)),
}
_ALL: dict[str, _Check] = {
    **_PLAN,
    "parameters": _or_none(_WHOLE),
    "rate": _or_none(_NUMBER),
    "parameters_before": _COUNT,
    "dense_bytes": _COUNT,
    "source_bytes": _COUNT,
    "svd": _object(_PLAN),
    "weighted_svd": _or_none(_object(_PLAN)),
    "weights": _or_none(_object({"source": _TEXT, "power": _NUMBER, "floor": _NUMBER})),
    "beats_svd": _is("true or false", bool),
    "verdict": _TEXT,
    "starts": _list_of(_object(_START)),
    "notes": _list_of(_TEXT),
}
