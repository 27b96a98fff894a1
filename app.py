"""The explorer: page set-up and navigation, nothing else."""

from __future__ import annotations

import streamlit as st

st.set_page_config(page_title="Subspace Atlas", page_icon=":material/explore:", layout="wide")
st.navigation(
    [
        st.Page("pages/explore.py", title="Explore", icon=":material/scatter_plot:", default=True),
        st.Page("pages/compare.py", title="Compare", icon=":material/show_chart:"),
    ],
    position="top",
).run()
