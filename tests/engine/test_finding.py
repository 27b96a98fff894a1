"""Finding tokens: every manner, odd characters, patterns that would never end."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ParameterError
from engine.finding import find_tokens

WORDS = ("Berlin", "##berlin", "paris", ",", "a,b", "a.b", "İ", "", "paris")
texts = st.lists(st.text(max_size=6), max_size=30)


@given(tokens=texts, query=st.text(min_size=1, max_size=3))
def test_part_finds_what_holds_it(tokens: list[str], query: str) -> None:
    found = find_tokens(tokens, query)
    exact = {row for row, token in enumerate(tokens) if query.strip() and query in token}
    assert exact <= set(found.rows.tolist())
    assert (np.diff(found.rows) > 0).all()


@given(
    tokens=st.lists(st.text("abcXYZ#", max_size=4), max_size=20), query=st.text("aXY#", max_size=3)
)
def test_part_ignores_case_and_nothing_else(tokens: list[str], query: str) -> None:
    wanted = [row for row, token in enumerate(tokens) if query and query.lower() in token.lower()]
    assert find_tokens(tokens, query).rows.tolist() == wanted


@given(tokens=st.lists(st.text("ab, \n", max_size=3), max_size=10))
def test_every_token_without_blanks_or_commas_is_found_in_a_list(tokens: list[str]) -> None:
    whole = [token for token in tokens if token and not set(token) & set(" ,\n")]
    found = find_tokens(tokens, "\n".join(whole), by="list")
    assert {tokens[row] for row in found.rows} == set(whole)
    assert not found.missing


def test_list_separates_by_commas_and_blanks_and_tells_what_is_missing() -> None:
    found = find_tokens(WORDS, "paris, berlin\tBerlin ,", by="list")
    assert found.rows.tolist() == [0, 2, 3, 8]
    assert found.missing == ("berlin",)


def test_regular_expression_matches_anywhere_unless_anchored() -> None:
    assert find_tokens(WORDS, "ER", by="regex").rows.tolist() == [0, 1]
    assert find_tokens(WORDS, "^ber", by="regex").rows.tolist() == [0]
    assert find_tokens(WORDS, r"a\.b", by="regex").rows.tolist() == [5]


def test_part_of_a_very_large_table_is_found_at_once() -> None:
    tokens = [f"Token{row}Ü" for row in range(262_144)]
    began = time.process_time()
    found = find_tokens(tokens, "TOKEN99")
    assert time.process_time() - began < 0.3  # 0.04 s on the machine it was written on
    assert found.rows[:3].tolist() == [99, 990, 991]


def test_part_knows_a_letter_that_is_small_in_two_ways() -> None:
    # "Σ" is "ς" at the end of a small word and "σ" elsewhere.
    assert find_tokens(["ΟΔΟΣ", "οδός"], "Σ").rows.tolist() == [0, 1]


def test_part_takes_a_pattern_as_it_is_written() -> None:
    assert find_tokens(WORDS, "a.b").rows.tolist() == [5]


@pytest.mark.parametrize("by", ["part", "regex", "list"])
def test_nothing_asked_nothing_found(by: str) -> None:
    assert not len(find_tokens(WORDS, "  ", by=by).rows)  # type: ignore[arg-type]


@pytest.mark.parametrize("pattern", ["(", "[a", "*", "(?P<a>x)(?P=b)"])
def test_what_is_no_expression_is_told(pattern: str) -> None:
    with pytest.raises(ParameterError, match="is no regular expression"):
        find_tokens(WORDS, pattern, by="regex")


def test_pattern_that_would_not_end_is_stopped() -> None:
    began = time.monotonic()
    with pytest.raises(ParameterError, match="took more than 2 s and was stopped"):
        find_tokens(["a" * 60 + "!"] * 3, "(a|a|b)+(a|aa)+$", by="regex")
    assert time.monotonic() - began < 10  # 2 s on an idle machine


@pytest.mark.parametrize(
    "pattern",
    [
        "a{1000000000}b",
        "a{1001,}",
        "a{,1001}",
        "a{2,1001}",
        "(?x)a{ 1001 }",
        "a{" + "9" * 5000 + "}",
        "((a{1000}){1000}){1000}b",
        "((a{100}){0,100}){100}",
        r"\\\n{1001}",
    ],
)
def test_repeats_that_would_fill_the_memory_are_refused(pattern: str) -> None:
    with pytest.raises(ParameterError, match=r"a count in braces may be 1,000 at most, .* or \+$"):
        find_tokens(WORDS, pattern, by="regex")


@pytest.mark.parametrize(
    "pattern",
    ["(?R)", "((?R)|t)*ok", "(a|(?1))", "(?<x>a|(?&x))", "(?<x>a|(?P>x))", "((?-1)|a)", "(?+1)(a)"],
)
def test_recursion_that_would_fill_the_memory_is_refused(pattern: str) -> None:
    with pytest.raises(ParameterError, match=r"calls a part of itself, .* write that part out"):
        find_tokens(WORDS, pattern, by="regex")


@pytest.mark.parametrize(
    ("pattern", "rows"),
    [
        (r"^[a-z]{2,20}$", [0, 2, 8]),
        (r"^.{1,9}r.{0,1000}i", [0, 1, 2, 8]),
        (r"\{1001}", []),
        (r"\(?R", [0, 1, 2, 8]),
        (r"(?i:B)(?-i:e)(?=r)(?P<x>r)(?P=x)?", [0, 1]),
    ],
)
def test_other_braces_and_question_marks_are_fine(pattern: str, rows: list[int]) -> None:
    assert find_tokens(WORDS, pattern, by="regex").rows.tolist() == rows


def test_memory_that_does_not_suffice_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("regex.compile", lambda *_: SimpleNamespace(search=fail))
    with pytest.raises(ParameterError, match="took more than the memory there is and was stopped"):
        find_tokens(WORDS, "a", by="regex")
    monkeypatch.setattr("regex.compile", fail)
    with pytest.raises(ParameterError, match="is no regular expression: too large; look for"):
        find_tokens(WORDS, "a", by="regex")


def test_too_long_and_unknown_are_refused() -> None:
    with pytest.raises(ParameterError, match="at most 10,000 characters, got 10,001"):
        find_tokens(WORDS, "a" * 10_001)
    with pytest.raises(ParameterError, match="by part, regex, list, got 'sound'"):
        find_tokens(WORDS, "a", by="sound")  # type: ignore[arg-type]
