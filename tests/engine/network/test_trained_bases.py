"""Bases of a coded plan that are trained: at all times what their codes stand for, never more."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import embedding

from engine.errors import ParameterError
from engine.factorization import Factorization
from engine.network.embedding import SubspaceEmbedding
from engine.network.replacement import replace_embedding
from tests.engine.coded_plans import coded_plan
from tests.engine.network.models import case_of, outputs_of
from tests.engine.network.test_training import losses_of, task

IDS = torch.tensor([[3, 0, 39, 3], [7, 7, 21, 1]])
PLANS = {
    "three subspaces": coded_plan(40, 9, (5, 0, 9)),
    "affine": coded_plan(40, 9, (4, 7), affine=True),
    "one subspace": coded_plan(40, 9, (6,), affine=True),
}


@pytest.fixture(params=list(PLANS))
def plan(request: pytest.FixtureRequest) -> Factorization:
    return PLANS[request.param]


def trainable(plan: Factorization) -> SubspaceEmbedding:
    layer = SubspaceEmbedding(plan)
    layer.train_bases()
    return layer


def trained(plan: Factorization, *, rate: float = 0.05) -> SubspaceEmbedding:
    """A layer that was pulled towards another table."""
    layer = trainable(plan)
    wanted = torch.randn(plan.shape, generator=torch.Generator().manual_seed(1))
    optimiser = torch.optim.Adam(layer.parameters(), lr=rate)
    for _ in range(20):
        optimiser.zero_grad()
        (layer(torch.arange(40)) - wanted).square().sum().backward()
        optimiser.step()
    return layer


def test_before_training_it_looks_up_what_the_plan_says(plan: Factorization) -> None:
    """Bit for bit: the rows of the coded layer, which are those of the plan."""
    layer, coded = trainable(plan), SubspaceEmbedding(plan)
    assert torch.equal(layer(IDS), coded(IDS))
    torch.testing.assert_close(layer(IDS), embedding(IDS, plan.reconstruct()))
    hidden = torch.randn(2, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(layer.logits(hidden), coded.logits(hidden))


def test_only_bases_and_offsets_get_gradients_those_of_a_product(plan: Factorization) -> None:
    layer = trainable(plan)
    probe = torch.randn(40, 9, generator=torch.Generator().manual_seed(2))
    (layer(torch.arange(40)) * probe).sum().backward()
    assert layer.trained_bases is not None
    wanted: list[Tensor] = []
    shifts: list[Tensor] = []
    for cluster, block in enumerate(plan.coordinates):
        assert not isinstance(block, Tensor)
        own = probe[plan.labels == cluster]
        wanted.append(block.decode().T @ own)  # a row is coordinates @ basis + offset
        shifts.append(own.sum(dim=0))
    names = dict(layer.named_parameters())
    torch.testing.assert_close(names["trained_bases.bases"].grad, torch.cat(wanted))
    if plan.affine:
        torch.testing.assert_close(names["trained_bases.offsets"].grad, torch.stack(shifts))
    assert set(names) == {"trained_bases.bases", "trained_bases.offsets"} - (
        set() if plan.affine else {"trained_bases.offsets"}
    )


def test_training_moves_it_and_coordinates_stay(plan: Factorization) -> None:
    layer, coded = trained(plan), SubspaceEmbedding(plan)
    assert not torch.equal(layer(IDS), coded(IDS))
    before, after = coded.state_dict(), layer.state_dict()
    moved = {name for name, part in before.items() if not torch.equal(part, after[name])}
    assert moved == {"bases", "basis_steps"} | ({"offsets"} if plan.affine else set[str]())


def test_what_is_saved_are_codes_of_the_same_bytes(plan: Factorization) -> None:
    layer = trained(plan)
    before, after = SubspaceEmbedding(plan).state_dict(), layer.state_dict()
    assert {name: (part.shape, part.dtype) for name, part in after.items()} == {
        name: (part.shape, part.dtype) for name, part in before.items()
    }
    assert sum(part.nbytes for part in after.values()) == plan.stored_bytes
    other = SubspaceEmbedding(plan)
    other.load_state_dict(after)
    assert torch.equal(other(IDS), layer(IDS))


def test_coding_ends_it_and_changes_nothing(plan: Factorization) -> None:
    layer = trained(plan)
    rows = layer(IDS)
    saved = layer.state_dict()
    layer.code_bases()
    assert layer.trained_bases is None
    assert list(layer.parameters()) == []
    assert torch.equal(layer(IDS), rows)
    assert all(torch.equal(part, saved[name]) for name, part in layer.state_dict().items())
    layer.code_bases()  # there is nothing left to do


def test_it_goes_on_from_a_file_with_the_optimisers_own_numbers(plan: Factorization) -> None:
    saved, layer = trained(plan).state_dict(), trainable(plan)
    numbers = list(layer.parameters())
    assert layer.load_state_dict(saved).missing_keys == []
    assert [id(number) for number in layer.parameters()] == [id(number) for number in numbers]
    assert all(torch.equal(part, saved[name]) for name, part in layer.state_dict().items())


def test_a_file_of_other_layers_leaves_what_was_learned(plan: Factorization) -> None:
    layer = trained(plan)
    rows = layer(IDS)
    layer.load_state_dict({}, strict=False)
    assert torch.equal(layer(IDS), rows)


def test_no_tokens_at_all_can_be_learned_from(plan: Factorization) -> None:
    layer = trainable(plan)
    found = layer(torch.empty(0, 3, dtype=torch.long))
    assert found.shape == (0, 3, 9)
    found.sum().backward()


def test_a_copy_is_trained_by_itself(plan: Factorization) -> None:
    layer = trainable(plan)
    copy = deepcopy(layer)
    with torch.no_grad():
        next(copy.parameters()).mul_(-1)
    assert torch.equal(layer(IDS), SubspaceEmbedding(plan)(IDS))
    assert not torch.equal(copy(IDS), layer(IDS))


def test_half_precision_is_refused(plan: Factorization) -> None:
    with pytest.raises(ParameterError, match=r"trained in float32, got a layer in torch.bfloat16"):
        SubspaceEmbedding(plan).bfloat16().train_bases()


def test_only_coded_plans_are_made_trainable() -> None:
    plain = case_of("bert").lossy
    for other in (plain, plain.quantize(bits=4)):
        with pytest.raises(ParameterError, match=r"train_bases\(\) is for coded plans"):
            SubspaceEmbedding(other).train_bases()


@pytest.mark.parametrize("name", ["bert", "llama", "t5"])
def test_a_model_learns_through_them_and_is_saved(tmp_path: Path, name: str) -> None:
    case = case_of(name)
    model = case.copy()
    layer = replace_embedding(model, case.stored("coded")).embedding
    layer.train_bases()
    before = layer.to_dense()
    losses = losses_of(model, task(case), autocast=False)
    assert losses[-1] < 0.8 * losses[0]
    assert not torch.equal(layer.to_dense(), before)
    model.eval()
    model.save_pretrained(tmp_path)
    assert torch.equal(outputs_of(type(model).from_pretrained(tmp_path)), outputs_of(model))
