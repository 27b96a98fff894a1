"""The command line: thin over the engine. Results go to stdout, progress and errors to stderr.

Exit codes: 0 done, 2 bad input (one line says what and why), 130 interrupted.
"""

from __future__ import annotations

import io
import sys

import click

from engine.cli.commands import group
from engine.clustering.job import job_rank
from engine.errors import EngineError


def main() -> None:
    """Run the command line and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name it cannot show is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    if job_rank() and sys.argv[1:2] != ["compress"]:
        sys.exit(0)  # what cannot be shared is done once
    try:
        sys.exit(group.main(prog_name="subspace-atlas", standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        if job_rank():
            sys.exit(2)  # the same words on every process: one says them
        _fail(f"{error.format_message()} See --help.")
    except EngineError as error:
        _fail(str(error))
    except (click.Abort, KeyboardInterrupt) as error:
        # click makes an Abort without words of a KeyboardInterrupt that has some
        words = str(error.__cause__ or error)
        click.echo(words or "Interrupted; nothing was written.", err=True)
        sys.exit(130)


def _fail(reason: str) -> None:
    click.echo(f"error: {' '.join(reason.split())}", err=True)
    sys.exit(2)
