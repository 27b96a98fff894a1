"""A plan that was made because of what was expected of it: does it keep that?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from engine import EmbeddingTable, EngineError
from engine.evaluation.checks import CHECKS
from engine.evaluation.results import CheckResult, Score
from engine.evaluation.scores import Interval
from engine.evaluation.subject import Subject
from engine.frontier import BytePoint, SizeCurves
from pages.parts import evaluations, jobs, state
from pages.parts.asking import Ask
from pages.parts.check_chart import printed_loss
from pages.parts.plan import take_over
from pages.parts.state import Source, View
from pages.parts.wording import decimals, energy, interval, literal, lost, short_bytes

_PROMISE = "promise"
_TOLERANCE = 0.1  # what is read off between two sizes is mostly within a tenth
_EXACT = 1e-4  # what is shown has two decimals of a per cent
_MOST_KEPT = 100
_READ_OFF = ", read off between two sizes that were measured"


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
        asked: What was asked for; None of a point that was clicked.
        between: Whether the value is read off between two sizes that were measured.
        run: The plan, once it is made.
        cannot: Why it cannot be checked.
    """

    source: Source
    job: str | None
    name: str
    value: float
    weighted: bool
    check: str | None
    asked: Ask | None = None
    between: bool = False
    run: str | None = None
    cannot: str = ""


@st.cache_resource(show_spinner=False)
def _kept() -> dict[str, _Promise]:
    """By the job that makes the plan, for a session that comes back to it by its link."""
    return {}


def _kept_of(run: str | None) -> _Promise | None:
    """What was promised of a run, where it is one that was told to make."""
    return next((one for one in _kept().values() if run is not None and one.run == run), None)


def make(
    source: Source,
    curves: SizeCurves,
    point: BytePoint,
    plan: dict[str, Any],
    asked: Ask | None = None,
) -> None:
    """Start the job that makes a plan, and keep what is expected of it.

    Args:
        source: Where the table comes from.
        curves: What was measured of it.
        point: What is to be made.
        plan: What makes it.
        asked: What it answers, if anything.
    """
    promise = _Promise(
        source=source,
        job=jobs.start("compress", source, {"config": plan}),
        name=point.name,
        value=curves.expected(point),
        weighted=curves.weighted,
        check=curves.check,
        asked=asked,
        between=point not in curves.points,
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
    most = None if promise.asked is None else promise.asked.stored_bytes
    if most is not None and stored <= most:
        said += f" of the {short_bytes(most)} asked for"
    with st.container(border=True, key="promise"):
        if promise.check is None:
            _show_error(promise, view, said)
        else:
            _show_check(promise, promise.check, table, said)
        row = st.container(horizontal=True)
        if row.button(
            "See it on the map",
            icon=":material/scatter_plot:",
            key="promise-map",
            on_click=take_over,  # before Compare draws those controls that both pages have
            args=(view.config,),
        ):
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
    most = None if promise.asked is None else promise.asked.loss
    answer = "" if most is None else f" {answer_of_error(most, error)}"
    kept = error <= (1 + _TOLERANCE) * promise.value + _EXACT
    st.markdown(
        f"{_icon(kept)} {said}. It loses **{lost(error)}** of {of}; "
        f"{lost(promise.value)} was expected{_READ_OFF if promise.between else ''}"
        f"{'' if kept else ', so that it loses more'}.{answer}"
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
    _show_score(promise, found.result, said)


def _show_score(promise: _Promise, result: CheckResult, said: str) -> None:
    """What was asked first, since that is what the plan was made for."""
    ours = next(score for score in result.scores if score.role == "compressed")
    loss, kept = printed_loss(result, ours), keeps(result, ours, promise.value)
    most = None if promise.asked is None else promise.asked.loss
    answer = "" if most is None else f"{answer_of_score(most, loss)} "
    icon = _icon(kept if most is None else round(loss.value, 2) <= round(most, 2))
    st.markdown(
        f"{icon} {said}. {answer}It scores **{decimals(ours.value.value)}** "
        f"({literal(result.metric)}), {decimals(abs(loss.value))} "
        f"{'below' if loss.value >= 0 else 'above'} the table itself; the 95 % interval of what "
        f"it loses is {literal(interval(loss))}."
    )
    st.caption(
        f"{promise.value:.2f} was expected{_expected_how(promise, kept=kept)}. Both scores are of "
        f"the same {result.n:,} items: they tell whether this is the plan that was promised, not "
        "how it does on other text."
    )


def _expected_how(promise: _Promise, *, kept: bool) -> str:
    """Where that comes from, and so why a score may be a little off it."""
    how = _READ_OFF
    if not promise.between:
        how = (
            ", the score of this plan where it was measured; another machine or thread count "
            "rounds otherwise, and a fit then settles a little elsewhere"
        )
    return how if kept else f"{how}. This is further off than chance"


def answer_of_score(asked: float, loss: Interval) -> str:
    """Whether a plan loses no more points than was asked for, in words.

    Args:
        asked: Points below the table itself, at most.
        loss: Points it loses, as they are printed, with their interval.
    """
    limit = f"at most {decimals(asked)} below the table itself was asked for"
    if round(loss.value, 2) > round(asked, 2):
        chance = "by more than chance" if loss.low > asked else "which may be chance"
        return f"**Not kept**, {chance}: {limit}."
    if loss.high > asked:
        return f"**Kept, but chance could hide more**, up to {decimals(loss.high)}: {limit}."
    return f"**Kept**, chance allowed for: {limit}."


def answer_of_error(asked: float, error: float) -> str:
    """Whether a plan loses no more of the energy than was asked for, in words."""
    kept = round(error, 4) <= round(asked, 4)
    return f"{'**Kept**' if kept else '**Not kept**'}: at most {lost(asked)} was asked for."


def keeps(result: CheckResult, ours: Score, expected: float) -> bool:
    """Whether a plan scores what was expected, but for chance.

    By its loss, whose interval is of pairs and so much narrower than that of the score.
    """
    whole = result.scores[0].value.value
    wanted = whole - expected if result.higher_is_better else expected - whole
    return result.loss(ours).low <= wanted


def _icon(kept: bool) -> str:
    return ":material/check_circle:" if kept else ":material/warning:"


def _link(promise: _Promise) -> dict[str, str]:
    return {"run": promise.run or ""}


def _forget() -> None:
    st.session_state.pop(_PROMISE, None)
