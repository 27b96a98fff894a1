"""Where two runs differ: in what was asked for, in what came out, and in what they ran on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

from engine.curves import CurvePoint, Curves, has_weights, read_curves
from engine.errors import FormatError
from engine.grid import SweepResult
from engine.recording import SWEEP_FILE
from engine.records import RunRecord
from engine.reproducing import read_config
from engine.runs import Run

Side = Literal["a", "b"]
_PLAN = ("parameters", "stored_bytes", "rate", "relative_error", "weighted_error")
_TIMES = ("wall_seconds", "seconds")
WEIGHTS_DIFFER = (
    "Tokens were weighted differently: weighted errors do not measure the same, and plain errors "
    "count all tokens alike, which no plan with weights was fitted for."
)
"""What to know of the errors of two plans whose weights are not the same."""
_LESS_IS_BETTER = ("parameters", "stored_bytes", "relative_error", "weighted_error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One thing that two runs were given.

    Attributes:
        name: As the config, the source or the versions name it.
        a: Of the first run; None where it has none.
        b: Of the second.
    """

    name: str
    a: Any
    b: Any

    @property
    def differs(self) -> bool:
        """Whether the two were given different values."""
        return self.a != self.b


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of two runs.

    Attributes:
        name: As the record names it.
        a: Of the first run; None where it was not measured.
        b: Of the second.
        better: The run that is better by it; None where that cannot be said.
    """

    name: str
    a: float | None
    b: float | None
    better: Side | None = None

    @property
    def difference(self) -> float | None:
        """What b has more than a, where both were measured."""
        return None if self.a is None or self.b is None else self.b - self.a


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDifference:
    """Two runs side by side.

    Attributes:
        config: Every setting of either.
        source: Where the table came from, and what it was.
        versions: Of the packages that decide the numbers.
        figures: Those that both kinds of run have.
        notes: Why figures cannot be set against each other, each a full sentence for the user.
    """

    config: tuple[Setting, ...]
    source: tuple[Setting, ...]
    versions: tuple[Setting, ...]
    figures: tuple[Figure, ...]
    notes: tuple[str, ...]

    @property
    def same_table(self) -> bool:
        """Whether both are of the same rows."""
        return not next(item for item in self.source if item.name == "fingerprint").differs


def compare_runs(a: RunRecord, b: RunRecord) -> RunDifference:
    """Set two runs side by side.

    Which is better is said of figures that measure the same on the same table only: errors, bytes,
    time; and of neighbours kept where the difference is more than chance.

    Args:
        a: The first.
        b: The second.

    Returns:
        Where they differ.
    """
    same_table = a.source["fingerprint"] == b.source["fingerprint"]
    same_weights = _weights(a) == _weights(b)
    notes: list[str] = []
    if not same_table:
        notes.append(
            "The two are of different tables: a difference of their figures says nothing of the "
            "plans."
        )
    elif not same_weights and a.kind == b.kind == "compress":
        notes.append(WEIGHTS_DIFFER)
    if a.kind != b.kind:
        notes.append("The two are runs of different kinds: there are no figures that both have.")
    return RunDifference(
        config=_settings(_config(a), _config(b)),
        source=_settings(cast("dict[str, Any]", a.source), cast("dict[str, Any]", b.source)),
        versions=_settings(a.versions, b.versions),
        figures=_figures(a, b, same_table=same_table, same_weights=same_weights),
        notes=tuple(notes),
    )


def compare_sweeps(a: SweepResult, b: SweepResult) -> tuple[Figure, ...]:
    """The mean errors of two sweeps, where both fitted the same k at the same rate.

    By the weighted error where both measured it with the same weights. One is better where its
    worst seed is ahead of the other's best, on the same table.

    Args:
        a: The first.
        b: The second.
    """
    weights = [(s.config.weights, s.config.weight_power, s.config.weight_floor) for s in (a, b)]
    weighted = has_weights(a.cells) and has_weights(b.cells) and weights[0] == weights[1]
    first, second = (_points(read_curves(s.cells, weighted=weighted)) for s in (a, b))
    figures: list[Figure] = []
    for key in (key for key in first if key in second):
        one, other = first[key], second[key]
        better: Side | None = "a" if one.highest < other.lowest else None
        better = "b" if other.highest < one.lowest else better
        figures.append(
            Figure(
                name=f"{key[0]} at rate {key[1]:g}",
                a=one.error,
                b=other.error,
                better=better if a.source == b.source else None,
            )
        )
    return tuple(figures)


def repeats(a: Run, b: Run) -> bool:
    """Whether two runs came to the very same, the time apart.

    Raises:
        FormatError: If the cells of a sweep cannot be read.
    """
    return _outcome(a) == _outcome(b)


def plan_figures(record: RunRecord) -> dict[str, float | None]:
    """The figures people decide by, by name; None for what was not measured.

    Beside the names of the record: ``svd_error`` of the plain SVD, ``weighted_svd_error`` of the
    weighted one where there are weights, ``svd_neighbours`` of the one that was fitted by the same
    error, ``neighbours_kept`` as a share, and ``wall_seconds``.
    """
    figures = record.figures
    rival = "svd" if figures.get("weighted_svd") is None else "weighted_svd"
    return {
        **{name: _number(figures, name) for name in _PLAN},
        "svd_error": _number(figures, "svd", "relative_error"),
        "weighted_svd_error": _number(figures, "weighted_svd", "weighted_error"),
        "neighbours_kept": _number(figures, "neighbours_kept", "mean"),
        "svd_neighbours": _number(figures, rival, "neighbours_kept", "mean"),
        "wall_seconds": record.wall_seconds,
    }


def _outcome(run: Run) -> object:
    """All that came out of a run, in its files as well where that is more, without times."""
    cells: object = None
    if run.record.kind == "sweep":
        cells = asdict(SweepResult.load(run.folder / SWEEP_FILE))["cells"]
    return run.record.kind, _timeless(run.record.figures), _timeless(cells)


def _timeless(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    if isinstance(value, Mapping):
        parts = cast("Mapping[str, Any]", value)
        return {name: _timeless(part) for name, part in parts.items() if name not in _TIMES}
    if isinstance(value, list | tuple):
        return [_timeless(part) for part in cast("Sequence[Any]", value)]
    return value


def _figures(
    a: RunRecord, b: RunRecord, *, same_table: bool, same_weights: bool
) -> tuple[Figure, ...]:
    if a.kind != b.kind:
        return ()
    if a.kind != "compress":
        return (Figure(name="wall_seconds", a=a.wall_seconds, b=b.wall_seconds),)
    ours, theirs = plan_figures(a), plan_figures(b)
    figures: list[Figure] = []
    for name, one in ours.items():
        other = theirs[name]
        if one is None and other is None:
            continue
        better: Side | None = None
        if not same_table or one is None or other is None:
            pass
        elif name == "neighbours_kept":
            better = _keeps_more(a, b)
        elif (
            name in _LESS_IS_BETTER and (same_weights or name != "weighted_error") and one != other
        ):
            better = "a" if one < other else "b"
        figures.append(Figure(name=name, a=one, b=other, better=better))
    return tuple(figures)


def _keeps_more(a: RunRecord, b: RunRecord) -> Side | None:
    """Who keeps more neighbours, beyond the chance of the sampled rows."""
    kept = [
        [
            _number(run.figures, "neighbours_kept", part)
            for part in ("mean", "standard_error", "count")
        ]
        for run in (a, b)
    ]
    (one, its_error, its_count), (other, other_error, other_count) = kept
    if one is None or other is None or its_count != other_count:
        return None
    if abs(one - other) <= 2 * math.hypot(its_error or 0.0, other_error or 0.0):
        return None
    return "a" if one > other else "b"


def _points(curves: Curves) -> dict[tuple[str, float], CurvePoint]:
    named = {"SVD": curves.svd, "weighted SVD": curves.weighted_svd}
    named |= {f"k = {k}": points for k, points in curves.by_k.items()}
    return {(name, point.rate): point for name, points in named.items() for point in points}


def _number(figures: Mapping[str, Any], *path: str) -> float | None:
    """A figure, where the record has one there: it may be of any version, and of any origin."""
    value: Any = figures
    for name in path:
        value = cast("Mapping[str, Any]", value).get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _config(record: RunRecord) -> dict[str, Any]:
    """The settings with those that an older version left out, where they can be read."""
    if record.kind == "evaluate":
        return record.config
    try:
        config = asdict(read_config(record))
    except FormatError:
        return record.config
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in config.items()
    }


def _weights(record: RunRecord) -> object:
    config = _config(record)
    if config.get("weights") in (None, "none"):
        return None
    return tuple(config.get(name) for name in ("weights", "weight_power", "weight_floor"))


def _settings(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Setting, ...]:
    return tuple(
        Setting(name=name, a=a.get(name), b=b.get(name)) for name in dict.fromkeys([*a, *b])
    )
