"""Figures of a GLUE run: accuracy drop against compression rate, a curve for each plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.colours import subspace_colour
from engine.errors import MissingDependencyError
from engine.evaluation.glue.cells import Stage
from engine.evaluation.glue.drops import WHOLE_STAGES
from engine.evaluation.glue.ensembles import is_ensemble
from engine.evaluation.glue.missing import STAGE_TITLES
from engine.evaluation.glue.plans import GluePlan, PlanFamily
from engine.evaluation.glue.summary import AVERAGE, GlueSummary
from engine.evaluation.tasks import GLUE_TASKS
from engine.folders import write_file

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_INK, _QUIET, _GRID = "#1F2937", "#6B7280", "#E5E7EB"
_LOOKS: dict[str, dict[str, Any]] = {
    "svd": {"color": _INK, "linestyle": "--", "marker": "o", "markerfacecolor": "white"},
    "svd-weighted": {"color": _QUIET, "linestyle": ":", "marker": "o", "markerfacecolor": "white"},
}
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_PANEL = (3.6, 2.75)  # inches
_LEGEND = 2.1
_STYLE = {
    "svg.hashsalt": "subspace-atlas",  # or the names inside would be random
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": _QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "grid.color": _GRID,
}


def draw_task(summary: GlueSummary, task: str, path: Path) -> None:
    """Write the figure of a task, or of the average, as SVG; the same points, the same bytes.

    A row of panels for each family of plans, each beside the SVDs; a column before further
    training, one after it. Bands are the intervals.

    Args:
        summary: Of a run.
        task: One of `GlueSummary.tasks`, or `AVERAGE`.
        path: Where to.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependencyError(
            "figures are drawn with matplotlib: pip install 'subspace-atlas[glue]'"
        ) from None
    stages: list[Stage] = [stage for stage in WHOLE_STAGES if summary.rates(task, stage)]
    plans = [plan for plan in summary.plans if any(summary.curve(task, s, plan) for s in stages)]
    families = _families(plans)
    with style.context(["default", _STYLE]):
        size = (_PANEL[0] * len(stages) + _LEGEND, _PANEL[1] * len(families) + 0.45)
        figure = Figure(figsize=size, layout="constrained")
        figure.suptitle(_title(summary, task), x=0.012, ha="left", fontsize=12, fontweight="bold")
        panels = figure.subplots(
            len(families), len(stages), sharex="col", sharey="col", squeeze=False
        )
        for row, family in enumerate(families):
            shown = [plan for plan in plans if _is_shown(plan, family)]
            for column, stage in enumerate(stages):
                panel = panels[row, column]
                _draw_panel(panel, summary, task, stage, shown)
                if not row:
                    panel.set_title(STAGE_TITLES[stage].capitalize(), loc="left")
                if row == len(families) - 1:
                    panel.set_xlabel(f"share of the embedding's {_what(families)} removed")
            panels[row, 0].set_ylabel("drop, points (lower is better)")
            _draw_legend(list(panels[row]), family)
        facts = {"Date": None, "Creator": None, "Title": _title(summary, task)}
        write_file(path, lambda file: figure.savefig(file, format="svg", metadata=facts))


def _draw_panel(
    panel: Axes, summary: GlueSummary, task: str, stage: Stage, plans: list[str]
) -> None:
    from matplotlib.ticker import PercentFormatter

    panel.grid(axis="y", linewidth=0.6)
    panel.axhline(0, color=_INK, linewidth=0.8)
    ks = sorted({GluePlan.parse(plan).k for plan in summary.plans if not is_ensemble(plan)} - {1})
    for plan in plans:
        points = summary.curve(task, stage, plan)
        if not points:
            continue
        rates = [point.rate for point in points]
        index = 0 if plan in _LOOKS else ks.index(GluePlan.parse(plan).k)
        look = _LOOKS.get(plan) or {
            "color": subspace_colour(index, "light"),
            "marker": _MARKERS[index % len(_MARKERS)],
        }
        lows, highs = ([getattr(p.drop, side) for p in points] for side in ("low", "high"))
        panel.fill_between(rates, lows, highs, color=look["color"], alpha=0.1, linewidth=0)
        drops = [point.drop.value for point in points]
        label = "SVD, token weights" if plan == "svd-weighted" else ""
        label = label or ("SVD" if plan == "svd" else f"k = {GluePlan.parse(plan).k}")
        panel.plot(rates, drops, label=label, linewidth=1.6, markersize=4.5, **look)
    panel.set_xticks(summary.rates(task, stage))
    panel.xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))


def _draw_legend(panels: Sequence[Axes], family: PlanFamily) -> None:
    """Right of the last panel: the curves of all, since a stage may lack some."""
    title = family.title.replace(", ", ",\n")
    named: dict[str, Artist] = {}
    for panel in panels:
        lines, labels = panel.get_legend_handles_labels()
        named = {**dict(zip(labels, lines, strict=True)), **named}
    order = sorted(named, key=lambda label: (label.startswith("k"), len(label), label))
    legend = panels[-1].legend(
        [named[label] for label in order],
        order,
        title=title,
        loc="upper left",
        bbox_to_anchor=(1.02, 1),
        frameon=False,
        handlelength=2.6,
    )
    legend.get_title().set_fontweight("bold")
    legend.set_alignment("left")


def _families(plans: list[str]) -> list[PlanFamily]:
    """Those with a plan of k subspaces; the plain one where there are only SVDs."""
    parsed = [GluePlan.parse(plan) for plan in plans if not is_ensemble(plan)]
    found = {plan.family for plan in parsed if plan.k > 1}
    return sorted(found) or [PlanFamily(weighted=any(plan.weighted for plan in parsed))]


def _what(families: list[PlanFamily]) -> str:
    """What is counted: bytes of coded plans, numbers of others, as the rates of each are."""
    kinds = {family.coded: None for family in families}
    return " or ".join("bytes" if coded else "numbers" for coded in kinds)


def _is_shown(plan: str, family: PlanFamily) -> bool:
    """The SVD everywhere, the weighted one where subspaces have the weights as well."""
    if is_ensemble(plan):
        return False
    parsed = GluePlan.parse(plan)
    if parsed.k == 1:
        return family.weighted or not parsed.weighted
    return parsed.family == family


def _title(summary: GlueSummary, task: str) -> str:
    if task != AVERAGE:
        return f"{GLUE_TASKS[task].title}: {GLUE_TASKS[task].asks}"
    counts = [len(tasks) for tasks in summary.averaged.values() if tasks]
    if len(set(counts)) == 1:
        return f"Average of {counts[0]} {'task' if counts[0] == 1 else 'tasks'}"
    return f"Average of {' tasks before and '.join(map(str, counts))} after further training"
