"""The explorer: page set-up, navigation and the list of jobs, nothing else."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from pages.parts import entry, job_list, links
from pages.parts.palette import PAGE

_BRAND = Path(__file__).parent / "assets" / "brand"
_MARK = str(_BRAND / "mark.svg")
# A bar that glides to its next length has the whole page composed anew sixty times a second, with
# the map. Without a GPU that took half a machine of two cores from the job the bar tells of.
_STYLE = '[data-testid="stProgress"] * { transition: none !important; }'
# Between a phone and a wide window streamlit leaves a tenth of the page empty at each side.
_MARGINS = """
@media (min-width: 641px) and (max-width: 1300px) {
  .stMainBlockContainer { padding-left: 2rem; padding-right: 2rem; }
}
"""
# Streamlit writes white on the main colour, which is light on a dark page: too faint to be read.
# Pressed, under the mouse and disabled the button has other colours, which white suits.
_PLAIN = ":not(:disabled):not(:hover):not(:active):not(:focus-visible)"
_DARK_STYLE = (
    f'[data-testid="stBaseButton-primary"]{_PLAIN} {{ color: {PAGE["dark"]} !important; }}'
)

entry.mark_ready()
links.read_link()
st.set_page_config(page_title="Subspace Atlas", page_icon=_MARK, layout="wide")
st.logo(str(_BRAND / "logo.svg"), size="large", icon_image=_MARK)
dark = st.context.theme.type == "dark"
st.html(f"<style>{_STYLE}{_MARGINS}{_DARK_STYLE if dark else ''}</style>")
st.navigation(
    [
        st.Page("pages/explore.py", title="Explore", icon=":material/scatter_plot:", default=True),
        st.Page("pages/compare.py", title="Compare", icon=":material/show_chart:"),
        st.Page("pages/accuracy.py", title="Accuracy", icon=":material/fact_check:"),
        st.Page("pages/runs.py", title="Runs", icon=":material/history:"),
        st.Page("pages/learn.py", title="Learn", icon=":material/school:"),
    ],
    position="top",
).run()
links.say_ignored()
job_list.show_jobs()  # after the page, so that it never delays one
