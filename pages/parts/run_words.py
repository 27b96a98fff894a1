"""Runs in words: what one is called, and its settings and figures with their exact terms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from engine.runs import Run
from pages.parts.wording import duration, short_bytes

EVEN = 0.02  # relative: errors of two seeds of one plan of the bundled model lie up to it apart
KINDS = {"compress": "Plan", "sweep": "Sweep", "evaluate": "Checks"}
SETTINGS = {
    "method": "Method",
    "k": "Subspaces (k)",
    "ks": "Subspaces (k)",
    "j": "Dimension (j)",
    "rate": "Compression rate",
    "rates": "Compression rates",
    "max_bytes": "Bytes kept at most",
    "allocation": "Dimensions",
    "affine": "Affine subspaces",
    "loss": "Loss",
    "weights": "Token weights",
    "weight_power": "Weight power",
    "weight_floor": "Weight floor",
    "seed": "Seed",
    "seeds": "Seeds",
    "n_init": "Starts",
    "seeding": "Begun from (seeding)",
    "moves": "Merge-and-split moves",
    "bits": "Bits of a coordinate",
    "basis_bits": "Bits in the bases",
    "neighbours": "Neighbours compared",
    "queries": "Rows sampled for that",
    "run": "Plan that was checked (run)",
    "checks": "Checks",
    "options": "Options of the checks",
    "plan": "Settings of the plan",
    "spec": "Where from (spec)",
    "name": "Name",
    "fingerprint": "Content (fingerprint)",
    "rows": "Rows (n)",
    "columns": "Columns (d)",
    "dtype": "Stored as (dtype)",
    "tensor": "Name of the array (tensor)",
    "tokens": "Tokens file",
}
# What coded subspaces decide by themselves, kept in their configs as others would have it.
_NOT_OF_CODED = (
    *("j", "rate", "allocation", "loss", "n_init", "seeding", "moves", "bits", "basis_bits"),
)
FIGURES = {
    "parameters": "Numbers stored",
    "stored_bytes": "Bytes stored",
    "rate": "Compression rate reached",
    "relative_error": "Error",
    "weighted_error": "Error, weighted by use",
    "svd_error": "Error of the SVD of its size",
    "weighted_svd_error": "Error of the weighted SVD of its size, weighted by use",
    "neighbours_kept": "Neighbours kept",
    "svd_neighbours": "Neighbours the SVD keeps",
    "wall_seconds": "Time it took",
}
_SHARES = (
    "rate",
    "relative_error",
    "weighted_error",
    "svd_error",
    "weighted_svd_error",
    "neighbours_kept",
    "svd_neighbours",
)


def describe(run: Run) -> str:
    """What was run, without the name of the table: "k = 5, j = 216, weighted"."""
    name, table = run.record.name, run.record.source["name"]
    return name.removeprefix(table).lstrip(",: ") or name


def title(run: Run) -> str:
    """What a run goes by where its table is known: the user's name, else what it is."""
    return run.label.name or describe(run)


def captions(runs: Sequence[Run]) -> dict[str, str]:
    """Id → what tells a run from others of its table: its title, and when it was made.

    No two are alike, as they were of one plan made twice in a minute: streamlit finds what was
    chosen from a list by its words.
    """
    ways = [_captions(run) for run in runs]  # ever more exact
    counts = [Counter(column) for column in zip(*ways, strict=True)]
    return {
        run.id: next(text for text, count in zip(way, counts, strict=True) if count[text] == 1)
        for run, way in zip(runs, ways, strict=True)
    }


def _captions(run: Run) -> tuple[str, str, str]:
    made = run.record.created_at.astimezone()
    minute, second = (f"{title(run)} · {made:%d %b %H:%M}{rest}" for rest in ("", f"{made::%S}"))
    return minute, second, f"{second}, {run.id}"


def setting(value: object) -> str:
    """A setting as a person reads it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {setting(part)}" for name, part in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(setting, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def figure(name: str, value: float | None, *, signed: bool = False) -> str:
    """A figure in its unit; as a difference with its sign, shares of it in percentage points."""
    if value is None:
        return "–"
    if signed and value == 0:
        return "same"
    sign = ("+" if value > 0 else "−") if signed else ""
    amount = abs(value) if signed else value
    if name in _SHARES or " at rate " in name:
        return f"{sign}{_percent(amount)}{' points' if signed else '%'}"
    if name == "stored_bytes":
        return f"{sign}{short_bytes(amount)}"
    if name == "wall_seconds":
        return f"{sign}{amount:.1f} s" if amount < 10 else f"{sign}{duration(amount)}"
    return f"{sign}{amount:,.0f}"


def _percent(share: float) -> str:
    """With two decimals, or with more where those would show next to nothing."""
    if 0 < abs(share) < 1e-5:
        return "<0.001"
    return f"{100 * share:.2g}" if 0 < abs(share) < 1e-3 else f"{100 * share:.2f}"


def rows_of(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Settings with their names in words, in the order given; those the method has use for."""
    left_out = _NOT_OF_CODED if settings.get("method") == "coded" else ("max_bytes",)
    left_out += ("basis_bits",) if settings.get("bits") is None else ()
    return [
        (SETTINGS.get(name, name), setting(value))
        for name, value in settings.items()
        if name not in left_out
    ]
