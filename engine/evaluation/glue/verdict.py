"""What a GLUE run says, in sentences: against our own aims, the paper, and chance."""

from __future__ import annotations

from dataclasses import dataclass

from engine.evaluation.glue.cells import Stage
from engine.evaluation.glue.ensembles import BEST_PLAN, is_ensemble, plan_title
from engine.evaluation.glue.plans import GluePlan, complement
from engine.evaluation.glue.summary import AVERAGE, GluePoint, GlueSummary
from engine.evaluation.scores import Interval
from engine.evaluation.tasks import GLUE_TASKS

AIMED_RATIOS = {0.4: 0.25, 0.8: 0.5}
"""Our aim, by rate: the most that a plan drops before further training, of the SVD's drop."""
CODED_RATE, CODED_BAR = 0.95, 0.5
"""Our aim for coded plans after further training: at most these points at 5 % of the bytes."""
PAPER_RATE, PAPER_BAR = 0.4, 0.5
"""The paper's DistilBERT drops 0.5 points on average at this rate, after further training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GlueChoice:
    """The average at one rate: the SVD and the best of ours.

    Attributes:
        svd: The SVD's point.
        chosen: The plan that the training set chooses, for each task and seed; the only plan of
            subspaces where there is one.
        least: The plan with the least drop on the dev rows: chosen by what it is measured on, so
            that chance flatters it a little.
    """

    svd: GluePoint
    chosen: GluePoint
    least: GluePoint


def choose_at(summary: GlueSummary, stage: Stage, rate: float) -> GlueChoice | None:
    """The average at a rate of a stage; None without an SVD or subspaces there."""
    points = {point.plan: point for point in summary.at(AVERAGE, stage, rate)}
    ours = [p for name, p in points.items() if not is_ensemble(name) and GluePlan.parse(name).k > 1]
    ensembles = [point for name, point in points.items() if is_ensemble(name)]
    if "svd" not in points or not ours or (len(ours) > 1 and not ensembles):
        return None
    chosen = points.get(BEST_PLAN) or (ensembles or ours)[-1]
    least = min(ours, key=lambda point: point.drop.value)
    return GlueChoice(svd=points["svd"], chosen=chosen, least=least)


def say_verdict(summary: GlueSummary) -> tuple[str, ...]:
    """A sentence or two for each stage and rate of the average, rising."""
    found: list[str] = []
    stages: tuple[Stage, Stage] = ("compressed", "retrained")
    for stage in stages:
        tasks = len(summary.averaged[stage])
        for rate in summary.rates(AVERAGE, stage):
            choice = choose_at(summary, stage, rate)
            if choice is not None:
                found.append(_say(choice, tasks))
            found += (_say_coded(point, tasks) for point in summary.at(AVERAGE, stage, rate))
    return tuple(filter(None, found))


def show_interval(interval: Interval) -> str:
    """A figure in points, with its interval: 0.52 [0.10, 0.93]."""
    return f"{_points(interval.value)} [{_points(interval.low)}, {_points(interval.high)}]"


def _say(choice: GlueChoice, tasks: int) -> str:
    chosen, svd, least = choice.chosen, choice.svd, choice.least
    when = "Before" if chosen.stage == "compressed" else "After"
    parts = [
        f"{when} further training, {svd.rate:.0%} removed: SVD drops {show_interval(svd.drop)} "
        f"points, {plan_title(chosen.plan)} drops {show_interval(chosen.drop)}; "
        f"{_say_gain(chosen, 'svd')}."
    ]
    if chosen.gain("svd-weighted"):
        parts.append(f"Beside the SVD with token weights, {_say_gain(chosen, 'svd-weighted')}.")
    if least.plan != chosen.plan and least.drop != chosen.drop:
        parts.append(
            f"Least on the dev rows themselves: {plan_title(least.plan)}, "
            f"{show_interval(least.drop)}."
        )
    if _never_differs(svd) and _never_differs(chosen):
        parts.append(
            "No score differs in any resample, as where networks always guess the same class: of "
            "our aim nothing can be told."
        )
        return " ".join(parts)
    goals = _say_ratio(choice), _say_bar(chosen, tasks)
    return " ".join([*parts, *(goal for goal in goals if goal)])


def _say_coded(point: GluePoint, tasks: int) -> str:
    """Of a coded plan, which need not stand beside an SVD."""
    if is_ensemble(point.plan) or not GluePlan.parse(point.plan).coded:
        return ""
    when = "Before" if point.stage == "compressed" else "After"
    said = (
        f"{when} further training, {complement(point.rate):.2%} of the bytes kept "
        f"({point.stored_bytes:,}): {plan_title(point.plan)} drops {show_interval(point.drop)} "
        "points."
    )
    if point.stage != "retrained" or abs(point.rate - CODED_RATE) > 1e-9:
        return said
    seeds = " It rests on one seed of training." if len(point.seeds) == 1 else ""
    reached = _over(tasks, _reached(point.drop, CODED_BAR))
    return f"{said} Our aim is at most {CODED_BAR}: {reached}.{seeds}"


def _never_differs(point: GluePoint) -> bool:
    return point.drop.low == point.drop.high == 0


def _say_gain(point: GluePoint, baseline: str) -> str:
    gain = point.gain(baseline)
    if gain is None:
        return "they have no seeds in common"
    if point.stage == "retrained" and gain.of_one_seed:
        return (
            f"the difference, {show_interval(gain.less)}, rests on one seed of training: what "
            "another would change is not known"
        )
    if gain.inside_noise:
        return f"the difference, {show_interval(gain.less)}, is inside noise"
    if gain.less.value < 0:
        less = Interval(value=-gain.less.value, low=-gain.less.high, high=-gain.less.low)
        return f"that is {show_interval(less)} more, outside noise"
    return f"that is {show_interval(gain.less)} less, outside noise"


def _say_ratio(choice: GlueChoice) -> str:
    rate = next((rate for rate in AIMED_RATIOS if abs(rate - choice.svd.rate) < 1e-9), None)
    if rate is None or choice.svd.stage != "compressed":
        return ""
    aim = f"Our aim is at most {AIMED_RATIOS[rate]:.0%} of the SVD's drop"
    gain = choice.chosen.gain()
    if gain is None or gain.ratio is None:
        return f"{aim}; that cannot be told, for the SVD's drop itself is inside noise."
    ratio = gain.ratio
    value, low, high = (
        f"{figure:.0%}".replace("-", "−") for figure in (ratio.value, ratio.low, ratio.high)
    )
    shown = f"it is {value} [{low}, {high}]"
    return f"{aim}; {shown}: {_reached(ratio, AIMED_RATIOS[rate])}."


def _say_bar(point: GluePoint, tasks: int) -> str:
    if point.stage != "retrained" or abs(point.rate - PAPER_RATE) > 1e-9:
        return ""
    reached = _over(tasks, _reached(point.drop, PAPER_BAR))
    return f"The paper's bar here is {PAPER_BAR} points: {reached}."


def _over(tasks: int, reached: str) -> str:
    """Names the tasks where they are not all nine."""
    if tasks == len(GLUE_TASKS):
        return reached
    return f"over {'this one' if tasks == 1 else f'these {tasks}'} of the nine tasks {reached}"


def _reached(figure: Interval, most: float) -> str:
    if figure.high <= most:
        return "reached, by the whole interval"
    if figure.value <= most:
        return "reached, but the interval goes beyond it"
    inside = figure.low <= most
    return "missed, but the interval goes below it" if inside else "missed"


def _points(value: float) -> str:
    shown = f"{value:.2f}"
    return "0.00" if shown == "-0.00" else shown.replace("-", "−")
