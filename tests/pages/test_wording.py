"""Figures and foreign text, as a person reads them."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.evaluation.scores import Interval
from pages.parts.wording import (
    about,
    decimals,
    duration,
    fewer_or_more,
    interval,
    literal,
    lost,
    printable,
    printed_difference,
    short_bytes,
    short_count,
    shorten,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (14_400, "14.4 k"),
        (7_007_472, "7.01 M"),
        (11_720_448, "11.7 M"),
        (2_500_000_000, "2.5 G"),
    ],
)
def test_counts_have_three_digits(value: int, text: str) -> None:
    assert short_count(value) == text


@given(st.integers(min_value=0, max_value=10**12))
def test_counts_are_never_off_by_more_than_their_last_digit(value: int) -> None:
    text = short_count(value)
    found = re.fullmatch(r"([\d.,]+)(?: ([kMG]))?", text)
    assert found, text
    scale = {None: 1, "k": 1e3, "M": 1e6, "G": 1e9}[found[2]]
    assert float(found[1].replace(",", "")) * scale == pytest.approx(value, rel=0.0051)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (57_600, "57.6 kB"), (28_041_334, "28.0 MB")],
)
def test_bytes(value: int, text: str) -> None:
    assert short_bytes(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.text(alphabet=st.sampled_from(string.ascii_letters + "*_`$[]()<>&#~:\\ |")))
def test_foreign_text_is_markdown_for_itself(text: str) -> None:
    marked = literal(text)
    assert re.sub(r"\\(.)", r"\1", marked) == text
    assert not re.search(r"(?<!\\)(?:\\\\)*[*_`$\[\]<&~]", marked)


def test_words_and_paths_stay_readable_where_nothing_needs_marking() -> None:
    assert literal("expected 384 columns, got 12") == "expected 384 columns, got 12"


@pytest.mark.parametrize(
    ("rate", "text"), [(0.402, "40.2% fewer"), (0, "0.0% fewer"), (-0.05, "5.0% more")]
)
def test_rates_are_said_as_a_change(rate: float, text: str) -> None:
    assert fewer_or_more(rate) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("berlin", "berlin"),
        ("facilitates", "facilitat…"),
        ("WASHINGTON", "WASHIN…"),
        ("日本語日本語", "日本語日…"),
        ("a\nb", "a�b"),
        ("", ""),
    ],
)
def test_names_are_cut_where_there_is_no_room(text: str, shown: str) -> None:
    assert shorten(text, 10) == shown


@given(st.text())
def test_printable_text_has_nothing_that_a_drawing_cannot_hold(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert shown.isprintable()


def test_a_difference_is_that_of_the_figures_beside_it() -> None:
    a, b = 86.716, 86.421  # 0.295 apart, and 86.72 − 86.42 as they are printed
    assert (decimals(a), decimals(b)) == ("86.72", "86.42")
    assert decimals(a - b) == "0.29"
    assert decimals(printed_difference(a, b)) == "0.30"
    assert decimals(printed_difference(b, b)) == decimals(-0.001) == "0.00"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "less than a minute"),
        (60, "about a minute"),
        (150, "about 2 min"),
        (3400, "about 57 min"),
        (3590, "about 1 h"),
        (4320, "about 1 h 10 min"),
    ],
)
def test_foretold_times_are_round(seconds: float, text: str) -> None:
    assert about(seconds) == text


def test_an_interval_reads_as_in_the_readme() -> None:
    assert interval(Interval(value=0.4, low=-0.06, high=0.84)) == "[−0.06, 0.84]"


@pytest.mark.parametrize(
    ("error", "text"),
    [(0.24389, "24.39%"), (6e-5, "0.01%"), (4e-5, "under 0.01%"), (0, "0.00%")],
)
def test_a_small_loss_is_not_called_none(error: float, text: str) -> None:
    assert lost(error) == text
