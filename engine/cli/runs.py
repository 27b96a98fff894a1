"""`runs`: the store of finished runs, as the Runs page shows it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from engine.cli.screen import note_replaced, plain_console, print_json, show_place, show_record
from engine.errors import FormatError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from engine.runs import Run

_BESIDE_ID = 44  # columns for the kind, some of the name, the time, and what parts them
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


@click.group()
def runs() -> None:
    """List, show, name, export, import and delete finished runs."""


@runs.command(name="list")
@_JSON
def list_runs(*, as_json: bool) -> None:
    """List every run, newest first, and what cannot be read."""
    from engine.runs import RunStore

    listing = RunStore().list()
    if as_json:
        damaged = [{"id": run.id, "reason": run.reason} for run in listing.damaged]
        print_json({"runs": [_as_dict(run) for run in listing.runs], "damaged": damaged})
        return
    console = plain_console()
    if listing.runs:
        _print_table(listing.runs, console)
    else:
        console.print("There is no run yet: compress and sweep make some.")
    for run in listing.damaged:
        console.print(f"Damaged: {run.id}: {run.reason}", soft_wrap=True)


def _print_table(runs: Sequence[Run], console: Console) -> None:
    """A line a run, its id whole, so that it can be copied; where room is short names are cut."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for heading in ("run", "kind", "name", "made"):
        table.add_column(heading, no_wrap=heading != "name")
    for run in runs:
        made = f"{run.record.created_at.astimezone():%Y-%m-%d %H:%M}"
        title = Text(run.title, no_wrap=True, overflow="ellipsis")
        table.add_row(run.id, run.record.kind, title, made)
    # In a narrower terminal lines run on at its edge, which still copy as one.
    longest = max(len(run.id) for run in runs)
    console.width = max(console.width, longest + _BESIDE_ID)
    console.print(table, soft_wrap=True)


@runs.command()
@click.argument("run_id", metavar="RUN")
@_JSON
def show(run_id: str, *, as_json: bool) -> None:
    """Show one run, and the command line and Python that make it again."""
    from engine.recording import held_by
    from engine.reproducing import cautions, command_line, python_snippet
    from engine.runs import RunStore

    run = RunStore().load(run_id)
    again: dict[str, Any] = {"command": None, "python": None, "cautions": []}
    try:
        again = {
            "command": command_line(run.record),
            "python": python_snippet(run.record),
            "cautions": list(cautions(run.record)),
        }
    except FormatError as error:
        again["cautions"] = [str(error)]
    if as_json:
        print_json({**_as_dict(run), **asdict(run.record), **again})
        return
    show_record(run, held_by(run.record))
    console = plain_console()
    if run.label:
        console.print("\n".join(filter(None, [f"Name: {run.title}", run.label.note])))
    for text in (again["command"], again["python"]):
        if text is not None:
            console.print(f"\n{text}", soft_wrap=True)
    for sentence in again["cautions"]:
        console.print(f"Note: {sentence}")


@runs.command()
@click.argument("run_id", metavar="RUN")
@click.argument("name")
@click.option("--note", help="What to say of it; as it was when left out.")
@_JSON
def name(run_id: str, name: str, *, note: str | None, as_json: bool) -> None:
    """Give a run a name of yours, and a note; an empty NAME takes it away."""
    from engine.runs import RunLabel, RunStore

    store = RunStore()
    kept = store.load(run_id).label.note if note is None else note
    run = store.label(run_id, RunLabel(name=name, note=kept))
    if as_json:
        print_json(_as_dict(run))
    else:
        plain_console().print(f"{run.id}: {run.title}", soft_wrap=True)


@runs.command()
@click.argument("run_ids", metavar="RUN...", nargs=-1, required=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="A zip file to write."
)
@_JSON
def export(run_ids: tuple[str, ...], *, output: Path, as_json: bool) -> None:
    """Pack runs into a zip file, names and notes included."""
    from engine.exchange import write_archive
    from engine.runs import RunStore

    replaces = output.exists()
    write_archive(RunStore(), run_ids, output)
    if replaces:
        note_replaced(f"the file {output}")
    if as_json:
        print_json({"written": str(output), "runs": list(run_ids)})
    else:
        show_place("Written", output)


@runs.command(name="import")
@click.argument("file", type=click.Path(path_type=Path))
@_JSON
def import_(file: Path, *, as_json: bool) -> None:
    """Take in the runs of a zip file that was exported here or elsewhere: all or none."""
    from engine.exchange import import_runs
    from engine.runs import RunStore

    found = import_runs(RunStore(), file)
    if as_json:
        added = [_as_dict(run) for run in found.added]
        print_json({"added": added, "present": list(found.present)})
        return
    console = plain_console()
    for run in found.added:
        console.print(f"{run.id}: {run.title}", soft_wrap=True)
    for run_id in found.present:
        console.print(f"{run_id} was here already", soft_wrap=True)


@runs.command()
@click.argument("run_ids", metavar="RUN...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask first.")
@_JSON
def delete(run_ids: tuple[str, ...], *, yes: bool, as_json: bool) -> None:
    """Delete runs, damaged ones too."""
    from engine.library import forget_measured_plan
    from engine.runs import RunStore

    if not yes:
        _ask("Delete for good?")
    store = RunStore()
    for run_id in run_ids:
        store.delete(run_id)
        forget_measured_plan(run_id)
    if as_json:
        print_json({"deleted": list(run_ids)})
    else:
        plain_console().print(f"Deleted: {', '.join(run_ids)}", soft_wrap=True)


def _ask(question: str) -> None:
    """Go on only where the answer is yes; where nobody can answer, that is bad input."""
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort as error:
        if sys.stdin.isatty():
            raise
        click.echo(err=True)  # the question has no line of its own
        raise ParameterError(
            "nobody is there to be asked, and nothing was deleted; give --yes as well"
        ) from error
    if not agreed:
        raise click.Abort("Nothing was deleted.")


def _as_dict(run: Run) -> dict[str, Any]:
    return {"id": run.id, "folder": str(run.folder), "kind": run.record.kind, "title": run.title}
