"""A plan that was made because of what was expected of it: does it keep that?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from engine import EmbeddingTable, EngineError
from engine.evaluation.checks import CHECKS
from engine.evaluation.results import CheckResult, Score
from engine.evaluation.subject import Subject
from engine.frontier import BytePoint, SizeCurves
from pages.parts import evaluations, jobs, state
from pages.parts.check_chart import printed_loss
from pages.parts.state import Source, View
from pages.parts.wording import decimals, energy, interval, literal, lost, short_bytes

_PROMISE = "promise"
_TOLERANCE = 0.1  # what is read off between two sizes is mostly within a tenth
_EXACT = 1e-4  # what is shown has two decimals of a per cent
_MOST_KEPT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Promise:
    """What is expected of a plan.

    Attributes:
        source: The table it is of.
        job: That makes it; None where it was refused.
        name: Of the plan.
        value: What it is to lose or to score.
        weighted: Whether that is the weighted error.
        check: The quick check that measures it; None of errors.
        run: The plan, once it is made.
        cannot: Why it cannot be checked.
    """

    source: Source
    job: str | None
    name: str
    value: float
    weighted: bool
    check: str | None
    run: str | None = None
    cannot: str = ""


@st.cache_resource(show_spinner=False)
def _kept() -> dict[str, _Promise]:
    """By the job that makes the plan, for a session that comes back to it by its link."""
    return {}


def _kept_of(run: str | None) -> _Promise | None:
    """What was promised of a run, where it is one that was told to make."""
    return next((one for one in _kept().values() if run is not None and one.run == run), None)


def make(source: Source, curves: SizeCurves, point: BytePoint, plan: dict[str, Any]) -> None:
    """Start the job that makes a plan, and keep what is expected of it."""
    promise = _Promise(
        source=source,
        job=jobs.start("compress", source, {"config": plan}),
        name=point.name,
        value=curves.expected(point),
        weighted=curves.weighted,
        check=curves.check,
    )
    st.session_state[_PROMISE] = promise
    if promise.job is not None:
        kept = _kept()
        kept[promise.job] = promise
        for old in list(kept)[:-_MOST_KEPT]:
            kept.pop(old, None)


def follow(source: Source, table: EmbeddingTable) -> None:
    """Show the jobs of this session, and how the plan that was made last kept its promise."""
    promise: _Promise | None = st.session_state.get(_PROMISE)
    if promise is None:  # a page that was loaded anew finds its job again, and by it the promise
        promise = _kept().get(jobs.watched("compress") or "") or _kept_of(state.current_run_id())
    if promise is None or promise.source != source:
        jobs.show_others("sweep")
        return
    if promise.run is None:
        promise = _await(promise, table)
        jobs.show_others("sweep", "compress")
        if promise is None or promise.run is None:
            return
    elif promise.check is not None:
        jobs.outcome("evaluate", source)
        jobs.show_others("sweep", "evaluate")
    else:
        jobs.show_others("sweep")
    try:
        view = state.named_view(table, promise.run)
    except EngineError:  # it was deleted since
        _forget()
        return
    try:
        _show(promise, table, view)
    except EngineError as error:  # the store cannot be read
        st.warning(literal(str(error)), icon=":material/warning:")


def _await(promise: _Promise, table: EmbeddingTable) -> _Promise | None:
    """The promise with its run, where the job is done; it may have ended without any."""
    if jobs.watched("compress") not in (None, promise.job):
        _forget()  # another plan is being made
        return None
    done = jobs.outcome("compress", promise.source) or jobs.result_of(promise.job)
    if done is None:
        if not jobs.is_active("compress") and not jobs.has_message("compress"):
            _forget()
            return None
        return promise
    state.choose_run(done["run"])
    promise = replace(promise, run=done["run"])
    if promise.check is not None:
        promise = _begin_check(promise, promise.check, table)
    st.session_state[_PROMISE] = promise
    if promise.job is not None:
        _kept()[promise.job] = promise
    return promise


def _begin_check(promise: _Promise, check: str, table: EmbeddingTable) -> _Promise:
    alone = bool(promise.source.tensor or promise.source.tokens)
    cannot = CHECKS[check].unavailable(Subject(table, alone=alone))
    if cannot is None and jobs.is_active("evaluate"):
        cannot = "other checks were running; start it on Accuracy"
    if cannot is None:
        jobs.start("evaluate", promise.source, {"run": promise.run, "checks": [check]})
    return replace(promise, cannot=cannot or "")


def _show(promise: _Promise, table: EmbeddingTable, view: View) -> None:
    stored = view.figures["stored_bytes"]
    said = f"**{literal(promise.name)}** is made, in {short_bytes(stored)}"
    with st.container(border=True, key="promise"):
        if promise.check is None:
            _show_error(promise, view, said)
        else:
            _show_check(promise, promise.check, table, said)
        row = st.container(horizontal=True)
        if row.button("See it on the map", icon=":material/scatter_plot:", key="promise-map"):
            st.switch_page("pages/explore.py", query_params=_link(promise))
        if row.button("Its accuracy", icon=":material/fact_check:", key="promise-accuracy"):
            st.switch_page("pages/accuracy.py", query_params=_link(promise))
        if row.button("Put away", icon=":material/close:", key="promise-away"):
            _forget()
            _kept().pop(promise.job or "", None)
            st.rerun()


def _show_error(promise: _Promise, view: View, said: str) -> None:
    error = view.figures["weighted_error" if promise.weighted else "relative_error"]
    if error is None:  # a plan without weights, which a weighted sweep has measured by them
        found = f"{lost(view.figures['relative_error'])} of the energy, unweighted"
        st.markdown(
            f":material/check_circle: {said}. It loses **{found}**; weighted by use, "
            f"{lost(promise.value)} is expected, which is not measured of plans without token "
            "weights."
        )
        return
    of = energy(weighted=promise.weighted)
    kept = error <= (1 + _TOLERANCE) * promise.value + _EXACT
    st.markdown(
        f"{_icon(kept)} {said}. It loses **{lost(error)}** of {of}; "
        f"{lost(promise.value)} was expected"
        f"{'' if kept else ', so that it loses more'}."
    )


def _show_check(promise: _Promise, check: str, table: EmbeddingTable, said: str) -> None:
    title = CHECKS[check].title
    if promise.cannot:
        st.markdown(f":material/check_circle: {said}. {promise.value:.2f} is expected of it.")
        st.caption(f":material/block: {literal(f'{title} cannot be run: {promise.cannot}.')}")
        return
    found = evaluations.newest(evaluations.measured_of(table), promise.run).get(check)
    if found is None:
        waiting = jobs.is_active("evaluate")
        why = evaluations.failures_of(table, promise.run).get(check, "")
        failed = f"It was not checked. {literal(why)}"
        ends = "It is being checked." if waiting else failed
        st.markdown(f":material/pending: {said}. {promise.value:.2f} is expected of it. {ends}")
        return
    ours = next(score for score in found.result.scores if score.role == "compressed")
    kept = keeps(found.result, ours, promise.value)
    st.markdown(f"{_icon(kept)} {said}. {_scored(found.result, ours, promise.value)}")
    st.caption(
        "On the same pairs as what was expected: it says that the plan is what was promised."
    )


def keeps(result: CheckResult, ours: Score, expected: float) -> bool:
    """Whether a plan scores what was expected, but for chance.

    By its loss, whose interval is of pairs and so much narrower than that of the score.
    """
    whole = result.scores[0].value.value
    wanted = whole - expected if result.higher_is_better else expected - whole
    return result.loss(ours).low <= wanted


def _icon(kept: bool) -> str:
    return ":material/check_circle:" if kept else ":material/warning:"


def _scored(result: CheckResult, ours: Score, expected: float) -> str:
    loss = printed_loss(result, ours)
    return (
        f"It scores **{decimals(ours.value.value)}** ({literal(result.metric)}); {expected:.2f} "
        f"was expected. Below the table itself: {decimals(loss.value)} "
        f"{literal(interval(loss))}, the 95 % interval of {result.n:,} items."
    )


def _link(promise: _Promise) -> dict[str, str]:
    return {"run": promise.run or ""}


def _forget() -> None:
    st.session_state.pop(_PROMISE, None)
