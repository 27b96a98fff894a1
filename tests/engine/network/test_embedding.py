"""`SubspaceEmbedding` gives its factorization's rows, and is `torch.nn.Embedding` otherwise."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from engine.errors import FormatError, ShapeError
from engine.factorization import Factorization
from engine.network.embedding import SubspaceEmbedding
from tests.engine.coded_plans import coded_plan
from tests.engine.network.models import assert_close, on_random_subspaces

CODINGS = [(8, 16), (8, 8), (4, 16), (4, 8)]
MIXED = "mixed"  # a coded plan: every column has bits of its own
CodingName = tuple[int, int] | str | None
DIMENSIONS = (5, 0, 7, 1)  # a point, a line, and a subspace of every direction among them


def table_of(n: int, d: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64).to(dtype)


def factorized(
    *, n: int = 40, coding: CodingName = None, affine: bool = False, seed: int = 0
) -> Factorization:
    return made(table_of(n, 7, seed=seed), DIMENSIONS, coding=coding, affine=affine, seed=seed)


def made(
    table: Tensor,
    dimensions: tuple[int, ...],
    *,
    coding: CodingName,
    affine: bool,
    seed: int,
) -> Factorization:
    """A plan of a table, but for coded ones, which are of no table."""
    if isinstance(coding, str):
        return coded_plan(*table.shape, dimensions, affine=affine, seed=seed)
    plan = on_random_subspaces(table, dimensions, affine=affine, seed=seed)
    return plan if coding is None else plan.quantize(bits=coding[0], basis_bits=coding[1])


def every_kind() -> Iterator[Any]:
    for coding in (None, *CODINGS, MIXED):
        for affine in (False, True):
            name = "floats" if coding is None else f"{coding[0]} and {coding[1]} bits"
            name = MIXED if coding == MIXED else name
            yield pytest.param((coding, affine), id=f"{name}, affine" if affine else name)


@pytest.fixture(params=list(every_kind()))
def plan(request: pytest.FixtureRequest) -> Factorization:
    coding, affine = request.param
    return factorized(coding=coding, affine=affine)


@st.composite
def plans(draw: st.DrawFn) -> Factorization:
    """Any factorization: k from 1 up, points, subspaces of all directions or without a row."""
    n, d = draw(st.integers(1, 30)), draw(st.integers(1, 9))
    dimensions = draw(st.lists(st.integers(0, d), min_size=1, max_size=20))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    seed = draw(st.integers(0, 999))
    return made(
        table_of(n, d, dtype, seed),
        tuple(dimensions),
        coding=draw(st.sampled_from([None, *CODINGS, MIXED])),
        affine=draw(st.booleans()),
        seed=seed,
    )


@st.composite
def ids_of(draw: st.DrawFn, rows: int) -> Tensor:
    """Row numbers of any shape: of no axis, of an empty one, of several; repeated or not."""
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    ids = torch.randint(rows, shape, generator=generator)
    return ids.to(draw(st.sampled_from([torch.int64, torch.int32])))


@given(plan=plans(), data=st.data())
@settings(max_examples=200, deadline=None)
def test_looked_up_rows_are_those_of_the_factorization(
    plan: Factorization, data: st.DataObject
) -> None:
    layer = SubspaceEmbedding(plan)
    ids = data.draw(ids_of(plan.shape[0]))
    found = layer(ids)
    assert found.shape == (*ids.shape, plan.shape[1])
    assert found.dtype == layer.dtype == plan.dtype
    assert_close(found, plan.reconstruct(ids.long().flatten()).view(found.shape))
    assert_close(layer.to_dense(), plan.reconstruct())


@given(plan=plans(), shape=st.lists(st.integers(0, 3), max_size=3), seed=st.integers(0, 999))
@settings(max_examples=100, deadline=None)
def test_logits_are_products_with_every_row(
    plan: Factorization, shape: list[int], seed: int
) -> None:
    n, d = plan.shape
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(*shape, d, generator=generator).to(plan.dtype)
    logits = SubspaceEmbedding(plan).logits(hidden)
    assert logits.shape == (*shape, n)
    assert_close(logits, hidden @ plan.reconstruct().T)


@pytest.mark.parametrize("coding", [(4, 8), MIXED])
def test_coded_logits_are_decoded_a_piece_at_a_time(
    monkeypatch: pytest.MonkeyPatch, coding: CodingName
) -> None:
    plan = factorized(coding=coding, affine=True)
    hidden = table_of(3, 7, seed=1)
    layer = SubspaceEmbedding(plan)
    monkeypatch.setattr("engine.network.embedding.BLOCK_ROWS", 3)
    monkeypatch.setattr("engine.network.small_layer.BLOCK_ROWS", 3)
    assert_close(layer.logits(hidden), hidden @ plan.reconstruct().T)
    assert_close(layer.to_dense(), plan.reconstruct())


@pytest.mark.parametrize("wrong", [40, -1, 2**31 - 1])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_row_numbers_out_of_range_are_refused(
    plan: Factorization, wrong: int, dtype: torch.dtype
) -> None:
    with pytest.raises(IndexError, match="out of range"):
        SubspaceEmbedding(plan)(torch.tensor([[0, wrong]], dtype=dtype))


# -- in the place of nn.Embedding ---------------------------------------------------------------


def exact_pair(
    padding_idx: int | None = None, scale: float | None = None
) -> tuple[SubspaceEmbedding, nn.Embedding, Factorization]:
    """A layer that loses nothing, and torch's own of the same rows, in float64."""
    table = table_of(40, 7, torch.float64)
    plan = on_random_subspaces(table, (7, 7, 7))
    dense = nn.Embedding(40, 7, padding_idx=padding_idx, dtype=torch.float64)
    dense.weight.data.copy_(table)
    return SubspaceEmbedding(plan, padding_idx=padding_idx, scale=scale), dense, plan


@given(padding_idx=st.sampled_from([None, 0, 7, 39, -1, -40]), seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_at_all_dimensions_it_is_an_embedding_gradients_included(
    padding_idx: int | None, seed: int
) -> None:
    layer, dense, plan = exact_pair(padding_idx)
    generator = torch.Generator().manual_seed(seed)
    ids = torch.cat([torch.randint(40, (30,), generator=generator), torch.tensor([0, 7, 39])])
    probe = torch.randn(33, 7, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(layer(ids), dense(ids))
    (layer(ids) * probe).sum().backward()
    (dense(ids) * probe).sum().backward()
    rows = dense.weight.grad
    assert rows is not None
    # A row is coordinates @ basis: so the chain rule, subspace by subspace.
    own = [rows[plan.labels == cluster] for cluster in range(plan.k)]
    coordinates = [part @ basis.T for part, basis in zip(own, plan.bases, strict=True)]
    bases = [part.T @ some for part, some in zip(plan.coordinates, own, strict=True)]
    torch.testing.assert_close(
        layer.weight.grad, torch.cat([part.flatten() for part in coordinates])
    )
    torch.testing.assert_close(layer.bases.grad, torch.cat(bases))


@pytest.mark.parametrize("trained", ["weight", "bases", "offsets"])
def test_any_part_may_be_trained_alone(trained: str) -> None:
    layer = SubspaceEmbedding(factorized(affine=True))
    for name, number in layer.named_parameters():
        number.requires_grad_(name == trained)
    layer(torch.arange(40)).square().sum().backward()
    got = {name for name, number in layer.named_parameters() if number.grad is not None}
    assert got == {trained}


def gradient_of_row(layer: SubspaceEmbedding, row: int) -> Tensor:
    """What the coordinates of one row got, by its place."""
    assert layer.weight.grad is not None
    start = int(layer.positions[row])
    return layer.weight.grad.view(layer.num_embeddings, -1)[start]


@pytest.mark.parametrize(("padding_idx", "row"), [(3, 3), (-1, 39), (-40, 0)])
def test_the_padding_row_gets_no_gradient(padding_idx: int, row: int) -> None:
    ids = torch.tensor([[row, 5], [5, row]])
    plain, padded = exact_pair()[0], exact_pair(padding_idx)[0]
    assert padded.padding_idx == row
    assert torch.equal(padded(ids), plain(ids))
    for layer in (plain, padded):
        layer(ids).sum().backward()
    assert bool(gradient_of_row(plain, row).any())
    assert not bool(gradient_of_row(padded, row).any())
    assert torch.equal(gradient_of_row(padded, 5), gradient_of_row(plain, 5))


@pytest.mark.parametrize("wrong", [40, -41])
def test_a_padding_row_that_is_none_is_refused(wrong: int) -> None:
    plan = factorized()
    with pytest.raises(ShapeError, match=f"padding_idx must name one of 40 rows, got {wrong}"):
        SubspaceEmbedding(plan, padding_idx=wrong)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_scale_multiplies_as_the_models_do_it(dtype: torch.dtype) -> None:
    """A number as it is (BART); a tensor rounded to the rows' dtype first (Gemma)."""
    exact = 48**0.5
    ids = torch.arange(40)
    plan = factorized()
    rows = SubspaceEmbedding(plan).to(dtype)(ids)
    by_number = SubspaceEmbedding(plan, scale=exact).to(dtype)
    by_tensor = SubspaceEmbedding(plan, scale=torch.tensor(exact)).to(dtype)
    assert torch.equal(by_number(ids), rows * exact)
    assert torch.equal(by_tensor(ids), rows * torch.tensor(exact).to(dtype))
    assert by_tensor(ids).dtype == dtype
    assert torch.equal(by_number(ids), by_tensor(ids)) == (dtype == torch.float32)
    assert_close(by_number.to_dense().float(), rows.float())  # the scale is no part of the rows


def test_gradients_are_those_of_the_formula() -> None:
    plan = on_random_subspaces(table_of(12, 4, torch.float64), (2, 0, 4), affine=True)
    layer = SubspaceEmbedding(plan, padding_idx=1, scale=1.5)
    ids = torch.tensor([[0, 3, 3], [11, 7, 0]])

    def both(*numbers: Tensor) -> Tensor:
        named = dict(zip(["weight", "bases", "offsets", "hidden"], numbers, strict=True))
        hidden = named.pop("hidden")
        looked_up = torch.func.functional_call(layer, named, (ids,))
        return looked_up, torch.func.functional_call(Logits(layer), prefixed(named), (hidden,))

    hidden = table_of(2, 4, torch.float64, seed=5).requires_grad_()
    numbers = [number.detach().clone().requires_grad_() for number in layer.parameters()]
    assert torch.autograd.gradcheck(both, (*numbers, hidden))


class Logits(nn.Module):
    """The layer as a head, to be called and exported."""

    def __init__(self, layer: SubspaceEmbedding) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden: Tensor) -> Tensor:
        return self.layer.logits(hidden)


def prefixed(numbers: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"layer.{name}": number for name, number in numbers.items()}


# -- what is computed and stored ------------------------------------------------------------------


def test_parameters_and_bytes_are_those_counted(plan: Factorization) -> None:
    layer = SubspaceEmbedding(plan)
    stored = layer.state_dict()
    assert sum(part.numel() * part.element_size() for part in stored.values()) == plan.stored_bytes
    if plan.coding is None:
        assert sum(number.numel() for number in layer.parameters()) == plan.parameters
    else:
        assert list(layer.parameters()) == []


def test_one_subspace_stores_no_labels() -> None:
    plan = on_random_subspaces(table_of(9, 4), (2,))
    layer = SubspaceEmbedding(plan)
    assert sorted(layer.state_dict()) == ["bases", "weight"]
    assert sum(part.nbytes for part in layer.state_dict().values()) == plan.stored_bytes


class Watch(TorchDispatchMode):
    """Rows that go through matrix products, and the largest tensor made."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = self.largest = 0

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - torch's
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        made = func(*args, **(kwargs or {}))
        if func.overloadpacket is torch.ops.aten.mm:
            self.rows += len(args[0])
        elif func.overloadpacket is torch.ops.aten.addmm:
            self.rows += len(args[1])
        if isinstance(made, Tensor) and not func.is_view:
            self.largest = max(self.largest, made.numel())
        return made


def test_each_distinct_token_is_computed_once(plan: Factorization) -> None:
    layer = SubspaceEmbedding(plan)
    a, b, c = (plan.labels % 2 == 0).nonzero()[:3, 0].tolist()  # the others need no product
    ids = torch.tensor([[a, a, b], [a, c, b]])
    with torch.no_grad(), Watch() as watch:
        layer(ids)
    assert watch.rows == 3


def test_no_tensor_is_larger_than_the_rows_asked_for() -> None:
    """Neither a basis for each token, 16·16 times as many numbers, nor all coordinates."""
    plan = on_random_subspaces(table_of(5000, 16), (16, 15, 14))
    layer = SubspaceEmbedding(plan)
    ids = torch.arange(0, 5000, 50)
    with torch.no_grad(), Watch() as watch:
        layer(ids)
    assert 0 < watch.largest <= len(ids) * 16


# -- moves, copies and compilation -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_move_to_another_dtype_leaves_codes_alone(
    plan: Factorization, dtype: torch.dtype
) -> None:
    layer, moved = SubspaceEmbedding(plan), SubspaceEmbedding(plan).to(dtype)
    assert moved.dtype == dtype
    assert moved(torch.arange(4)).dtype == dtype
    for name, part in layer.state_dict().items():
        found = moved.state_dict()[name]
        if not part.is_floating_point():
            assert torch.equal(found, part)
        else:
            assert torch.equal(found, part.to(dtype))
    # Rounding of both factors and of the sum, relative to rows of length about 3.
    rounding = 8 * max(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps)
    torch.testing.assert_close(moved.to_dense().float(), plan.reconstruct(), rtol=0, atol=rounding)
    hidden = table_of(2, 7, seed=3).to(dtype)
    assert moved.logits(hidden).dtype == dtype


def test_half_and_double_are_moves_too(plan: Factorization) -> None:
    assert SubspaceEmbedding(plan).half().dtype == torch.float16
    assert SubspaceEmbedding(plan).double().dtype == torch.float64


def test_a_deep_copy_is_equal_and_apart() -> None:
    layer = SubspaceEmbedding(factorized(affine=True), padding_idx=2, scale=3.0)
    copied = copy.deepcopy(layer)
    ids = torch.arange(40)
    before = layer(ids)
    assert torch.equal(copied(ids), before)
    assert (copied.padding_idx, copied.scale) == (2, 3.0)
    with torch.no_grad():
        copied.weight.add_(1)
    assert torch.equal(layer(ids), before)
    assert not torch.equal(copied(ids), before)


def relabelled(plan: Factorization) -> Factorization:
    """The same rows in another order, so that every label may differ and no size does."""
    order = torch.randperm(len(plan.labels), generator=torch.Generator().manual_seed(9))
    rows = plan.reconstruct()[order]
    offsets = plan.offsets
    coordinates = [torch.empty_like(block) for block in plan.coordinates]
    labels = plan.labels[order]
    for cluster, basis in enumerate(plan.bases):
        coordinates[cluster] = rows[labels == cluster] @ basis.T
    return Factorization(
        labels=labels,
        bases=plan.bases,
        coordinates=tuple(coordinates),
        record=plan.record,
        offsets=offsets,
    )


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("coding", [None, (4, 8)])
def test_a_state_dict_brings_its_labels_along(coding: tuple[int, int] | None, affine: bool) -> None:
    plan = factorized(affine=affine)
    other = relabelled(plan)
    if coding is not None:
        plan, other = (part.quantize(bits=4, basis_bits=8) for part in (plan, other))
    assert not torch.equal(plan.labels, other.labels)
    layer = SubspaceEmbedding(plan)
    layer.load_state_dict(SubspaceEmbedding(other).state_dict())
    assert_close(layer.to_dense(), other.reconstruct())


def test_labels_that_contradict_the_sizes_are_refused() -> None:
    """Of the same lengths, all of it: nothing else would notice."""
    table = table_of(40, 7)
    layer, other = (SubspaceEmbedding(on_random_subspaces(table, (3, 3), seed=s)) for s in (0, 1))
    assert layer.shape.sizes != other.shape.sizes
    assert layer.weight.shape == other.weight.shape
    with pytest.raises(FormatError, match=r"labels put .* rows into the subspaces, which hold"):
        layer.load_state_dict(other.state_dict())


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_autocast_leaves_rows_alone(plan: Factorization, kind: torch.dtype) -> None:
    layer = SubspaceEmbedding(plan)
    ids = torch.arange(40).view(4, 10)
    expected = layer(ids)
    with torch.autocast("cpu", dtype=kind):
        found = layer(ids)
        logits = layer.logits(expected[0])
    assert torch.equal(found, expected)
    assert logits.dtype == kind  # as those of a linear layer


def batches() -> list[Tensor]:
    """Of several sizes, one that leaves subspaces without a token, one token alone."""
    return [torch.arange(40).view(4, 10), torch.tensor([[7, 7, 7]]), torch.tensor([[0]])]


# torch says so of itself when its code generator is first imported.
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
@pytest.mark.slow
def test_it_compiles_whole_gradients_included() -> None:
    plan = on_random_subspaces(table_of(40, 7), (5, 0, 1), affine=True)
    torch.compiler.reset()
    layer = SubspaceEmbedding(plan, padding_idx=0)
    compiled = torch.compile(layer, fullgraph=True, dynamic=True)
    for ids in batches()[:2]:
        rows, expected = compiled(ids), layer(ids)
        assert_close(rows, expected)
        found = torch.autograd.grad(rows.square().sum(), list(layer.parameters()))
        wanted = torch.autograd.grad(expected.square().sum(), list(layer.parameters()))
        for some, other in zip(found, wanted, strict=True):
            assert_close(some, other)
    hidden, head = table_of(2, 7, seed=3), Logits(layer)
    compiled_head = torch.compile(head, fullgraph=True)
    assert_close(compiled_head(hidden), head(hidden))


@pytest.mark.parametrize(
    ("coding", "affine"),
    [(None, False), (None, True), ((8, 16), True), ((4, 8), False), (MIXED, True)],
)
def test_it_exports_whole_for_any_batch(coding: CodingName, affine: bool) -> None:
    plan = factorized(coding=coding, affine=affine)
    layer = SubspaceEmbedding(plan, padding_idx=0, scale=2.0).eval()
    shapes = {"input_ids": {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}}
    exported = torch.export.export(layer, (batches()[0],), dynamic_shapes=shapes).module()
    for ids in [*batches(), torch.arange(21).view(7, 3)]:
        assert_close(exported(ids), layer(ids))


# As above.
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
@pytest.mark.slow
def test_a_coded_one_compiles_whole() -> None:
    torch.compiler.reset()
    layer = SubspaceEmbedding(factorized(coding=MIXED, affine=True), padding_idx=0)
    compiled = torch.compile(layer, fullgraph=True, dynamic=True)
    for ids in batches()[:2]:
        assert_close(compiled(ids), layer(ids))
    hidden, head = table_of(2, 7, seed=3), Logits(layer)
    assert_close(torch.compile(head, fullgraph=True)(hidden), head(hidden))


def test_bits_of_another_coded_plan_are_refused() -> None:
    plan, other = (coded_plan(9, 6, (4, 5), most_bits=most) for most in (2, 12))
    layer, stored = SubspaceEmbedding(plan), SubspaceEmbedding(other).state_dict()
    with pytest.raises(FormatError, match=r"bits of the columns make rows of .*, and the codes"):
        layer.load_state_dict({"bits": stored["bits"]}, strict=False)


@pytest.mark.parametrize("wrong", [0, 13])
def test_bits_out_of_range_are_refused_where_the_bytes_would_fit(wrong: int) -> None:
    plan = coded_plan(9, 6, (4,), most_bits=12)
    layer = SubspaceEmbedding(plan)
    bits = layer.state_dict()["bits"].tolist()
    rest = sum(bits) - wrong
    bits = [wrong, *(rest // 3 + (place < rest % 3) for place in range(3))]
    with pytest.raises(FormatError, match=r"1 … 12 bits a column, .* they are another layer's"):
        layer.load_state_dict({"bits": torch.tensor(bits, dtype=torch.uint8)}, strict=False)


def test_it_says_what_it_is() -> None:
    layer = SubspaceEmbedding(factorized(coding=(4, 16), affine=True), padding_idx=1)
    assert repr(layer) == (
        "SubspaceEmbedding(40, 7, k=4, j=(5, 0, 7, 1), affine, bits=4, padding_idx=1)"
    )
    plan = coded_plan(9, 6, (5, 4))
    assert plan.coding is not None
    assert plan.coding.named_bits == "1 to 5"
    assert ", bits=1 to 5)" in repr(SubspaceEmbedding(plan))
