"""Ensembles: of several plans, the one that scores best on the training set.

They are no networks of their own: for each task and seed an ensemble is one of its members, chosen
without a look at the dev rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engine.evaluation.glue.cells import CellKey, GlueCell
from engine.evaluation.glue.plans import GluePlan, PlanFamily

BEST_PLAN = "best"
"""Of all plans with k ≥ 2."""
_BEST_K = "best-k"


def family_of(plan: str) -> PlanFamily:
    """The family of a plan, or that of which an ensemble is."""
    return PlanFamily(**{kind: kind in plan.split("-") for kind in PlanFamily._fields})


def ensemble_name(family: PlanFamily) -> str:
    """The name of a family's ensemble: ``best-k``, ``best-k-optimal-weighted``, …."""
    return "-".join([_BEST_K, *(kind for kind, holds in family._asdict().items() if holds)])


def is_ensemble(plan: str) -> bool:
    """Whether a name is that of an ensemble."""
    return plan.startswith(BEST_PLAN)


def plan_title(plan: str) -> str:
    """As charts and tables call a plan or an ensemble."""
    if plan == BEST_PLAN:
        return "best plan by training set"
    if not is_ensemble(plan):
        return GluePlan.parse(plan).title
    family = family_of(plan)
    parts = ["best k by training set"]
    parts += ["best dimensions"] * family.optimal + ["coded"] * family.coded
    return ", ".join(parts + ["token weights"] * family.weighted)


def plan_order(plan: str) -> tuple[int, ...]:
    """By which plans are sorted: the SVDs, then family by family, each with its ensemble."""
    if plan == BEST_PLAN:
        return (2,)
    if is_ensemble(plan):
        return (1, *family_of(plan), 1, 0)
    parsed = GluePlan.parse(plan)
    return (int(parsed.k > 1), *parsed.family, 0, parsed.k)


def ensemble_cells(cells: Sequence[GlueCell]) -> list[GlueCell]:
    """The cells of all ensembles: copies of the chosen members', under the ensemble's name.

    A family that was measured at one rate with two or more k is an ensemble there. It stands only
    for the tasks and seeds at which every member was measured, so that the choice is everywhere
    among the same. Of equal training scores the first in `plan_order` is chosen.

    Args:
        cells: Of one run; those of whole networks and SVDs are passed over.
    """
    groups: dict[CellKey, dict[str, GlueCell]] = {}
    members: dict[tuple[str, float, str], set[str]] = {}
    for cell in cells:
        key = cell.key
        if not key.plan or cell.k == 1:
            continue
        for name in (ensemble_name(family_of(key.plan)), BEST_PLAN):
            groups.setdefault(replace(key, plan=name), {})[key.plan] = cell
            members.setdefault((key.stage, key.rate, name), set()).add(key.plan)
    found: list[GlueCell] = []
    for key, group in groups.items():
        asked = members[key.stage, key.rate, key.plan]
        if len(asked) > 1 and set(group) == asked and not _is_one_family(key.plan, asked):
            best = min(group.values(), key=lambda cell: (-cell.train_score, *_order(cell)))
            found.append(replace(best, key=key))
    return found


def _is_one_family(name: str, members: set[str]) -> bool:
    """Whether the choice among all plans is that among one family, which has a name already."""
    return name == BEST_PLAN and len(set(map(family_of, members))) == 1


def _order(cell: GlueCell) -> tuple[int, ...]:
    return plan_order(cell.key.plan)
