"""The command that makes tables and figures of a GLUE run."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.screen import print_json, show_place, show_points


@click.command(name="glue-report")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder for tables and figures; FOLDER when left out.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON for machines.")
def glue_report(folder: Path, output: Path | None, as_json: bool) -> None:
    """Make tables and figures of the GLUE results in FOLDER, anew each time.

    FOLDER is what the glue command measures into; a run that is not over yet will do, and what it
    lacks is said. Of the same results the files are the same, byte for byte.
    """
    from engine.evaluation.glue.report import write_report
    from engine.evaluation.glue.summarizing import read_results
    from engine.evaluation.glue.verdict import say_verdict

    summary = read_results(folder)
    written = write_report(summary, output or folder)
    if as_json:
        print_json({"written": [str(path) for path in written], **summary.as_dict()})
        return
    show_points(summary, say_verdict(summary))
    show_place("Written", output or folder)
