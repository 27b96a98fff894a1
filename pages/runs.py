"""Runs: everything that was made, to look at again, compare, repeat, carry away and bring in."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine import EngineError
from engine.exchange import import_runs
from engine.runs import DamagedRun, Run
from pages.parts import entry, hosting, inputs, jobs, reruns, run_card, run_diff, run_list, state
from pages.parts.wording import literal


def main() -> None:
    """Draw the page."""
    inputs.keep_choices()
    head = st.container(horizontal=True, vertical_alignment="bottom")
    head.title("Your runs", width="stretch")
    _offer_import(head)
    reruns.watch()
    run_card.say_what_stayed()
    try:
        listing = state.run_store().list()
    except EngineError as error:
        st.error(literal(str(error)), icon=":material/error:")
        return
    _say_what_is_gone(listing.runs)
    if listing.runs:
        _show(listing.runs)
    else:
        _invite()
    if listing.damaged:
        _report(listing.damaged)
    jobs.job_queue()  # made last, so that its imports do not delay the list


def _show(runs: Sequence[Run]) -> None:
    st.markdown(
        "Every plan, sweep and check you made, on any table. **Tick one** to see it, name it or "
        "make it again; **tick two** to see where they differ."
    )
    chosen = run_list.choose_runs(runs)
    if len(chosen) == 1:
        run_card.show_run(chosen[0], runs)
    elif len(chosen) == 2:
        run_diff.show_difference(*chosen)
    elif chosen:
        row = st.container(horizontal=True, vertical_alignment="center", key="many-actions")
        row.markdown(f"**{len(chosen)} runs** are ticked; two can be compared.")
        run_card.offer_export(row, chosen)
        run_card.offer_deletion(row, [run.id for run in chosen])


def _invite() -> None:
    st.info(
        "There is no run yet. Press **Compress** on the Explore page or **Run the sweep** on the "
        "Compare page: what comes of it is kept and listed here, with its settings, its figures "
        "and how to make it again. A zip file that was exported elsewhere can be imported above.",
        icon=":material/history:",
    )
    if st.button("Go to Explore", icon=":material/scatter_plot:", type="primary"):
        st.switch_page("pages/explore.py")


def _offer_import(place: DeltaGenerator) -> None:
    kind, text = st.session_state.pop("import-message", ("", ""))
    if kind:
        (st.error if kind == "error" else st.success)(text, icon=f":material/{kind}:")
    turn = st.session_state.get("import-turn", 0)
    with place.popover("Import", icon=":material/upload:", key="import"):
        file = st.file_uploader(
            "A zip file of runs, exported here or elsewhere", type=["zip"], key=f"import-{turn}"
        )
        if file is None:
            return
        pressed = st.button("Import its runs", type="primary", key="import-now")
    if not pressed:
        return
    try:
        hosting.check_upload(file.name, file.size)
        found = import_runs(state.run_store(), file)
    except EngineError as error:
        message = ("error", literal(str(error)))
    else:
        run_list.choose([run.id for run in found.added])
        message = ("check", _say_imported(len(found.added), len(found.present)))
    st.session_state["import-message"] = message
    st.session_state["import-turn"] = turn + 1  # an uploader of another name is empty
    st.rerun()


def _say_imported(added: int, present: int) -> str:
    one = present == 1
    was, left = ("was", "it is") if one else ("were", "they are")
    here = f"{present} {was} here already and left as {left}."
    if not added:
        return f"Nothing new: {here}"
    done = f"{added} {'run' if added == 1 else 'runs'} imported."
    return f"{done} {here}" if present else done


def _say_what_is_gone(runs: Sequence[Run]) -> None:
    """Where what was chosen, here or in the link, has been deleted: in another tab, or by now."""
    there = {run.id for run in runs}
    left = [run_id for run_id in run_list.chosen_ids() if run_id in there]
    gone = len(run_list.chosen_ids()) - len(left)
    if gone:
        run_list.choose(left)
        st.warning(
            "The run you chose is not there any more: it was deleted, here or in another tab."
            if gone == 1
            else f"{gone} of the runs you chose are not there any more: they were deleted.",
            icon=":material/warning:",
        )


def _report(damaged: Sequence[DamagedRun]) -> None:
    noun = "run is" if len(damaged) == 1 else "runs are"
    with st.expander(f"{len(damaged)} {noun} damaged", icon=":material/warning:"):
        for run in damaged:
            row = st.container(horizontal=True, vertical_alignment="center")
            row.markdown(f"**{literal(run.id)}**  \n{literal(run.reason)}", width="stretch")
            run_card.offer_deletion(row, [run.id])


entry.enter_by_app()
main()
