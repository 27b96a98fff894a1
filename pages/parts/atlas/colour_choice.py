"""The control that recolours the map: radio buttons that press plotly's own, in the browser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st
from streamlit.components.v2 import component

from pages.parts.atlas.colourings import Colouring

MAP_KEY = "atlas-map"
"""Of the container that holds the map."""
_KEY = "colour"
_KEPT = "colour-kept"
_HTML = '<div class="colour-choice"><label id="colour-label">Colour</label><div role="radiogroup" \
aria-labelledby="colour-label"></div></div>'
_CSS = """
.st-key-atlas-map .updatemenu-container { display: none; }
.colour-choice { display: flex; flex-direction: column; gap: 0.25rem; }
.colour-choice label { font-size: 0.875rem; line-height: 1.25rem; color: var(--st-text-color); }
.colour-choice [role=radiogroup] { display: flex; flex-wrap: wrap; row-gap: 0.25rem; }
.colour-choice [role=radio] {
  font: inherit; color: var(--st-text-color); background: var(--st-background-color);
  border: 1px solid var(--st-border-color); padding: 0 0.75rem; margin-right: -1px;
  min-height: 2rem; font-size: 0.875rem; cursor: pointer; white-space: nowrap;
}
.colour-choice [role=radio]:first-child {
  border-radius: var(--st-base-radius) 0 0 var(--st-base-radius);
}
.colour-choice [role=radio]:last-child {
  border-radius: 0 var(--st-base-radius) var(--st-base-radius) 0;
}
.colour-choice [role=radio]:hover {
  border-color: var(--st-primary-color); position: relative; z-index: 1;
}
.colour-choice [role=radio]:focus-visible {
  outline: 2px solid var(--st-primary-color); position: relative; z-index: 2;
}
.colour-choice [role=radio][aria-checked=true] {
  border-color: var(--st-primary-color); color: var(--st-primary-color);
  background: color-mix(in srgb, var(--st-primary-color) 10%, transparent);
  position: relative; z-index: 1;
}
.colour-choice [role=radio][aria-disabled=true] { opacity: 0.45; cursor: not-allowed; }
"""
# The drawn map is looked for at every press: a rerun may have put another one in its place. As in
# any radio group, Tab reaches the chosen button and the arrow keys go from one to the next.
_JS = """
export default function ({ data, parentElement, setStateValue }) {
  const group = parentElement.querySelector('[role=radiogroup]');
  const buttons = data.options.map((option, index) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = option.name;
    button.setAttribute('role', 'radio');
    button.title = option.lacks;
    if (option.lacks) button.setAttribute('aria-disabled', 'true');
    else button.onclick = () => choose(index);
    button.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      let next = index;
      do next = (next + step + buttons.length) % buttons.length;
      while (data.options[next].lacks && next !== index);
      buttons[next].focus();
      choose(next);
    };
    return button;
  });
  const mark = (active) => buttons.forEach((button, index) => {
    button.setAttribute('aria-checked', String(index === active));
    button.tabIndex = index === active ? 0 : -1;
  });
  const choose = (index) => {
    mark(index);
    const map = document.querySelector(`.st-key-${data.map} .js-plotly-plot`);
    const drawn = map?.querySelectorAll('g.updatemenu-button')[index];
    drawn?.dispatchEvent(new MouseEvent('click'));
    setStateValue('name', data.options[index].name);
  };
  mark(data.active);
  const focused = group.contains(document.activeElement);
  group.replaceChildren(...buttons);
  if (focused) buttons[data.active].focus();
}
"""
_mount = component("subspace_atlas_colour", html=_HTML, css=_CSS, js=_JS, isolate_styles=False)


def choose_colouring(names: Sequence[str], lacking: dict[str, str], default: str) -> str:
    """The control; a press recolours the map at once, and the rerun after it changes nothing.

    Args:
        names: Of the ways to colour, in the order of the map's own buttons.
        lacking: Names of those that cannot be chosen now → why.
        default: Which one is on at first.

    Returns:
        Which one is on, also in the link.
    """
    able = [name for name in names if name not in lacking]
    state: Any = st.session_state.get(_KEY, {})
    # Kept beside the control's own state, which is gone once another page was looked at.
    chosen = state.get("name") or st.session_state.get(_KEPT) or st.query_params.get(_KEY)
    if chosen not in able:
        chosen = default
    st.session_state[_KEPT] = chosen
    if chosen == default:
        st.query_params.pop(_KEY, None)
    else:
        st.query_params[_KEY] = chosen
    options = [{"name": name, "lacks": lacking.get(name, "")} for name in names]
    _mount(
        key=_KEY,
        data={"options": options, "active": names.index(chosen), "map": MAP_KEY},
        on_name_change=lambda: None,
    )
    return chosen


def lacking(colourings: Sequence[Colouring]) -> dict[str, str]:
    """Names of those that cannot be chosen → why."""
    return {item.name: item.lacks for item in colourings if item.lacks}
