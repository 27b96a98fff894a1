"""A run as one HTML file that opens anywhere, without network and without us.

The page is a template (``page.html``, ``page.css``, ``page.js``) filled with plain values. Its two
charts are drawn by plotly's script, which is in the file once. They name colours as the style sheet
does, ``var(--ink)``, and the page's own script looks them up: so the reader's light or dark screen,
and paper, need no second figure. Every text is escaped by the template, every figure's JSON holds
no ``<``, and a policy in the page's head lets it run no other script and fetch nothing.

The figures here are not those of the app: there the server knows the theme, a click comes back to
it and the table beside the chart is streamlit's.
"""

from __future__ import annotations

from engine.report.page import build_report as build_report
from engine.report.plan import ReportedMap as ReportedMap
from engine.report.plan import ReportedPlan as ReportedPlan
from engine.report.plan import made_how as made_how
