"""Commands on a folder that was written before."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.screen import (
    note_replaced,
    plain_console,
    print_json,
    show_figures,
    show_place,
    show_record,
)
from engine.errors import FormatError

if TYPE_CHECKING:
    from engine.factorization import Factorization
    from engine.runs import Run


@click.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def info(run: str, as_json: bool) -> None:
    """Say what RUN holds.

    RUN is a folder with a compressed model, a run, or what Factorization.save wrote; or the id of
    a run that the app lists.
    """
    from engine.export.models import describe_layer, is_compressed
    from engine.factorization import Factorization
    from engine.runs import RECORD_FILE as RUN_FILE
    from engine.runs import find_run, read_run
    from engine.storage import RECORD_FILE

    folder = find_run(run)
    is_model = is_compressed(folder)
    if not (folder / RUN_FILE).is_file():
        kind, figures = "", dict[str, object]()
        if is_model:  # as `save_pretrained` leaves it
            kind, figures = "compressed model", describe_layer(folder)
        elif (folder / RECORD_FILE).is_file():
            kind, figures = "factorization", _describe(Factorization.load(folder))
        if kind and as_json:
            print_json({kind.replace(" ", "_"): str(folder), **figures})
        elif kind:
            show_figures(f"{kind} in {folder}", figures)
        if kind:
            return
    found = read_run(folder)
    held = _held(found, is_model)
    if as_json:
        print_json({"run": str(found.folder), "holds": held, **asdict(found.record)})
    else:
        show_record(found, held)
        _show_command(found)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="A new or empty folder for the dense model.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def restore(folder: Path, output: Path, as_json: bool) -> None:
    """Make a plain dense model of the compressed one in FOLDER.

    It loads without this package. The rows of its embedding are the approximations.
    """
    from engine.export.restoring import restore_model

    place = restore_model(folder, output)
    if as_json:
        print_json({"model": str(place)})
    else:
        show_place("Model", place)


@click.command()
@click.argument("run")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="The HTML file to write.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def report(run: str, output: Path, as_json: bool) -> None:
    """Make one HTML file of RUN that opens anywhere, without network and without us.

    RUN is a folder that compress wrote, or the id of a run that the app lists.
    """
    from engine.report.runs import write_report

    replaces = output.exists()
    write_report(run, output)
    if replaces:
        note_replaced(f"the file {output}")
    if as_json:
        print_json({"report": str(output)})
    else:
        show_place("Report", output)


def _show_command(run: Run) -> None:
    """The command that makes a run again, which says its settings; none of a model in memory."""
    from engine.reproducing import command_line

    if not run.record.source["spec"]:
        return
    with suppress(FormatError):  # of a later version, whose settings this one does not know
        plain_console().print(f"\n{command_line(run.record)}", soft_wrap=True)


def _describe(factorization: Factorization) -> dict[str, object]:
    record, coding = factorization.record, factorization.coding
    return {
        "method": record.method,
        "rows": factorization.shape[0],
        "columns": factorization.shape[1],
        "k": factorization.k,
        "dimensions": list(factorization.dimensions),
        "parameters": factorization.parameters,
        "stored_bytes": factorization.stored_bytes,
        "bits": None if coding is None else coding.bits,
        "rate": factorization.rate,
        "config": record.config,
        "source": record.source,
    }


def _held(run: Run, is_model: bool) -> str:
    from engine.recording import held_by

    return "a compressed model" if is_model else held_by(run.record)
