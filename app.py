"""The explorer: page set-up and navigation, nothing else."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_LOGO = Path(__file__).parent / "assets" / "brand" / "logo.svg"

st.set_page_config(page_title="Subspace Atlas", page_icon=":material/explore:", layout="wide")
st.logo(str(_LOGO), size="large")
st.navigation(
    [
        st.Page("pages/explore.py", title="Explore", icon=":material/scatter_plot:", default=True),
        st.Page("pages/compare.py", title="Compare", icon=":material/show_chart:"),
    ],
    position="top",
).run()
