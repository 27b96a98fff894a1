"""Stored results of the paper's protocol on GLUE: a sentence, a chart, the table behind it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.evaluation.glue.cells import Stage
from engine.evaluation.glue.ensembles import BEST_PLAN, family_of, is_ensemble, plan_title
from engine.evaluation.glue.plans import GluePlan
from engine.evaluation.glue.summary import AVERAGE, GluePoint, GlueSummary
from engine.evaluation.tasks import GLUE_TASKS
from pages.parts.glue_chart import GlueLine, glue_chart
from pages.parts.wording import decimals, interval, literal, short_bytes

_STAGES: dict[str, Stage] = {"Before": "compressed", "After": "retrained"}
_AVERAGE = "Average"
_SVDS = ("svd", "svd-weighted")
_FOLDER_WIDTH = 600  # pixels
_TOLD_RATE = 0.4  # the paper's own headline


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """What is looked at; the lines are plans."""

    summary: GlueSummary
    task: str
    stage: Stage
    lines: tuple[str, ...]

    @property
    def points(self) -> tuple[GluePoint, ...]:
        """All of it, plan after plan by rising rate."""
        return tuple(
            point
            for plan in self.summary.plans
            for point in self.summary.curve(self.task, self.stage, plan)
        )


def introduce_glue() -> str:
    """Say what the protocol is; the folder of the user's own run of it, empty without one."""
    st.markdown(
        "The paper's own test: fine-tune the whole model on a task, shrink its embedding, measure; "
        "then train on for two epochs and measure again, beside the whole network trained as long."
    )
    folder = st.text_input(
        "A run of your own",
        key="accuracy-own-run",
        bind="query-params",
        placeholder="a folder on this machine; empty for the results that come with the app",
        width=_FOLDER_WIDTH,
        help="The folder that `subspace-atlas glue` measures into. A run that is not over will do.",
    )
    return folder.strip()


def show_glue(summaries: list[GlueSummary], model: str) -> None:
    """The results of one model at a time, as chosen.

    Args:
        summaries: All there are.
        model: The one to begin with, where it is among them.
    """
    if not summaries:
        st.info(
            "This copy comes without stored results. `subspace-atlas glue` measures a model; name "
            "the folder it measures into above.",
            icon=":material/info:",
        )
        return
    bar = _begin_bar()
    by_name = {summary.model: summary for summary in summaries}
    name = bar.selectbox(
        "Model",
        names := list(by_name),
        index=names.index(model) if model in by_name else 0,
        key="accuracy-model",
        bind="query-params",
        width=180,
    )
    _show(_choose(by_name[name], bar))


def show_own_run(summary: GlueSummary) -> None:
    """The results of the user's own run."""
    st.markdown(f"**{literal(summary.model)}**, {_count_cells(summary)}.")
    if not summary.points:
        st.info(
            "Only whole networks were measured so far, or smaller ones without the whole beside "
            "them: there is nothing to compare yet. `subspace-atlas glue` goes on where it was.",
            icon=":material/info:",
        )
        return
    _show(_choose(summary, _begin_bar()))


def _count_cells(summary: GlueSummary) -> str:
    count = len(summary.cells)
    return f"{count:,} {'network' if count == 1 else 'networks'} measured so far"


def _begin_bar() -> DeltaGenerator:
    return st.container(horizontal=True, vertical_alignment="bottom", gap="medium")


def _show(chosen: _Chosen) -> None:
    if not chosen.points:
        st.info("Nothing was measured here. Choose another task, or before instead of after.")
        return
    st.markdown(f":material/balance: {_say_headline(chosen)}")
    _show_chart(chosen)
    _show_notes(chosen)
    _show_table(chosen)


def _choose(summary: GlueSummary, bar: DeltaGenerator) -> _Chosen:
    tasks = {GLUE_TASKS[task].title: task for task in summary.tasks}
    if any(summary.averaged.values()):
        tasks = {_AVERAGE: AVERAGE, **tasks}
    title = bar.selectbox("Task", list(tasks), key="accuracy-task", bind="query-params", width=180)
    stage = bar.segmented_control(
        "Further fine-tuning",
        list(_STAGES),
        default="Before",
        required=True,
        key="accuracy-stage",
        bind="query-params",
        help="Before: the fine-tuned network with its embedding made smaller, nothing trained "
        "since. After: that network after two more epochs, beside the whole one after the same.",
    )
    with bar:
        lines = _choose_lines(summary)
    return _Chosen(summary=summary, task=tasks[title], stage=_STAGES[str(stage)], lines=lines)


def _say_headline(chosen: _Chosen) -> str:
    """The plan chosen without a look at dev rows beside the SVDs, at the rate the paper tells."""
    rates = chosen.summary.rates(chosen.task, chosen.stage)
    rate = min(rates, key=lambda rate: abs(rate - _TOLD_RATE))
    points = {p.plan: p for p in chosen.summary.at(chosen.task, chosen.stage, rate)}
    ensembles = [plan for plan in points if is_ensemble(plan)]
    ours = [plan for plan in points if plan not in _SVDS]
    named = BEST_PLAN if BEST_PLAN in points else next(reversed([*ours, *ensembles]), None)
    if named is None and "svd-weighted" in points:  # a run of nothing else
        named = "svd-weighted"
    svds = [svd for svd in _SVDS if svd in points and svd != named]
    clauses = [f"the **{literal(plan_title(svd))}** drops {_drop(points[svd])}" for svd in svds]
    if named is not None:
        clauses.append(f"**{literal(plan_title(named))}** {_drop(points[named])}")
        clauses += filter(None, (_say_less(chosen, points[named], svd) for svd in svds))
    asked = "" if chosen.task == AVERAGE else f"*{GLUE_TASKS[chosen.task].asks.capitalize()}* "
    kinds = {family_of(plan).coded: None for plan in points}
    what = " or ".join("bytes" if coded else "numbers" for coded in kinds)
    model = literal(chosen.summary.model)
    return f"{asked}Of {model}, at {rate:.0%} fewer {what}: {'; '.join(clauses)}."


def _say_less(chosen: _Chosen, point: GluePoint, svd: str) -> str:
    """How much less a plan drops than an SVD; nothing where they have no seeds in common."""
    gain = point.gain(svd)
    if gain is None:
        return ""
    said = "inside the noise" if gain.inside_noise else "beyond chance"
    if chosen.stage == "retrained" and gain.of_one_seed:
        said = "of one seed of training: what another would change is not known"
    return f"{decimals(gain.less.value)} less than the {literal(plan_title(svd))}, {said}"


def _drop(point: GluePoint) -> str:
    return f"{decimals(point.drop.value)} points {literal(interval(point.drop))}"


def _show_chart(chosen: _Chosen) -> None:
    plans = [plan for plan in chosen.summary.plans if not is_ensemble(plan)]
    ks = sorted({GluePlan.parse(plan).k for plan in plans} - {1})
    lines = [
        GlueLine(plan=plan, name=_line_name(plan), points=points)
        for plan in chosen.lines
        if (points := chosen.summary.curve(chosen.task, chosen.stage, plan))
    ]
    st.plotly_chart(
        glue_chart(lines, ks=ks, theme=st.context.theme.type or "light"),
        key="glue",
        config={"displaylogo": False},
        alt="Accuracy drop against compression rate, a line a plan with its 95 % interval. The "
        "same figures are in the table below.",
    )


def _choose_lines(summary: GlueSummary) -> tuple[str, ...]:
    """The SVDs, and of the subspaces one family at a time: all at once hide each other."""
    families: dict[str, list[str]] = {}
    for plan in summary.plans:
        if plan not in _SVDS and plan != BEST_PLAN:
            families.setdefault(family_of(plan).title, []).append(plan)
    svds = [plan for plan in summary.plans if plan in _SVDS]
    if not families:
        return tuple(svds)
    family = list(families)[-1]
    if len(families) > 1:
        family = st.selectbox(
            "Subspaces with",
            list(families),
            index=len(families) - 1,
            key="accuracy-family",
            bind="query-params",
            width=320,
        )
    return (*svds, *families[family])


def _line_name(plan: str) -> str:
    """Short: what the lines drawn have in common stands above them."""
    if is_ensemble(plan):
        return "best k by training set"
    return plan_title(plan) if plan in _SVDS else f"k = {GluePlan.parse(plan).k}"


def _show_notes(chosen: _Chosen) -> None:
    summary = chosen.summary
    notes = summary.notes
    if chosen.task == AVERAGE:
        averaged = summary.averaged.get(chosen.stage, ())
        titles = ", ".join(GLUE_TASKS[task].title for task in averaged)
        st.caption(f":material/info: The mean over {titles}.")
        notes = {task: notes[task] for task in averaged if task in notes}
    else:
        notes = {task: found for task, found in notes.items() if task == chosen.task}
    for task, found in notes.items():
        st.caption(f":material/info: {GLUE_TASKS[task].title}: {literal('; '.join(found))}.")
    if summary.missing:
        with st.expander("What was not measured"):
            for text in summary.missing:
                st.caption(literal(text))


def _show_table(chosen: _Chosen) -> None:
    points = chosen.points
    gains = [point.gain() for point in points]
    frame = pd.DataFrame(
        {
            "Plan": [plan_title(point.plan) for point in points],
            "Rate": [point.rate for point in points],
            "Stored": [short_bytes(point.stored_bytes) for point in points],
            "Score": [point.score for point in points],
            "Drop": [f"{decimals(point.drop.value)} {interval(point.drop)}" for point in points],
            "Less than SVD by": [
                "" if gain is None else f"{decimals(gain.less.value)} {interval(gain.less)}"
                for gain in gains
            ],
            "Seeds": [len(point.seeds) for point in points],
        }
    )
    st.markdown("**Every figure**")
    st.dataframe(
        frame,
        hide_index=True,
        column_config={
            "Rate": st.column_config.NumberColumn(format="percent"),
            "Score": st.column_config.NumberColumn(format="%.2f", help="Points of 100"),
            "Drop": st.column_config.TextColumn(
                help="Of the score against the whole network's, with its 95 % interval over "
                "resampled dev rows; what other seeds of training would change is not in it"
            ),
            "Less than SVD by": st.column_config.TextColumn(
                help="How many points fewer the plan drops than the SVD of that rate; an interval "
                "around zero is inside the noise"
            ),
        },
    )
    st.download_button(
        "Download every task as CSV",
        _csv_frame(chosen.summary).to_csv(index=False).encode(),
        f"{chosen.summary.model.replace('/', '-')}-glue.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


def _csv_frame(summary: GlueSummary) -> pd.DataFrame:
    """Every point of every task, the average among them."""
    return pd.DataFrame(
        [
            {
                "task": point.task,
                "stage": point.stage,
                "plan": point.plan,
                "rate": point.rate,
                "score": point.score,
                "drop": point.drop.value,
                "drop_low": point.drop.low,
                "drop_high": point.drop.high,
                "seeds": len(point.seeds),
                "parameters": point.parameters,
                "stored_bytes": point.stored_bytes,
            }
            for point in summary.points
        ]
    )
