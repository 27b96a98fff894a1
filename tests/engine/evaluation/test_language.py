"""What language models say, by hand: which token is asked for, and by which position."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from engine.evaluation.checks.language import (
    compare_guesses,
    guess_middle,
    hide_middle,
    next_token_losses,
)
from engine.evaluation.encoding import Tokenised

VOCABULARY = 11
SURE = 6.0  # a logit among zeros


def one_hot(tokens: Tensor) -> SimpleNamespace:
    """Logits that are sure of a token at every place."""
    return SimpleNamespace(logits=SURE * torch.nn.functional.one_hot(tokens, VOCABULARY).float())


def counts_on(*, input_ids: Tensor, **_: Tensor) -> SimpleNamespace:
    """A model that expects the next number after each."""
    return one_hot((input_ids + 1) % VOCABULARY)


def says_its_place(*, input_ids: Tensor, **_: Tensor) -> SimpleNamespace:
    """A model that says at every place which one it is."""
    return one_hot(torch.arange(input_ids.shape[1]).expand_as(input_ids))


def echoes(*, input_ids: Tensor, **_: Tensor) -> SimpleNamespace:
    """A model that repeats what it reads."""
    return one_hot(input_ids)


def loss_of(*, right: bool) -> float:
    total = torch.tensor([SURE, *[0.0] * (VOCABULARY - 1)]).logsumexp(dim=0)
    return float(total) - (SURE if right else 0.0)


def test_the_token_in_the_middle_is_hidden_and_no_other() -> None:
    hidden = hide_middle(Tokenised(ids=((1, 2, 3), (4, 5, 6, 7)), cut=2), mask=9)
    assert hidden.ids == ((1, 9, 3), (4, 5, 9, 7))
    assert hidden.cut == 2


def test_guesses_are_read_where_the_mask_is() -> None:
    texts = hide_middle(Tokenised(ids=((1, 2, 3), (4, 5, 6, 7, 8), (1, 1, 1))), mask=9)
    assert guess_middle(says_its_place, texts).argmax(dim=1).tolist() == [1, 2, 1]
    assert guess_middle(echoes, texts).argmax(dim=1).tolist() == [9, 9, 9]
    assert guess_middle(echoes, texts).exp().sum(dim=1).tolist() == pytest.approx([1, 1, 1])


def test_each_token_is_foreseen_from_those_before_it() -> None:
    ids = torch.tensor([0, 1, 2, 5, 6])
    losses = next_token_losses(counts_on, ids).tolist()
    wanted = [loss_of(right=right) for right in (True, True, False, True)]
    assert losses == pytest.approx(wanted, abs=1e-6)  # a difference of float32 numbers about 6


def test_parts_are_read_alone() -> None:
    ids = torch.arange(7)
    assert len(next_token_losses(counts_on, ids, context=3)) == 4  # the last part has one token


def test_guesses_are_compared_by_hand() -> None:
    before = torch.tensor([[0.4, 0.3, 0.1, 0.1, 0.06, 0.04]]).log()
    after = torch.tensor([[0.3, 0.4, 0.04, 0.1, 0.06, 0.1]]).log()
    found = compare_guesses(before, after)
    assert found["same"].tolist() == [0.0]
    assert found["kept"].tolist() == [0.8]  # the third of five fell behind the sixth
    wanted = sum(
        float(p.exp() * (p - q)) for p, q in zip(before[0], after[0], strict=True)
    )  # KL(before ‖ after), not the other way
    # float32, over six terms
    assert found["divergence"].tolist() == pytest.approx([wanted], rel=1e-5)
