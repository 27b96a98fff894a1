"""Results as runs: what is written down about a compression, a sweep or checks, and its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from engine.compression import Compression, CompressionConfig
from engine.errors import FormatError
from engine.factorization import Factorization
from engine.figure_checks import read_compression_figures as read_compression_figures
from engine.figures import is_plain_svd
from engine.frequencies.row_use import NO_WEIGHTS
from engine.frequencies.running_text import languages
from engine.grid import SweepResult
from engine.provenance import installed_versions
from engine.records import RunRecord, RunSource
from engine.sources import absolute_spec, expand_path
from engine.table import EmbeddingTable
from engine.wording import counted, name_range, short_bytes

SWEEP_FILE = "sweep.json"
SEARCH_FIGURES = "search"
"""Under this name the figures of a run hold how its size was found, where that was searched for."""

FileWriter = Callable[[Path], None]
"""Puts a run's files into the empty folder it is given."""


def record_compression(
    table: EmbeddingTable,
    config: CompressionConfig,
    compression: Compression,
    *,
    search: Mapping[str, Any] | None = None,
) -> tuple[RunRecord, FileWriter]:
    """A finished compression as a run.

    Args:
        table: What was compressed.
        config: The plan.
        compression: What came of it.
        search: How its size was found, as `engine.evaluation.sizes.SizeSearch.as_dict` gives
            it; None where it was given. Its notes become those of the run as well.

    Returns:
        The record, and what writes the factorization beside it.
    """
    plan = {**asdict(config), "k": compression.figures.k}
    figures = compression.as_dict()
    if search is not None:
        notes = [*search["notes"], *compression.notes]
        figures = {**figures, "notes": notes, SEARCH_FIGURES: dict(search)}
    return record_plan(table, plan, figures), compression.factorization.save


def record_plan(
    table: EmbeddingTable, config: dict[str, Any], figures: dict[str, Any]
) -> RunRecord:
    """A plan as a run's record.

    Args:
        table: What it is a plan of.
        config: Fields of `engine.plans.CompressionConfig`; k is a number.
        figures: As `engine.compression.Compression.as_dict` gives them.
    """
    weights = _weights_from_anywhere(config.get("weights", NO_WEIGHTS))
    if "weights" in config:
        config = {**config, "weights": weights}
    if (use := figures["weights"]) is not None:
        figures = {**figures, "weights": {**use, "source": weights}}
    k, affine, loss = figures["k"], config.get("affine", False), config.get("loss", "squared")
    rate_aware = figures["parameters"] is None
    svd = is_plain_svd(k, affine=affine, loss=loss, coded=rate_aware)
    what = "SVD" if svd else f"k = {k}"
    weighted = "" if figures["weighted_svd"] is None else ", weighted"
    bits = config.get("bits")
    coded = "" if bits is None else f", {bits} bits"
    if rate_aware:
        coded = f", coded to {short_bytes(figures['stored_bytes'])}"
    dimensions = name_range(figures["dimensions"])
    return RunRecord(
        kind="compress",
        name=f"{table.name}, {what}, j = {dimensions}{weighted}{coded}",
        source=_source(table),
        config=config,
        figures=figures,
        wall_seconds=figures["wall_seconds"],
        versions=installed_versions(),
    )


def record_sweep(table: EmbeddingTable, result: SweepResult) -> tuple[RunRecord, FileWriter]:
    """A finished sweep as a run.

    Args:
        table: What was swept.
        result: Its cells.

    Returns:
        The record, and what writes the cells beside it.
    """
    weights = _weights_from_anywhere(result.config.weights)
    result = replace(result, config=replace(result.config, weights=weights))
    record = RunRecord(
        kind="sweep",
        name=f"{table.name}, {counted(result.fits, 'fit')}",
        source=_source(table),
        config=asdict(result.config),
        figures={"cells": len(result.cells), "notes": list(result.notes)},
        wall_seconds=sum(cell.wall_seconds for cell in result.cells),
        versions=installed_versions(),
    )
    return record, lambda folder: result.save(folder / SWEEP_FILE)


def record_evaluation(
    table: EmbeddingTable, config: dict[str, Any], figures: dict[str, Any]
) -> RunRecord:
    """Finished checks as a run, which has no files besides its record.

    Args:
        table: What was checked.
        config: What was asked for.
        figures: As `engine.evaluation.evaluating.Evaluation.as_dict` gives them.
    """
    variants = [variant["name"] for variant in figures["variants"]]
    plan = "".join(f", {name}" for name in variants[1:2])
    checks = ", ".join(result["check"] for result in figures["results"])
    return RunRecord(
        kind="evaluate",
        name=f"{table.name}{plan}: {checks}",
        source=_source(table),
        config=config,
        figures=figures,
        wall_seconds=figures["seconds"],
        versions=installed_versions(),
    )


def held_by(record: RunRecord) -> str:
    """What the folder of a run holds, in words."""
    held = {"compress": "a factorization", "evaluate": "what checks found", "sweep": "a sweep"}
    return held[record.kind]


def check_artefacts(folder: Path, record: RunRecord) -> None:
    """That the files in the folder of a run can be read, and hold what its record says.

    Args:
        folder: Of the run.
        record: What was written down of it, with figures that `read_compression_figures` takes.

    Raises:
        FormatError: Saying what was expected and what is there.

    Cost: reads the files whole.
    """
    if record.kind == "compress":
        plan = Factorization.load(folder)
        found = {"rows": plan.shape[0], "columns": plan.shape[1]}
        found |= {"dimensions": list(plan.dimensions), "parameters": plan.parameters}
    elif record.kind == "sweep":
        sweep = SweepResult.load(folder / SWEEP_FILE)
        found = {"rows": sweep.rows, "columns": sweep.columns}
        found |= {"fingerprint": sweep.source, "cells": len(sweep.cells)}
    else:
        return  # checks have no files besides their record
    told = {**record.figures, **record.source}
    for name, there in found.items():
        if there != (said := told.get(name)):
            raise FormatError(
                f"{folder} holds {held_by(record)} of another run: its record says {name} {said}, "
                f"the file has {there}"
            )


def _weights_from_anywhere(weights: str) -> str:
    """What rows were weighted by; the absolute path where it is a text."""
    # Only a file may hide behind the name of a language, which takes a second to look up.
    if weights == NO_WEIGHTS or not expand_path(weights).is_file() or weights in languages():
        return weights
    return absolute_spec(weights)


def _source(table: EmbeddingTable) -> RunSource:
    """What is written down of a table; paths so that they are found from any folder."""
    rows, columns = table.matrix.shape
    source = RunSource(
        spec=absolute_spec(table.spec),
        name=table.name,
        fingerprint=table.fingerprint,
        rows=rows,
        columns=columns,
        dtype=table.source_dtype,
    )
    # Left out where there are none, so that older versions read the record as well.
    if table.tensor is not None:
        source["tensor"] = table.tensor
    if table.tokens_file is not None:
        source["tokens"] = absolute_spec(table.tokens_file)
    return source
