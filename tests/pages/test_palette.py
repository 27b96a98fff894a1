"""The palette: every subspace has a look of its own, with any kind of colour vision."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pages.parts.palette import (
    ACCENT,
    BETTER,
    CONTEXT,
    PAGE,
    SEQUENTIAL,
    WORSE,
    subspace_colour,
    subspace_symbol,
)

CONFIG = Path(__file__).resolve().parents[2] / ".streamlit" / "config.toml"
THEMES = ("light", "dark")
COLOURS = 8
# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB.
VISIONS = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_WHITE = _TO_XYZ.sum(axis=1)


def linear_rgb(colour: str) -> NDArray[np.float64]:
    assert re.fullmatch(r"#[0-9A-Fa-f]{6}", colour)
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE L*a*b* (D65) of linear RGB."""
    ratio = _TO_XYZ @ rgb.clip(0, 1) / _WHITE
    f = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", THEMES)
def test_sixty_four_subspaces_look_different(theme: str) -> None:
    looks = [(subspace_colour(label, theme), subspace_symbol(label)) for label in range(64)]
    assert len(set(looks)) == 64
    assert len({colour for colour, _ in looks[:COLOURS]}) == COLOURS
    assert {symbol for _, symbol in looks[:COLOURS]} == {"circle"}


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("vision", VISIONS)
def test_colours_stay_apart(theme: str, vision: str) -> None:
    seen = [
        lab(VISIONS[vision] @ linear_rgb(subspace_colour(label, theme))) for label in range(COLOURS)
    ]
    distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    # A difference of 2.3 is just seen side by side; small marks apart need several times that.
    assert min(distances) > 12


@pytest.mark.parametrize("theme", THEMES)
def test_accent_stands_out_from_the_quiet_colour(theme: str) -> None:
    lightness = [lab(linear_rgb(colours[theme]))[0] for colours in (ACCENT, CONTEXT)]
    assert abs(lightness[0] - lightness[1]) > 40


@pytest.mark.parametrize("theme", THEMES)
def test_page_colour_is_that_of_the_theme(theme: str) -> None:
    config = tomllib.loads(CONFIG.read_text(encoding="utf-8"))
    assert config["theme"][theme]["backgroundColor"] == PAGE[theme]


@pytest.mark.parametrize(("theme", "page"), PAGE.items())
def test_scale_of_values_rises_in_lightness_and_never_fades_into_the_page(
    theme: str, page: str
) -> None:
    steps = [
        "#" + "".join(f"{int(part):02x}" for part in re.findall(r"\d+", colour))
        for colour in SEQUENTIAL[theme]
    ]
    lightness = [lab(linear_rgb(step))[0] for step in steps]
    assert lightness == sorted(lightness)
    ground = lab(linear_rgb(page))[0]
    assert min(abs(value - ground) for value in lightness) > 15
    assert lightness[-1] - lightness[0] > 50


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio."""
    light, dark = sorted((float(_TO_XYZ[1] @ linear_rgb(c)) for c in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_words_can_be_read(theme: str) -> None:
    config = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["theme"][theme]
    inks = (WORSE, BETTER, ACCENT)
    words = [config["textColor"], config["linkColor"], config["primaryColor"]]
    words += [ink[theme] for ink in inks] + [subspace_colour(0, theme)]  # the ink of equations
    for word in words:
        assert contrast(word, config["backgroundColor"]) >= 4.5, word
    label = "#FFFFFF" if theme == "light" else PAGE["dark"]  # as app.py has it
    assert contrast(label, config["primaryColor"]) >= 4.5
