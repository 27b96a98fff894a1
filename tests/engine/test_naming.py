"""Names of subspaces: what a person would say of the same tokens."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine import load_table
from engine.errors import ShapeError
from engine.library import find_starter
from engine.measures import summarise_subspaces
from engine.naming import suggest_names

WORDS = "berlin paris rome madrid oslo lisbon vienna athens".split()
VERBS = "walking talking jumping playing reading counting looking asking".split()
PIECES = [f"##{word}" for word in "ers ist ly ment ous ness able ful".split()]
NUMBERS = "1984 42 1,000 3.14 1960s 19th 007 2024".split()
MARKS = list(".,;:!?()")
RUSSIAN = "москва и не на что был как она".split()
GREEK = "και το της του α β γ δ".split()
HAN = list("東京北海道大学生")
UNUSED = [f"[unused{number}]" for number in range(8)]


def names_of(*groups: Sequence[str], typical: int = 3) -> tuple[str, ...]:
    """Names of subspaces that hold these tokens and no others."""
    tokens = [token for group in groups for token in group]
    sizes = torch.tensor([len(group) for group in groups])
    labels = torch.arange(len(groups)).repeat_interleave(sizes)
    ends = sizes.cumsum(0).tolist()
    rows = [
        list(range(end - len(group), end))[:typical]
        for end, group in zip(ends, groups, strict=True)
    ]
    return suggest_names(tokens, labels, len(groups), rows)


def test_kinds_have_plain_names() -> None:
    found = names_of(WORDS, VERBS, PIECES, NUMBERS, MARKS, RUSSIAN, HAN, UNUSED)
    assert found == (
        "like berlin, paris",
        "words in -ing",
        "word pieces",
        "numbers",
        "punctuation and symbols",
        "Cyrillic",
        "Chinese characters",
        "unused tokens",
    )


def test_mixtures_say_what_there_is_most_of() -> None:
    mostly = NUMBERS[:6] + WORDS[:3]
    many = WORDS[3:6] + PIECES[:2]
    assert names_of(mostly, many, VERBS, MARKS, RUSSIAN + GREEK) == (
        "mostly numbers",
        "many word pieces; madrid, oslo",
        "words in -ing",
        "punctuation and symbols",
        "other scripts",
    )


def test_what_is_everywhere_names_nothing() -> None:
    """A quarter of each subspace are numbers, so numbers tell none of them apart."""
    found = names_of(NUMBERS[:2] + WORDS[:6], NUMBERS[2:4] + VERBS[:6])
    assert "numbers" not in " ".join(found)


@pytest.mark.parametrize("mark", ["Ġ", "▁"])
def test_marks_of_spaces_are_understood_and_not_shown(mark: str) -> None:
    whole = [mark + word for word in WORDS]
    capitals = [mark + word.title() for word in ["anna", "marie", "jean", "paul"]]
    going_on = "ers ist ly ment ous ness able ful".split()
    numbers = [mark + number for number in NUMBERS[:4]] + NUMBERS[4:]
    assert names_of(whole, capitals, going_on, numbers) == (
        "like berlin, paris",
        "capitalised words",
        "word pieces",
        "numbers",
    )


def test_tokens_in_bytes_are_read_as_the_letters_they_are() -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    split = ByteLevel(add_prefix_space=True)
    written = [split.pre_tokenize_str(word)[0][0] for word in RUSSIAN]
    half = sorted({letter for word in written for letter in word.removeprefix("Ġ")})
    assert names_of(written, half, ["Ġ" + word for word in WORDS])[:2] == (
        "Cyrillic",
        "parts of letters",
    )


def test_equal_names_are_told_apart() -> None:
    found = names_of(NUMBERS[:4], WORDS, NUMBERS[4:], [], [])
    assert found == (
        "numbers; 1984, 42",
        "like berlin, paris",
        "numbers; 1960s, 19th",
        "empty",
        "empty (2)",
    )
    alike = names_of(["one"] * 1, ["two"], typical=0)
    assert alike == ("various tokens", "various tokens (2)")


@given(data=st.data(), tokens=st.lists(st.text(max_size=8), min_size=1, max_size=30, unique=True))
def test_any_tokens_get_distinct_names_whatever_the_order(
    data: st.DataObject, tokens: list[str]
) -> None:
    k = data.draw(st.integers(1, 5))
    labels = torch.tensor([data.draw(st.integers(0, k - 1)) for _ in tokens])
    typical = [(labels == label).nonzero().squeeze(1).tolist()[:4] for label in range(k)]
    found = suggest_names(tokens, labels, k, typical)
    assert len(set(found)) == k
    assert all(name.strip() for name in found)
    order = data.draw(st.permutations(range(len(tokens))))
    place = {row: new for new, row in enumerate(order)}
    again = suggest_names(
        [tokens[row] for row in order],
        labels[torch.tensor(order)],
        k,
        [[place[row] for row in rows] for rows in typical],
    )
    assert again == found


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"2 tokens and k = 1 need .* got 3 and 1"):
        suggest_names(["a", "b"], torch.zeros(3, dtype=torch.int64), 1, [[]])


def test_the_shipped_plan_is_named_as_its_tokens_are() -> None:
    table = load_table("bundled:minilm")
    starter = find_starter(table.fingerprint)
    assert starter is not None
    plan = starter.fit(table.matrix)
    typical = [item.typical_rows for item in summarise_subspaces(plan, table.matrix)]
    found = suggest_names(table.tokens, plan.labels, plan.k, typical)
    numbers = plan.labels[table.tokens.index("1628")]
    unused = plan.labels[table.tokens.index("[unused642]")]
    assert "numbers" in found[int(numbers)]
    assert found[int(unused)] == "mostly other scripts and unused tokens"
