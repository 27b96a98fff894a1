"""``subspace-atlas glue``: the paper's protocol on GLUE."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.options import given, parse_list
from engine.cli.screen import print_json, progress_bars
from engine.errors import ParameterError
from engine.wording import counted

if TYPE_CHECKING:
    from engine.evaluation.glue.cells import GlueCell
    from engine.progress import Progress


@click.command()
@click.argument("model")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the run; what it holds already is not measured again.",
)
@click.option("--tasks", help="GLUE tasks, as in rte,mrpc; all nine when left out.")
@click.option(
    "--plans",
    help="svd, k5, k5-optimal, k4-coded, and each with -weighted; "
    "svd,svd-weighted,k2,k5,k5-weighted,k5-optimal-weighted when left out.",
)
@click.option("--rates", help="Shares of the embedding to remove; 0.2,0.4,0.6,0.8 when left out.")
@click.option("--shares", help="Shares of its bytes that coded plans keep; 0.05 when left out.")
@click.option("--seeds", help="0 when left out.")
@click.option("--epochs", type=int, help="Of fine-tuning; 3 when left out.")
@click.option(
    "--further-epochs",
    type=int,
    help="After the embedding was made smaller; 2 when left out.",
)
@click.option(
    "--no-further-training",
    is_flag=True,
    help="Measure only what needs no further epochs, for now.",
)
@click.option("--learning-rate", type=float, help="5e-5 when left out.")
@click.option("--batch", "batch_rows", type=int, help="Rows a step; 32 when left out.")
@click.option("--longest", type=int, help="Tokens of a text; 128 when left out.")
@click.option("--train-rows", type=int, help="Most training rows; all when left out.")
@click.option(
    "--measured-rows", type=int, help="Training rows that are measured; 2000 when left out."
)
@click.option(
    "--distillation",
    type=float,
    help="Share of the further epochs' loss that compares with the whole network, 0 to 1.",
)
@click.option("--weight-power", type=float, help="Of the token weights; 1 when left out.")
@click.option("--weight-floor", type=float, help="Of the token weights; 16 when left out.")
@click.option(
    "--data",
    type=click.Path(path_type=str),
    help="Folder of TASK/train.tsv and dev.tsv, or of glue/TASK/…; SUBSPACE_ATLAS_DATA names it "
    "too; the model hub when neither does.",
)
@click.option("--device", help="auto, cpu or cuda.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def glue(  # noqa: PLR0913 - one parameter an option
    *,
    model: str,
    output: Path,
    tasks: str | None,
    plans: str | None,
    rates: str | None,
    shares: str | None,
    seeds: str | None,
    no_further_training: bool,
    data: str | None,
    as_json: bool,
    **settings: Any,  # noqa: ANN401 - each checked by GlueSettings
) -> None:
    """Fine-tune MODEL on GLUE, make its embedding smaller, measure, fine-tune again, measure.

    Every measured cell is a JSON file in OUTPUT; the same command goes on after it was stopped.
    """
    from engine.evaluation.glue.plans import GluePlan
    from engine.evaluation.glue.running import CELLS_PHASE, run_glue
    from engine.evaluation.glue.settings import GlueGrid, GlueSettings

    lists = {
        "tasks": None if tasks is None else parse_list("--tasks", tasks, str),
        "plans": None if plans is None else parse_list("--plans", plans, str),
        "rates": None if rates is None else parse_list("--rates", rates, float),
        "shares": None if shares is None else parse_list("--shares", shares, float),
        "seeds": None if seeds is None else parse_list("--seeds", seeds, int),
    }
    chosen: dict[str, Any] = {name: tuple(values) for name, values in given(lists).items()}
    grid = GlueGrid(**chosen, retrain=not no_further_training)
    coded = {GluePlan.parse(plan).coded for plan in grid.plans}
    if rates is not None and False not in coded:
        raise ParameterError("--rates is of plans that are not coded; these take --shares")
    if shares is not None and True not in coded:
        raise ParameterError("--shares is of coded plans, as k4-coded; these take --rates")
    run = GlueSettings(model=model, **given(settings))
    with progress_bars() as bars:

        def show(step: Progress) -> None:
            bars(step)
            if step.phase == CELLS_PHASE and not sys.stderr.isatty():  # into a log, once a cell
                click.echo(
                    f"{step.done:,} of {counted(step.total, 'cell')} {step.detail}", err=True
                )

        try:
            cells = run_glue(output, run, grid, data=data, progress=show)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"Interrupted; what was measured is kept in {output}, and the same command goes on."
            ) from None
    if as_json:
        print_json({"run": str(output), "cells": [_plain(cell) for cell in cells]})
        return
    click.echo(f"{counted(len(cells), 'cell')} measured: {output}")
    click.echo(f"Tables and figures of them: subspace-atlas glue-report {output}")


def _plain(cell: GlueCell) -> dict[str, Any]:
    return {name: value for name, value in asdict(cell).items() if name != "draws"}
