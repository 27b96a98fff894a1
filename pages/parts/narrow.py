"""Whether the page is as narrow as a phone, for what CSS cannot lay out."""

from __future__ import annotations

from functools import cache

from streamlit.components import v2
from streamlit.components.v2.types import ComponentRenderer

# As narrow as where Streamlit puts its columns below each other. Most pages are wide, which is what
# the script assumes until it hears otherwise: only a narrow one pays for a second run.
_SCRIPT = """export default function ({ setStateValue }) {
  const query = matchMedia("(max-width: 640px)");
  const tell = () => setStateValue("narrow", query.matches);
  if (query.matches) tell();
  query.addEventListener("change", tell);
  return () => query.removeEventListener("change", tell);
}"""


def is_narrow() -> bool:
    """Ask the browser; call it where its place on the page does not matter, once a page."""
    result = _component()(
        key="narrow", default={"narrow": False}, height=1, on_narrow_change=lambda: None
    )
    return bool(result["narrow"])


@cache
def _component() -> ComponentRenderer:
    return v2.component("subspace_atlas_narrow", js=_SCRIPT)
