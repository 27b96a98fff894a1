"""What is measured of every row: how often it occurs, which neighbours a plan and a map keep.

Each part is kept in a file of its own, so that another plan or another map of the same table costs
no more than what is new.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from engine.coding.packing import bits_for, pack_integers, unpack_integers
from engine.errors import ParameterError, SourceError
from engine.factorization import Factorization
from engine.frequencies import table_token_counts
from engine.layout import pca_layout
from engine.library import (
    MeasuredPart,
    RowMeasures,
    find_measured_part,
    find_umap_layout,
    keep_measured_part,
    read_measured_part,
)
from engine.progress import Progress, ProgressCallback, ignore_progress
from engine.table import EmbeddingTable
from engine.trust import (
    MOST_ROWS,
    MapTrust,
    false_neighbours,
    kept_neighbours,
    map_trust,
    neighbour_table,
)

LAYOUTS = ("UMAP", "PCA")
NEIGHBOURS = 15
_SHIPPED = "shipped"  # stands for the id of a run in the name of a part
_FEWEST_ROWS = 3  # with fewer no row has a neighbour that could be wrong
_HEARD_SECONDS = 0.1  # how often a step that cannot be interrupted is looked at

_T = TypeVar("_T")
PlanReader = Callable[[], Factorization | None]


def find_row_measures(fingerprint: str, run_id: str | None, layout: str) -> RowMeasures | None:
    """What was measured of a table's rows with this plan and on this map; None where nothing was.

    Args:
        fingerprint: Of the rows.
        run_id: The plan's run; None for the plan that ships, or for none where none ships.
        layout: Kind of the map, one of `LAYOUTS`.

    Raises:
        FormatError: If the shipped files are damaged.
    """
    found = {part: _find(fingerprint, part, run_id, layout) for part in _READERS}
    missing = [part for part, values in found.items() if values is None]
    if len(missing) == len(found):
        return None
    values: dict[str, Any] = {
        "frequency": None,
        "kept": None,
        "false": None,
        "trust": None,
        "neighbours": 0,
    }
    notes: list[str] = []
    for said in filter(None, found.values()):
        notes.append(said.pop("note"))
        values |= said
    if "map" in missing and layout != "PCA" and find_umap_layout(fingerprint) is None:
        missing.remove("map")  # measuring would not add it
        notes.append(
            f"There is no {layout} map on a plane yet: draw it to see how far to trust it."
        )
    notes = [note for note in dict.fromkeys(notes) if note]
    return RowMeasures(**values, notes=tuple(notes), missing=tuple(missing))


def _find(fingerprint: str, part: str, run_id: str | None, layout: str) -> dict[str, Any] | None:
    """What one part says, as fields of `RowMeasures` and its note; None where it says nothing."""
    return read_measured_part(fingerprint, _part_names(run_id, layout)[part], _READERS[part])


def _part_names(run_id: str | None, layout: str) -> dict[str, str]:
    """Part → its name in the library."""
    return {"table": "table", "plan": f"plan-{run_id or _SHIPPED}", "map": f"map-{layout}"}


def measure_rows(
    table: EmbeddingTable,
    run_id: str | None,
    layout: str,
    *,
    read_plan: PlanReader,
    progress: ProgressCallback = ignore_progress,
) -> None:
    """Measure what is missing and keep it where `find_row_measures` looks.

    Args:
        table: What the rows are of.
        run_id: As in `find_row_measures`.
        layout: As in `find_row_measures`; a UMAP map that was not made on a plane is left out.
        read_plan: Gives the plan of that run, None where there is none; called if it is needed.
        progress: Called all along; may raise `engine.errors.Cancelled`. What was finished by then
            stays kept.

    Raises:
        ParameterError: If there is no such kind of map, or there are too few rows.
        EngineError: If the disk refuses.

    Cost: 4·n²·d flops and 3 s for the frequencies: about 50 s of processor time for 30,522 × 384.
    """
    places = _check(table, layout)
    measures: dict[str, Callable[[], MeasuredPart]] = {
        "table": lambda: measure_table(table, progress=progress),
        "plan": lambda: measure_plan(
            neighbours_of(table, progress=progress), read_plan(), progress=progress
        ),
    }
    if places is not None:
        measures["map"] = lambda: measure_map(
            table, neighbours_of(table, progress=progress), places(), progress=progress
        )
    names = _part_names(run_id, layout)
    for part, measure in measures.items():
        if _find(table.fingerprint, part, run_id, layout) is None:
            keep_measured_part(table.fingerprint, names[part], measure())


def ship_row_measures(
    table: EmbeddingTable,
    plan: Factorization,
    layouts: dict[str, Tensor],
    folder: Path,
    *,
    progress: ProgressCallback = ignore_progress,
) -> None:
    """Write what `find_row_measures` finds of a table whose plan ships.

    Args:
        table: What the rows are of.
        plan: The plan that ships.
        layouts: Maps by their kind, shapes (n, 2).
        folder: Where to: `engine.library.MEASURES_FOLDER` beside the plan.
        progress: As in `measure_rows`.
    """
    neighbours = neighbour_table(table.matrix, count=NEIGHBOURS, progress=progress)
    parts = {
        "table": measure_table(table, progress=progress),
        f"plan-{_SHIPPED}": measure_plan(neighbours, plan, progress=progress),
    }
    for kind, layout in layouts.items():
        parts[f"map-{kind}"] = measure_map(table, neighbours, layout, progress=progress)
    for name, part in parts.items():
        keep_measured_part(table.fingerprint, name, part, folder)


def measure_table(
    table: EmbeddingTable, *, progress: ProgressCallback = ignore_progress
) -> MeasuredPart:
    """How often each row occurs in English text, where that can be known."""
    try:
        counts = _while_reporting(
            lambda: table_token_counts(table, "en"), "Counting tokens in English", progress
        )
    except SourceError as error:
        return MeasuredPart(tensors={}, values={"note": f"No frequencies: {error}."})
    # log(1 + f) in float16 is right to 1/200 of f at worst, for the most frequent.
    return MeasuredPart(tensors={"frequency": counts.log1p().half()}, values={"note": ""})


def measure_plan(
    neighbours: Tensor | None,
    plan: Factorization | None,
    *,
    progress: ProgressCallback = ignore_progress,
) -> MeasuredPart:
    """Which neighbours a plan keeps; ``neighbours`` from `neighbours_of`."""
    if plan is None or neighbours is None:
        return MeasuredPart(
            tensors={}, values={"note": "" if neighbours is not None else _too_many()}
        )
    return _part_of_shares("kept", kept_neighbours(neighbours, plan, progress=progress), neighbours)


def measure_map(
    table: EmbeddingTable,
    neighbours: Tensor | None,
    layout: Tensor,
    *,
    progress: ProgressCallback = ignore_progress,
) -> MeasuredPart:
    """How far a map can be trusted, as a whole and row by row."""
    nearest = min(NEIGHBOURS, (len(table.tokens) - 1) // 2)
    trust = map_trust(table.matrix, layout, neighbours=nearest, progress=progress)
    if neighbours is None:
        part = MeasuredPart(tensors={}, values={"note": _too_many()})
    else:
        part = _part_of_shares("false", false_neighbours(neighbours, layout), neighbours)
    values = {**part.values, "trust": asdict(trust)}
    values.setdefault("neighbours", nearest)
    return MeasuredPart(tensors=part.tensors, values=values)


def neighbours_of(
    table: EmbeddingTable, *, progress: ProgressCallback = ignore_progress
) -> Tensor | None:
    """The nearest rows of every row, shape (n, count), int32, kept for the next time.

    Returns:
        None where there are more than `engine.trust.MOST_ROWS` rows.
    """
    if len(table.tokens) > MOST_ROWS:
        return None
    kept = find_measured_part(table.fingerprint, "neighbours")
    if kept is not None and "neighbours" in kept.tensors:
        return kept.tensors["neighbours"]
    found = neighbour_table(table.matrix, count=NEIGHBOURS, progress=progress)
    part = MeasuredPart(tensors={"neighbours": found}, values={})
    keep_measured_part(table.fingerprint, "neighbours", part)
    return found


def _check(table: EmbeddingTable, layout: str) -> Callable[[], Tensor] | None:
    """What gives the places of the rows on a plane; None where there is no such map yet."""
    if len(table.tokens) < _FEWEST_ROWS:
        raise ParameterError(
            f"neighbours need at least {_FEWEST_ROWS} rows, {table.name} has {len(table.tokens)}"
        )
    if layout not in LAYOUTS:
        raise ParameterError(f"the layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    if layout == "PCA":
        return lambda: pca_layout(table.matrix)
    found = find_umap_layout(table.fingerprint)
    return None if found is None else lambda: found


def _too_many() -> str:
    return f"Neighbours of every row are sought in tables of up to {MOST_ROWS:,} rows only."


def _part_of_shares(name: str, shares: Tensor, neighbours: Tensor) -> MeasuredPart:
    """Shares are of so many neighbours, so whole numbers of few bits hold them without loss."""
    count = neighbours.shape[1]
    packed = pack_integers((shares * count).round().int(), bits_for(count + 1))
    values = {"neighbours": count, "rows": len(shares), "note": ""}
    return MeasuredPart(tensors={name: packed}, values=values)


def _read_table(part: MeasuredPart) -> dict[str, Any]:
    frequency = part.tensors.get("frequency")
    known = None if frequency is None else frequency.float().expm1()
    return {"frequency": known, "note": part.values["note"]}


def _read_plan(part: MeasuredPart) -> dict[str, Any]:
    kept = _read_shares(part, "kept")
    looked_at = {} if kept is None else {"neighbours": part.values["neighbours"]}
    return {"kept": kept, "note": part.values["note"], **looked_at}


def _read_map(part: MeasuredPart) -> dict[str, Any]:
    return {
        "false": _read_shares(part, "false"),
        "trust": MapTrust(**part.values["trust"]),
        "neighbours": part.values["neighbours"],
        "note": part.values["note"],
    }


_READERS = {"table": _read_table, "plan": _read_plan, "map": _read_map}


def _read_shares(part: MeasuredPart, name: str) -> Tensor | None:
    if name not in part.tensors:
        return None
    count, rows = part.values["neighbours"], part.values["rows"]
    return unpack_integers(part.tensors[name], bits_for(count + 1), rows).float() / count


def _while_reporting(work: Callable[[], _T], phase: str, progress: ProgressCallback) -> _T:
    """Do work that does not report, so that a cancel is heard: it then ends with no one waiting."""
    pool = ThreadPoolExecutor(max_workers=1)
    try:
        future = pool.submit(work)
        while True:
            progress(Progress(phase=phase, done=0, total=1))
            try:
                return future.result(timeout=_HEARD_SECONDS)
            except NotYet:
                continue
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
