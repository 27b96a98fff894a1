"""`evaluate`: quick checks, each as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.table import Table

from engine.cli.options import check_options, given, plan_options, read_plan, source_options
from engine.cli.screen import plain_console, print_json, progress_bars
from engine.errors import EngineError
from engine.wording import short_bytes

if TYPE_CHECKING:
    from engine.evaluation.evaluating import Evaluation
    from engine.evaluation.results import CheckResult
    from engine.evaluation.scores import Interval
    from engine.evaluation.subject import Subject
    from engine.plans import CompressionConfig
    from engine.table import EmbeddingTable


@click.command()
@source_options
@click.option(
    "--task",
    "tasks",
    multiple=True,
    help="A check, more than one if given again: valence, words, fidelity, stsb, language, probe; "
    "valence and fidelity, as far as they can be run, when left out.",
)
@click.option("--list", "only_list", is_flag=True, help="Say of each check whether it can be run.")
@plan_options
@check_options
def evaluate(
    *,
    source: str,
    tensor: str | None,
    tokens: str | None,
    as_json: bool,
    tasks: tuple[str, ...],
    only_list: bool,
    **settings: Any,  # noqa: ANN401 - options of the checks and the plan, which check them
) -> None:
    """Check what the embedding of SOURCE is worth, as it came and made smaller.

    SOURCE is what compress takes, or a folder that it wrote. With a plan (--rate, -k, …) that is
    fitted first and compared with the original and the SVD of its size; a compressed folder is
    compared with the model it was made from. Without either only the original is measured.
    """
    from engine.evaluation.evaluating import evaluate as run
    from engine.evaluation.evaluating import open_subject
    from engine.evaluation.subject import CheckOptions
    from engine.sources import load_table

    told = given({name: settings.pop(name) for name in ("data", "text", "probe_task")})
    options = CheckOptions(**told, seed=settings["seed"])
    config = _plan(settings, source)
    model: str | EmbeddingTable = source
    if tensor is not None or tokens is not None:
        model = load_table(source, tensor=tensor, tokens=tokens)
    if only_list:
        _show_checks(open_subject(model, options)[0], as_json=as_json)
        return
    with progress_bars() as progress:
        found = run(model, tasks or None, config=config, options=options, progress=progress)
    if as_json:
        print_json(found.as_dict())
    else:
        _show(found)
    if found.failures:
        said = "; ".join(f"{name}: {why}" for name, why in found.failures.items())
        raise EngineError(f"the other checks are above; not finished: {said}")


def _plan(settings: dict[str, Any], source: str) -> CompressionConfig | None:
    """The plan, where any of its options was given; the seed is that of the checks as well."""
    context = click.get_current_context()
    named = {
        name
        for name in settings
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    return read_plan(settings, source) if named - {"seed"} else None


def _show_checks(subject: Subject, *, as_json: bool) -> None:
    from engine.evaluation.checks import CHECKS

    reasons = {check.name: check.unavailable(subject) for check in CHECKS.values()}
    if as_json:
        parts = ("name", "title", "metric", "tells", "blind")
        listed = [{part: getattr(check, part) for part in parts} for check in CHECKS.values()]
        print_json({"checks": [{**one, "unavailable": reasons[one["name"]]} for one in listed]})
        return
    console = plain_console()
    for check in CHECKS.values():
        reason = reasons[check.name]
        console.print(f"{check.name}: {check.title}, {check.metric}")
        console.print(f"  tells: {check.tells}")
        console.print(f"  cannot tell: {check.blind}")
        console.print("  can be run" if reason is None else f"  cannot be run: {reason}")


def _show(found: Evaluation) -> None:
    console = plain_console()
    for result in found.results:
        console.print(_table(found.name, result))
        for score in result.scores:
            lead = result.lead(score)
            if lead is not None:
                told = "" if lead.excludes_zero else ", inside noise"
                console.print(f"Ahead of {score.variant} by {ranged(lead)}{told}.")
        for note in result.notes:
            console.print(f"Note: {note}")
        for name, figures in result.details.items():
            if all(isinstance(value, int | float) for value in figures.values()):
                shown = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
                console.print(f"{name}: {shown}")
    for note in found.notes:
        console.print(f"Note: {note}")
    if len(found.variants) > 1:
        console.print(
            "In brackets where 95 % of resamples lie; drop: how much worse than the original; "
            "s: seconds."
        )


def _table(name: str, result: CheckResult) -> Table:
    from engine.evaluation.checks import CHECKS

    title = f"{CHECKS[result.check].title} of {name}: {result.metric}, {result.n:,} items"
    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in ("stored", "value", "drop", "s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for score in result.scores:
        table.add_row(
            score.variant,
            short_bytes(score.stored_bytes),
            ranged(score.value),
            "" if score.role == "original" else ranged(result.loss(score)),
            f"{score.seconds:.1f}",
        )
    return table


def ranged(interval: Interval) -> str:
    """A figure with where 95 % of resamples put it."""
    value, low, high = (
        f"{figure:.2f}".replace("-", "−")
        for figure in (interval.value, interval.low, interval.high)
    )
    return value if interval.low == interval.high else f"{value} [{low}, {high}]"
