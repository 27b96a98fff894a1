"""What was measured before of the table at hand: the checks of finished evaluations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from engine import EmbeddingTable, EngineError
from engine.evaluation.results import CheckResult
from engine.runs import Run
from pages.parts import state

KIND = "evaluate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A finished check.

    Attributes:
        result: What it found.
        made: When, in local time.
        plan: The run that was measured; None for the plan that ships with the table.
    """

    result: CheckResult
    made: datetime
    plan: str | None


def measured_of(table: EmbeddingTable) -> tuple[Measured, ...]:
    """Every readable check of this table and any plan, newest first."""
    return tuple(
        item
        for run in state.run_store().list().of(KIND, table.fingerprint)
        for item in found_in(run)
    )


def found_in(run: Run) -> Iterator[Measured]:
    """The checks that one evaluation finished, where this version can read them."""
    made = run.record.created_at.astimezone()
    for values in run.record.figures.get("results", ()):
        try:
            result = CheckResult.from_dict(values)
        except (KeyError, TypeError):
            continue  # of another version; the next older one may be good
        if not result.scores:
            continue  # nothing to draw
        yield Measured(result=result, made=made, plan=run.record.config.get("run"))


def failures_of(table: EmbeddingTable, plan: str | None) -> dict[str, str]:
    """Checks that the last evaluation of a plan could not finish, and why."""
    for run in state.run_store().list().of(KIND, table.fingerprint):
        if run.record.config.get("run") == plan:
            failures: dict[str, str] = run.record.figures.get("failures", {})
            return failures
    return {}


def failures_in(run_id: str) -> dict[str, str]:
    """Checks that one evaluation could not finish, and why; none where it was deleted since."""
    try:
        figures = state.run_store().load(run_id).record.figures
    except EngineError:
        return {}
    return figures.get("failures", {})


def newest(measured: tuple[Measured, ...], plan: str | None) -> dict[str, Measured]:
    """Of one plan: the last finding of each check, the check measured last first."""
    found: dict[str, Measured] = {}
    for item in measured:
        if item.plan == plan:
            found.setdefault(item.result.check, item)
    return found


def of_other_plans(measured: tuple[Measured, ...], item: Measured) -> tuple[CheckResult, ...]:
    """The same check of other plans, the last of each, where it was made in the same way."""
    found: dict[str | None, CheckResult] = {}
    for other in measured:
        same = other.result.check == item.result.check
        if same and other.plan != item.plan and other.result.settings == item.result.settings:
            found.setdefault(other.plan, other.result)
    return tuple(found.values())
