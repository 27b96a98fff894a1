"""What a GLUE run has not measured, in words."""

from __future__ import annotations

from collections.abc import Sequence

from engine.evaluation.glue.cells import CellKey, Stage
from engine.evaluation.glue.drops import WHOLE_STAGES
from engine.evaluation.glue.ensembles import plan_order, plan_title
from engine.evaluation.tasks import GLUE_TASKS
from engine.wording import counted

STAGE_TITLES: dict[Stage, str] = {
    "tuned": "fine-tuned",
    "continued": "trained on",
    "compressed": "before further training",
    "retrained": "after further training",
}
_SHOWN = 3


def name_missing(keys: Sequence[CellKey]) -> tuple[str, ...]:
    """Compare what is there with the grid it spans: every plan and rate, on every task and seed.

    Args:
        keys: Of the cells of one run.

    Returns:
        Sentences on tasks without cells, on each task, seed and stage with gaps, and on those of
        which nothing is there.
    """
    there = set(keys)
    names = {key.task for key in keys}
    without = [task.title for task in GLUE_TASKS.values() if task.name not in names]
    found = [f"Not measured at all: {', '.join(without)}."] if without else []
    grid: dict[Stage, list[tuple[str, float]]] = {
        stage: sorted(
            {(key.plan, key.rate) for key in keys if key.stage == stage},
            key=lambda pair: (*plan_order(pair[0]), pair[1]),
        )
        for stage in WHOLE_STAGES
    }
    seen = {(key.task, key.seed) for key in keys}
    nothing: dict[Stage, list[str]] = {stage: [] for stage in grid}
    for task in (task for task in GLUE_TASKS if task in names):
        for seed in sorted(seed for name, seed in seen if name == task):
            for stage, pairs in grid.items():
                where = f"{GLUE_TASKS[task].title}, seed {seed}, {STAGE_TITLES[stage]}"
                whole = CellKey(task=task, seed=seed, stage=WHOLE_STAGES[stage])
                gaps = [
                    pair
                    for pair in pairs
                    if CellKey(task=task, seed=seed, stage=stage, plan=pair[0], rate=pair[1])
                    not in there
                ]
                if pairs and whole not in there and len(gaps) == len(pairs):
                    nothing[stage].append(f"{GLUE_TASKS[task].title} (seed {seed})")
                    continue
                if pairs and whole not in there:
                    found.append(f"{where}: the whole network; drops cannot be told without it.")
                if gaps:
                    found.append(f"{where}: {_name(gaps, of=len(pairs))}.")
    for stage, tasks in nothing.items():
        if tasks:
            found.append(f"Not measured {STAGE_TITLES[stage]}: {', '.join(tasks)}.")
    return tuple(found)


def _name(gaps: Sequence[tuple[str, float]], *, of: int) -> str:
    shown = [f"{plan_title(plan)} at {rate:.0%}" for plan, rate in gaps[:_SHOWN]]
    if len(gaps) == of:
        return f"all {of} compressed networks"
    rest = f" and {len(gaps) - _SHOWN} more" if len(gaps) > _SHOWN else ""
    return f"{len(gaps)} of {counted(of, 'compressed network')} ({'; '.join(shown)}{rest})"
