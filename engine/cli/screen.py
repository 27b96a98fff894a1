"""What the command line shows a person: progress bars on stderr, tables on stdout."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from engine.wording import counted, name_svd

if TYPE_CHECKING:
    from engine.compression import Compression
    from engine.evaluation.glue.summary import GlueSummary
    from engine.export.smaller import SmallerModel
    from engine.figures import PlanFigures
    from engine.frontier import SizeCurves
    from engine.grid import SweepResult
    from engine.progress import Progress as Step
    from engine.progress import ProgressCallback
    from engine.runs import Run

_UNBOUNDED = 100_000  # columns; rich pads no line to it


@contextmanager
def progress_bars() -> Generator[ProgressCallback]:
    """Give a callback that draws a bar a phase; nothing is drawn where stderr is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[detail]}"),
    )
    # Not the console's own word for it: that one believes FORCE_COLOR, which is about colours.
    disable = not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=disable) as bars:
        tasks: dict[str, object] = {}

        def show(step: Step) -> None:
            if step.phase not in tasks:
                tasks[step.phase] = bars.add_task(step.phase, detail="")
            bars.update(
                tasks[step.phase],  # pyright: ignore[reportArgumentType]
                completed=step.done,
                total=step.total,
                detail=step.detail,
            )

        yield show


def plain_console() -> Console:
    """Names of tables and files come out as they are, brackets and colons included.

    What another program reads is as wide as it is: nothing is cut or wrapped, unless COLUMNS asks.
    """
    bounded = sys.stdout.isatty() or "COLUMNS" in os.environ
    width = None if bounded else _UNBOUNDED
    return Console(width=width, highlight=False, markup=False, emoji=False)


def print_json(values: dict[str, Any]) -> None:
    """Values for machines."""
    click.echo(json.dumps(values, indent=1))


def note_replaced(what: str) -> None:
    """That something was there before, on stderr, so that JSON stays JSON."""
    click.echo(f"Note: replaced {what}.", err=True)


def show_place(what: str, place: Path) -> None:
    """Where something was written."""
    plain_console().print(f"{what}: {place}", soft_wrap=True)


def show_compression(name: str, compression: Compression) -> None:
    """The plan beside the SVD, and the starts."""
    console = plain_console()
    ours, weighted = compression.figures, compression.weighted_svd
    table = Table(
        title=f"{name}: {compression.rows:,} × {compression.columns}", title_justify="left"
    )
    svd = name_svd(compression.svd.bits, weighted=False)
    as_many = "" if ours.k > 1 or ours.coded else " of as many parameters"
    for heading in ("", "table", f"{svd}{as_many}"):
        table.add_column(heading, justify="left" if not heading else "right")
    plans = [compression.svd, ours]
    if weighted is not None:
        plans.insert(1, weighted)
        table.add_column(name_svd(weighted.bits, weighted=True), justify="right")
    table.add_column(f"{ours.k} subspaces" if ours.k > 1 else "this plan", justify="right")
    dense = compression.rows * compression.columns
    dimensions = (_dimensions(plan) for plan in plans)
    table.add_row("dimension", f"{compression.columns}", *dimensions)
    table.add_row("parameters", f"{dense:,}", *(_counted(p.parameters, ",") for p in plans))
    stored = (f"{plan.stored_bytes:,}" for plan in plans)
    table.add_row("stored bytes", f"{compression.source_bytes:,}", *stored)
    table.add_row("compression rate", "", *(_counted(p.rate, ".2%") for p in plans))
    table.add_row("relative error", "", *(f"{p.relative_error:.4f}" for p in plans))
    if weighted is not None:
        table.add_row("weighted error", "", *(_error(p.weighted_error) for p in plans))
    if ours.neighbours_kept is not None:
        table.add_row("neighbours kept", "", *(_kept(p) for p in plans))
    for rows in zip(*(plan.bands or () for plan in plans), strict=True):
        table.add_row(f"error, {rows[0].name}", "", *(_error(band.error) for band in rows))
    console.print(table)
    if ours.k > 1:
        console.print(_starts(compression))
    if len(set(ours.dimensions)) > 1:
        console.print(f"Dimensions: {', '.join(map(str, ours.dimensions))}")
    console.print(compression.verdict)
    for note in compression.notes:
        console.print(f"Note: {note}")


def show_cost(smaller: SmallerModel) -> None:
    """What the whole model takes before and after."""
    from engine.export.cost import cost_rows

    console = plain_console()
    table = Table(title="The whole model", title_justify="left")
    for heading in ("", "before", "after", "left"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, before, after in cost_rows(smaller.cost):
        shown = (f"{before:,}", f"{after:,}") if isinstance(before, int) else ()
        table.add_row(name, *(shown or (f"{before:.1f}", f"{after:.1f}")), f"{after / before:.1%}")
    table.add_row("error of the embedding", "", f"{smaller.cost.relative_error:.4f}")
    console.print(table)
    for note in smaller.notes:
        console.print(f"Note: {note}")


def show_sweep(result: SweepResult, place: Path) -> None:
    """Mean error of every k at every rate, the least of a rate marked; then the best by bytes."""
    from engine.cell_points import read_size_curves
    from engine.curves import has_weights, read_curves

    console = plain_console()
    weighted = has_weights(result.cells)
    curves = read_curves(result.cells, weighted=weighted)
    named = {"SVD": curves.svd, "weighted SVD": curves.weighted_svd}
    named |= {f"k = {k}": points for k, points in curves.by_k.items()}
    kind = "weighted" if weighted else "relative"
    coded = len(result.cells) > result.fits
    title = f"{result.name}: mean {kind} error{' at 32 bits' if coded else ''}"
    table = Table(title=title, title_justify="left")
    table.add_column("rate", justify="right")
    shown = {name: points for name, points in named.items() if points}
    for name in shown:
        table.add_column(name, justify="right")
    for rate in sorted({point.rate for points in shown.values() for point in points}):
        found = {name: p.error for name, points in shown.items() for p in points if p.rate == rate}
        least = min(found.values())
        table.add_row(f"{rate:g}", *(_cell(found.get(name), least) for name in shown))
    console.print(table)
    console.print("* the least at its rate")
    if coded:
        sizes = read_size_curves(result, weighted=weighted)
        console.print(_sizes(sizes))
        console.print(sizes.verdict())
    for note in result.notes:
        console.print(f"Note: {note}")
    console.print(f"Written: {place}", soft_wrap=True)


def show_points(summary: GlueSummary, verdict: Sequence[str]) -> None:
    """The average drop of every plan at every rate, before and after further training."""
    from engine.evaluation.glue.ensembles import plan_title
    from engine.evaluation.glue.missing import STAGE_TITLES
    from engine.evaluation.glue.summary import AVERAGE

    console = plain_console()
    for stage, tasks in summary.averaged.items():
        rates = summary.rates(AVERAGE, stage)
        if not rates:
            continue
        averaged = counted(len(tasks), "task")
        title = f"{summary.model}: points lost {STAGE_TITLES[stage]}, average of {averaged}"
        table = Table(title=title, title_justify="left")
        table.add_column("plan")
        for rate in rates:
            table.add_column(f"{rate:.0%} removed", justify="right")
        for plan in summary.plans:
            found = {p.rate: f"{p.drop.value:.2f}" for p in summary.curve(AVERAGE, stage, plan)}
            if found:
                table.add_row(plan_title(plan), *(found.get(rate, "–") for rate in rates))
        console.print(table)
    for sentence in (*verdict, *(f"Missing: {words}" for words in summary.missing)):
        console.print(sentence)


def _sizes(curves: SizeCurves) -> Table:
    """The best of each family within a few numbers of bytes."""
    table = Table(title="Within bytes, the least error", title_justify="left")
    table.add_column("of the table", justify="right")
    table.add_column("bytes", justify="right")
    for name in curves.families.values():
        table.add_column(name, justify="right")
    table.add_column("the least", no_wrap=True)
    for choice in curves.choices():
        errors = {family: point.value for family, point in choice.by_family.items()}
        cells = (_cell(errors.get(family), choice.best.value) for family in curves.families)
        table.add_row(f"{choice.share:.0%}", f"{choice.budget:,}", *cells, choice.best.name)
    return table


def show_record(run: Run, held: str) -> None:
    """What a run folder holds."""
    console = plain_console()
    record = run.record
    table = Table(title=record.name, title_justify="left", show_header=False)
    table.add_row("kind", record.kind)
    table.add_row("holds", held)
    table.add_row("made", record.created)
    table.add_row("source", f"{record.source['spec']} ({record.source['name']})")
    table.add_row("rows × columns", f"{record.source['rows']:,} × {record.source['columns']:,}")
    for key in (
        "parameters",
        "stored_bytes",
        "rate",
        "relative_error",
        "weighted_error",
        "verdict",
        "cells",
    ):
        if record.figures.get(key) is not None:
            table.add_row(key.replace("_", " "), _figure(record.figures[key]))
    for key, value in record.figures.get("model", {}).get("after", {}).items():
        if value is not None:
            table.add_row(f"model: {key.replace('_', ' ')}", _figure(value))
    table.add_row("took", f"{record.wall_seconds:.1f} s")
    console.print(table)


def show_figures(title: str, figures: dict[str, object]) -> None:
    """Names and values, one a line."""
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), _figure(value))
    plain_console().print(table)


def _starts(compression: Compression) -> Table:
    table = Table(title="Starts", title_justify="left")
    for heading in ("seeding", "cost", "on", "steps", "settled", "seconds"):
        table.add_column(heading, justify="left" if heading == "seeding" else "right")
    starts = compression.factorization.record.starts
    # Costs on a sample are lower than on all rows: not to be compared with them.
    least = min((start.cost for start in starts if not start.sampled), default=0.0)
    for start in starts:
        table.add_row(
            start.seeding,
            f"{start.cost:.4f} " if start.sampled else _cell(start.cost, least),
            "a sample" if start.sampled else "all rows",
            str(len(start.cost_history)),
            "yes" if start.converged else "no",
            f"{start.wall_seconds:.1f}",
        )
    return table


def _figure(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, tuple):  # the least and the most
        from engine.wording import name_range

        return name_range(cast("tuple[int, int]", value))
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _dimensions(plan: PlanFigures) -> str:
    from engine.wording import name_range

    return name_range(plan.dimensions)


def _counted(value: float | None, form: str) -> str:
    """A figure that coded plans do not have."""
    return "–" if value is None else format(value, form)


def _error(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _kept(plan: PlanFigures) -> str:
    overlap = plan.neighbours_kept
    return "" if overlap is None else f"{overlap.mean:.1%} ± {overlap.standard_error:.1%}"


def _cell(value: float | None, least: float) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}{'*' if value == least else ' '}"
