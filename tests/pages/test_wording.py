"""Figures and foreign text, as a person reads them."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages.parts.wording import duration, literal, short_bytes, short_count


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
