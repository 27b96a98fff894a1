"""Accuracy: what a smaller embedding is worth, by quick checks and by the GLUE benchmark."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from engine import EmbeddingTable, EngineError
from engine.evaluation.glue import summary as glue_summary
from engine.figures import is_plain_svd
from pages.parts import (
    by_bytes,
    check_picker,
    check_results,
    entry,
    evaluations,
    history,
    inputs,
    jobs,
    promises,
    state,
)
from pages.parts.glue_results import introduce_glue, show_glue, show_own_run
from pages.parts.state import Source, View
from pages.parts.wording import fewer_or_more, literal, name_range, short_bytes

_CHECKS, _SIZES, _GLUE = "Quick checks", "Every size", "GLUE results"


def main() -> None:
    """Draw the page."""
    st.title("Does the smaller model still work?")
    source, table, problem = _choose_table()
    evidence = st.segmented_control(
        "Evidence",
        [_CHECKS, _SIZES, _GLUE],
        default=_CHECKS,
        required=True,
        key="accuracy-evidence",
        bind="query-params",
        help="Quick checks take seconds and look at your plan. The other two were measured ahead: "
        "sentence similarity by every way to store the table, and GLUE with hours of fine-tuning.",
    )
    if evidence == _GLUE:  # which are of models of their own, whatever the sidebar names
        jobs.show_others()
        _glue("" if source is None else source.spec)
    elif problem:
        st.error(literal(problem), icon=":material/error:")
    elif source is None or table is None:
        st.info("Name a model or a file in the sidebar to check a plan of it.")
    elif evidence == _SIZES:
        promises.follow(source, table)
        _sizes(source, table)
    else:
        _checks(source, table)


def _sizes(source: Source, table: EmbeddingTable) -> None:
    accuracy = state.measured_accuracy(table)
    if accuracy is None:
        st.markdown(
            f"Of **{literal(table.name)}** no accuracy was measured ahead, as it was of the "
            "bundled model. **Compare** shows the error of every size of any table, and the quick "
            "checks what one plan of it is worth."
        )
        return
    by_bytes.show(source, table, accuracy)


def _choose_table() -> tuple[Source | None, EmbeddingTable | None, str]:
    """Where the table comes from, the table, and why there is none."""
    source = None
    try:
        source = inputs.choose_source()
        return source, None if source is None else state.load_source(source), ""
    except EngineError as error:
        return source, None, str(error)


def _glue(model: str) -> None:
    folder = introduce_glue()
    try:
        if folder:
            show_own_run(state.load_glue_run(folder))
        else:
            show_glue(glue_summary.stored_glue(), model)
    except EngineError as error:
        st.error(literal(str(error)), icon=":material/error:")


def _checks(source: Source, table: EmbeddingTable) -> None:
    history.choose_earlier(table, label="Plan to check", deletable=False)
    try:
        view = state.current_view(table)
    except EngineError as error:
        st.warning(
            f"That run cannot be opened; choose another in the sidebar. {literal(str(error))}",
            icon=":material/warning:",
        )
        return
    if view is None:
        st.markdown(
            f"**{literal(table.name)}** has no plan yet. Choose k and a size on the **Explore** "
            "page and press **Compress**; then come back to see what that costs."
        )
        return
    st.markdown(f"**{literal(table.name)}** with {_describe(view)}.")
    st.caption(
        "The original, the plan and the SVD of its size are given the same items. What one of them "
        "loses is its drop; where the drop's 95 % interval holds zero, it may be chance."
    )
    done = jobs.outcome("evaluate", source)
    if done is not None:
        _say_done(evaluations.failures_in(done["run"]))
    jobs.show_others("evaluate")
    try:
        measured = evaluations.measured_of(table)
    except EngineError as error:
        st.warning(literal(str(error)), icon=":material/warning:")
        measured = ()
    else:
        for check, why in evaluations.failures_of(table, view.run_id).items():
            st.warning(
                f"{check_results.title_of(check)} could not be finished. {literal(why)}",
                icon=":material/warning:",
            )
    found = evaluations.newest(measured, view.run_id)
    above = st.container()  # where the button is pressed its progress is seen
    if found:
        check_results.show_results(found, measured, name=table.name)
    with above:  # last, for it loads transformers
        check_picker.choose_checks(source, table, view, unfold=not found)


def _say_done(failures: Mapping[str, str]) -> None:
    """That the checks ended, and how many of them without a finding."""
    if not failures:
        st.toast("The checks are done.", icon=":material/check:")
        return
    noun = "check" if len(failures) == 1 else "checks"
    st.toast(f"{len(failures)} {noun} could not be finished.", icon=":material/warning:")


def _describe(view: View) -> str:
    """Which plan it is: the one in the link, or the one that ships."""
    figures, factorization = view.figures, view.factorization
    loss = str(factorization.record.config.get("loss", "squared"))
    plain = is_plain_svd(
        figures["k"],
        affine=factorization.affine,
        loss=loss,
        coded=figures["parameters"] is None,
    )
    weighted = "" if figures["weights"] is None else ", tokens weighted by use"
    coding = factorization.coding
    bits = "" if coding is None else f", {coding.named_bits} bits a number"
    fewer = "" if figures["rate"] is None else f"{fewer_or_more(figures['rate'])} numbers, "
    shipped = "the plan that ships with the app" if view.run_id is None else "your plan"
    return (
        f"{shipped}, **{'SVD' if plain else 'k = ' + str(figures['k'])}**, "
        f"j = {name_range(figures['dimensions'])}{weighted}{bits}, "
        f"{fewer}{short_bytes(figures['stored_bytes'])} of {short_bytes(figures['dense_bytes'])}"
    )


entry.enter_by_app()
main()
