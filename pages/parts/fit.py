"""Controls for how subspaces are fitted: the same on both pages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from engine import EngineError
from engine.frequencies import DEFAULT_FLOOR, DEFAULT_POWER
from engine.frequencies.language_names import name_language
from engine.frequencies.row_use import NO_WEIGHTS
from engine.frequencies.running_text import languages
from engine.plans import CompressionConfig
from pages.parts.uploads import keep_upload
from pages.parts.wording import literal

# Controls that keep their value while another page is looked at.
LASTING = ("weights", "language", "allocation", "loss", "affine", "power", "floor", "moves")

_NONE = "None"
_ENGLISH = "English text"
_LANGUAGE = "Text in another language"
_FILE = "A text file of yours"
_LAST_TEXT = "last-text"
_SAME, _BEST = "Same for all", "Best for each"
_MOST_MOVES, _MOST_POWER, _MOST_FLOOR = 10, 1.0, 200.0
_LOSSES = {
    "squared": "Squared distance",
    "l1": "Distance (ℓ₁)",
    "l1.5": "Between the two (ℓ₁.₅)",
    "huber": "Huber: far rows as in ℓ₁",
    "cauchy": "Cauchy: far rows hardly count",
    "geman-mcclure": "Geman–McClure: far rows stop counting",
    "welsch": "Welsch: far rows stop counting",
    "tukey": "Tukey: far rows do not count",
    "truncated": "Truncated: far rows do not count",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvancedChoice:
    """What the folded controls say."""

    loss: str
    affine: bool
    power: float
    floor: float
    moves: int


def controls_of(config: CompressionConfig) -> dict[str, Any] | None:
    """What these controls say where they ask for this plan: key → value; None where none can."""
    if (
        config.moves > _MOST_MOVES
        or not 0 <= config.weight_power <= _MOST_POWER
        or not 0 <= config.weight_floor <= _MOST_FLOOR
    ):
        return None
    found: dict[str, Any] = {
        "allocation": _BEST if config.allocation == "optimal" else _SAME,
        "loss": config.loss,
        "affine": config.affine,
        "moves": config.moves,
        "power": float(config.weight_power),
        "floor": float(config.weight_floor),
    }
    if config.weights == NO_WEIGHTS:
        return {**found, "weights": _NONE}
    if config.weights == "en":
        return {**found, "weights": _ENGLISH}
    if config.weights in languages():
        return {**found, "weights": _LANGUAGE, "language": config.weights}
    return {**found, "weights": _FILE, _LAST_TEXT: config.weights}


def choose_allocation() -> str:
    """Control for the dimensions; ``"uniform"`` or ``"optimal"``."""
    chosen = st.segmented_control(
        "Dimensions",
        [_SAME, _BEST],
        default=_SAME,
        required=True,
        key="allocation",
        bind="query-params",
        width="stretch",
        help="Best for each: a subspace of varied rows gets more dimensions, a plain one fewer, "
        "within the same size. It nearly always loses less.",
    )
    return "optimal" if chosen == _BEST else "uniform"


def choose_weights() -> str | None:
    """Controls for the token weights.

    Returns:
        As `engine.plans.CompressionConfig.weights` takes it; None while a file is missing.

    Raises:
        EngineError: If an upload cannot be kept.
    """
    kind = st.selectbox(
        "Token weights",
        [_NONE, _ENGLISH, _LANGUAGE, _FILE],
        key="weights",
        bind="query-params",
        help="Weighted, tokens that text uses often are kept more exactly than rare ones. "
        "None: all count alike.",
    )
    if kind == _NONE:
        return NO_WEIGHTS
    if kind == _ENGLISH:
        return "en"
    if kind == _LANGUAGE:
        codes = sorted((code for code in languages() if code != "en"), key=name_language)
        return st.selectbox(
            "Language", codes, key="language", bind="query-params", format_func=name_language
        )
    return _choose_text()


def choose_known_weights() -> str | None:
    """The same, with what cannot be kept said in place."""
    try:
        return choose_weights()
    except EngineError as error:
        st.error(literal(str(error)))
        return None


def _choose_text() -> str | None:
    file = st.file_uploader(
        "Text in UTF-8, plain or gzipped",
        key="text-upload",
        help="Such as the sentences your model will read.",
    )
    if file is not None:
        st.session_state[_LAST_TEXT] = keep_upload(file)
    path: str | None = st.session_state.get(_LAST_TEXT)
    if file is None and path is not None:
        st.caption(f"Still counted: {literal(Path(path).name)}")
    return path


def choose_advanced(*, weighted: bool) -> AdvancedChoice:
    """Controls that most people leave alone.

    Args:
        weighted: Whether tokens are weighted, so that there is something to tune.
    """
    loss = st.selectbox(
        "Loss",
        list(_LOSSES),
        key="loss",
        bind="query-params",
        format_func=lambda name: _LOSSES[name],
        help="What a row's distance costs. All but the first give in less to rows that fit badly.",
    )
    affine = choose_affine()
    power, floor = choose_weighing() if weighted else (DEFAULT_POWER, DEFAULT_FLOOR)
    moves = st.slider(
        "Merge-and-split moves",
        0,
        _MOST_MOVES,
        0,
        key="moves",
        bind="query-params",
        help="Tries this often to merge two subspaces and split another; kept where it helps.",
    )
    return AdvancedChoice(loss=loss, affine=affine, power=power, floor=floor, moves=moves)


def choose_affine() -> bool:
    """Control for whether subspaces may miss zero."""
    return st.toggle(
        "Affine subspaces",
        key="affine",
        bind="query-params",
        help="Lets each subspace miss zero, for one row of numbers more.",
    )


def choose_weighing() -> tuple[float, float]:
    """Controls for how weights come of counts: their power and floor."""
    power = st.slider(
        "Weight power",
        0.0,
        _MOST_POWER,
        DEFAULT_POWER,
        0.05,
        key="power",
        bind="query-params",
        help="0 weighs all tokens alike, 1 by how often they occur.",
    )
    floor = st.slider(
        "Weight floor",
        0.0,
        _MOST_FLOOR,
        DEFAULT_FLOOR,
        1.0,
        format="%d",
        key="floor",
        bind="query-params",
        help="Occurrences in a million added to every token, so that rare ones still count.",
    )
    return float(power), float(floor)
