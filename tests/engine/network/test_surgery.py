"""A replaced embedding is the old one in all that a model does, and can be put back.

The checks at the top take the way of replacing as an argument: for ours they hold in every family,
and for two naive ways it is shown which of them fail, so that they can.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as tf
from torch import Tensor, nn

import engine
from engine.errors import ModelError, ShapeError
from engine.factorization import Factorization
from engine.network.embedding import SubspaceEmbedding
from engine.network.replacement import replace_embedding
from tests.engine.network.models import (
    EVERY,
    FAMILIES,
    HEADS,
    ROWS,
    Bits,
    Case,
    Model,
    assert_close,
    case_of,
    gradients_of,
    inputs_of,
    on_random_subspaces,
    outputs_of,
    tied_modules,
)

Replace = Callable[[Any, Factorization], object]


def naive_rows(model: Model, plan: Factorization) -> None:
    """The approximated rows in an embedding of torch's."""
    model.set_input_embeddings(nn.Embedding.from_pretrained(plan.reconstruct(), freeze=False))


def naive_layer(model: Model, plan: Factorization) -> None:
    """The right layer, put in without any surgery."""
    model.set_input_embeddings(SubspaceEmbedding(plan))


# -- what must hold, for any way of replacing -----------------------------------------------------


def check_outputs_at_all_dimensions(case: Case, replace: Replace) -> None:
    model = case.copy()
    replace(model, case.exact)
    assert_close(outputs_of(model), outputs_of(case.model))


def check_gradients_at_all_dimensions(case: Case, replace: Replace) -> None:
    """A row is coordinates @ basis: those of the factors follow by the chain rule."""
    dense, model, plan = case.copy(), case.copy(), case.exact
    replace(model, plan)
    expected, found = gradients_of(dense), gradients_of(model)
    rows = dense.get_input_embeddings().weight.grad
    layer = model.get_input_embeddings()
    own = [rows[plan.labels == cluster] for cluster in range(plan.k)]
    coordinates = [part @ basis.T for part, basis in zip(own, plan.bases, strict=True)]
    bases = [part.T @ some for part, some in zip(plan.coordinates, own, strict=True)]
    assert_close(layer.weight.grad, torch.cat([part.flatten() for part in coordinates]))
    assert_close(layer.bases.grad, torch.cat(bases))
    prefix = prefix_of(model)
    rest = {name for name in found if not name.startswith(prefix)}
    assert rest == set(expected) - table_names(dense)
    for name in rest:
        assert_close(found[name], expected[name])


def check_outputs_of_the_approximation(case: Case, replace: Replace) -> None:
    """Those of the dense model whose table, tied or not, holds the approximated rows."""
    model = case.copy()
    replace(model, case.lossy)
    assert_close(outputs_of(model), outputs_of(with_table(case, case.lossy.reconstruct())))


def check_ties_hold_in_training(case: Case, replace: Replace) -> None:
    """When a coordinate moves, all that was tied moves along, and nothing else."""
    model = case.copy()
    replace(model, case.lossy)
    layer = model.get_input_embeddings()
    before = outputs_of(model)
    with torch.no_grad():
        layer.weight.add_(torch.linspace(-1, 1, layer.weight.numel()).view_as(layer.weight))
    after = outputs_of(model)
    assert float((after - before).abs().max()) > 1e-2
    assert_close(after, outputs_of(with_table(case, layer.to_dense())))


def check_counted_once(case: Case, replace: Replace) -> None:
    model = case.copy()
    replace(model, case.lossy)
    n, d = case.lossy.shape
    saved = n * d - case.lossy.parameters
    assert saved > 0
    assert number_of_parameters(model) == number_of_parameters(case.model) - saved


def check_all_else_is_unchanged(case: Case, replace: Replace) -> None:
    model = case.copy()
    replace(model, case.lossy)
    before, after = case.model.state_dict(), model.state_dict()
    kept = set(before) - table_names(case.model)
    assert {name for name in after if not name.startswith(prefix_of(model))} == kept
    for name in kept:
        assert torch.equal(after[name], before[name])


def check_saved_is_loaded(case: Case, replace: Replace) -> None:
    model = case.copy()
    replace(model, case.lossy)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        loaded = type(model).from_pretrained(folder)
    assert torch.equal(outputs_of(loaded), outputs_of(model))
    assert number_of_parameters(loaded) == number_of_parameters(model)
    assert set(loaded.state_dict()) == set(model.state_dict())


CHECKS = [
    check_outputs_at_all_dimensions,
    check_gradients_at_all_dimensions,
    check_outputs_of_the_approximation,
    check_ties_hold_in_training,
    check_counted_once,
    check_all_else_is_unchanged,
    check_saved_is_loaded,
]


def prefix_of(model: Model) -> str:
    """What the names of the embedding's tensors begin with."""
    layer = model.get_input_embeddings()
    return next(f"{path}." for path, module in model.named_modules() if module is layer)


def table_names(model: Model) -> set[str]:
    """All names of the dense table."""
    return {f"{path}.weight" for path in tied_modules(model)}


def number_of_parameters(model: Model) -> int:
    return sum(number.numel() for number in model.parameters())


def with_table(case: Case, rows: Tensor) -> Model:
    """The dense model with other rows in its table, wherever that is used."""
    model = case.copy()
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(rows)
    return model


# -- they hold for ours, and not for a naive one --------------------------------------------------


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", EVERY)
def test_every_family(name: str, check: Callable[[Case, Replace], None]) -> None:
    check(case_of(name), replace_embedding)


def failing(case: Case, replace: Replace) -> set[str]:
    """Names of the checks that a way of replacing does not pass."""
    found: set[str] = set()
    for check in CHECKS:
        try:
            check(case, replace)
        except (AssertionError, AttributeError, KeyError, RuntimeError, StopIteration, TypeError):
            found.add(check.__name__.removeprefix("check_"))
    return found


TIED = {"outputs_of_the_approximation", "ties_hold_in_training"}
SCALED = {"outputs_at_all_dimensions", "outputs_of_the_approximation"}


@pytest.mark.parametrize(
    ("replace", "always", "if_tied"),
    [
        (naive_rows, {"counted_once", "gradients_at_all_dimensions"}, TIED),
        (naive_layer, {"saved_is_loaded"}, {*TIED, "counted_once", "all_else_is_unchanged"}),
    ],
    ids=["rows in a plain embedding", "the layer without surgery"],
)
@pytest.mark.parametrize("name", EVERY)
def test_naive_ways_fail_the_checks(
    name: str, replace: Replace, always: set[str], if_tied: set[str]
) -> None:
    case = case_of(name)
    expected = (
        always | (if_tied if case.tied_head else set()) | (SCALED if case.family.scaled else set())
    )
    assert expected <= failing(case, replace)


# -- undone ----------------------------------------------------------------------------------------


def traits_of(model: Model) -> dict[str, Any]:
    """Everything that a replacement may touch: the objects there are, and what is set on them."""
    modules = dict(model.named_modules(remove_duplicate=False))
    return {
        "modules": {path: id(module) for path, module in modules.items()},
        "parameters": {
            name: id(part) for name, part in model.named_parameters(remove_duplicate=False)
        },
        "attributes": {path: set(vars(module)) for path, module in modules.items()},
        "ties": {
            path: getattr(part, "all_tied_weights_keys", {}) for path, part in modules.items()
        },
        "keys": list(model.state_dict()),
        "config": model.config.to_dict(),
    }


@pytest.mark.parametrize("name", EVERY)
def test_undo_puts_everything_back(name: str) -> None:
    case = case_of(name)
    model = case.copy()
    before = copy.deepcopy(traits_of(model))
    table = model.get_input_embeddings().weight
    handle = replace_embedding(model, case.lossy)
    assert model.get_input_embeddings() is handle.embedding
    assert traits_of(model) != before
    handle.undo()
    assert traits_of(model) == before
    assert model.get_input_embeddings().weight is table
    assert torch.equal(outputs_of(model), outputs_of(case.model))
    model.tie_weights()
    assert tied_modules(model) == tied_modules(case.model)
    model.resize_token_embeddings(ROWS + 3)
    assert len(model.get_input_embeddings().weight) == ROWS + 3
    assert tied_modules(model) == tied_modules(case.model)


def test_undo_works_once_and_again_after_a_new_replacement() -> None:
    case = case_of("bert")
    model = case.copy()
    for plan in (case.lossy, case.exact):
        handle = replace_embedding(model, plan)
        handle.undo()
        with pytest.raises(ModelError, match="dense already; nothing to undo"):
            handle.undo()
    assert torch.equal(outputs_of(model), outputs_of(case.model))


def test_undo_after_dequantize_is_refused() -> None:
    case = case_of("bert")
    model = case.copy()
    handle = replace_embedding(model, case.lossy)
    model.dequantize()
    expected = outputs_of(model)
    with pytest.raises(ModelError, match="dense already; nothing to undo"):
        handle.undo()
    assert torch.equal(outputs_of(model), expected)


@pytest.mark.parametrize("name", ["distilbert", "gemma"])
def test_undo_follows_a_model_that_was_moved(name: str) -> None:
    case = case_of(name)
    model = case.copy()
    table = model.get_input_embeddings().weight
    handle = replace_embedding(model, case.lossy)
    model.to(torch.bfloat16)
    handle.undo()
    assert model.get_input_embeddings().weight is table
    assert torch.equal(outputs_of(model), outputs_of(case.copy().to(torch.bfloat16)))


def test_undo_keeps_what_was_learned_beside_it() -> None:
    case = case_of("distilbert")
    model = case.copy()
    handle = replace_embedding(model, case.lossy)
    with torch.no_grad():
        model.vocab_projector.bias.add_(2)
    handle.undo()
    assert_close(outputs_of(model), outputs_of(case.model) + 2)


# -- what is done to a replaced model --------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_a_replaced_model_is_copied_tied_and_made_dense(name: str) -> None:
    case = case_of(name)
    model = case.copy()
    replace_embedding(model, case.lossy)
    expected = outputs_of(model)
    model.tie_weights()
    assert torch.equal(outputs_of(model), expected)
    copied = copy.deepcopy(model)
    copied.dequantize()
    assert_close(outputs_of(copied), expected)
    assert type(copied.get_input_embeddings()) is type(case.model.get_input_embeddings())
    assert tied_modules(copied) == tied_modules(case.model)
    assert number_of_parameters(copied) == number_of_parameters(case.model)
    assert set(copied.state_dict()) == set(case.model.state_dict())
    assert torch.equal(outputs_of(model), expected)  # the copy has taken nothing along


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("size", [ROWS + 8, ROWS, None])
def test_resizing_is_refused(name: str, size: int | None) -> None:
    case = case_of(name)
    model = case.copy()
    replace_embedding(model, case.lossy)
    with pytest.raises(ModelError, match=r"fixed number of rows .* model\.dequantize\(\)"):
        model.resize_token_embeddings(size)
    model.dequantize()
    model.resize_token_embeddings(ROWS + 8)
    assert len(model.get_input_embeddings().weight) == ROWS + 8


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_replaced_model_moves_to_other_dtypes(name: str, dtype: torch.dtype) -> None:
    case = case_of(name)
    model, dense = case.copy(), case.copy().to(dtype)
    replace_embedding(model, case.exact)
    moved = outputs_of(model.to(dtype))
    expected = outputs_of(dense)
    assert moved.dtype == expected.dtype
    # Factors are rounded where rows were: two roundings for one, through a network of two layers.
    unit = max(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps)
    scale = float(expected.abs().max())
    torch.testing.assert_close(moved.float(), expected.float(), rtol=0, atol=30 * unit * scale)
    assert outputs_of(copy.deepcopy(model).float()).dtype == torch.float32
    model.dequantize()
    assert {number.dtype for number in model.parameters()} == {dtype}
    outputs_of(model)


@pytest.mark.parametrize(
    "name", ["gpt2", "llama", "llama, not tied", "qwen2", "gemma2", "t5", "bart"]
)
def test_generation_is_as_before(name: str) -> None:
    case = case_of(name)
    model = case.copy()
    replace_embedding(model, case.exact)
    inputs = {"input_ids": inputs_of(model)["input_ids"]}
    options = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}
    options |= {"pad_token_id": 0, "attention_mask": torch.ones_like(inputs["input_ids"])}
    found = model.generate(**inputs, **options)
    assert torch.equal(found, case.model.generate(**inputs, **options))


def test_a_tied_bias_and_the_heads_sizes_are_kept() -> None:
    case = case_of("bert")
    model = case.copy()
    bias = model.cls.predictions.bias
    replace_embedding(model, case.lossy)
    head = model.get_output_embeddings()
    assert head.bias is bias is model.cls.predictions.bias
    assert (head.in_features, head.out_features) == (32, ROWS)
    with pytest.raises(engine.EngineError, match="no dense weight; call the head"):
        _ = head.weight
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = head.nothing


@pytest.mark.parametrize(("name", "padding"), [("bert", 0), ("roberta", 1), ("gpt2", None)])
def test_the_padding_row_is_kept(name: str, padding: int | None) -> None:
    case = case_of(name)
    assert replace_embedding(case.copy(), case.lossy).embedding.padding_idx == padding


def test_tables_of_an_encoder_and_a_decoder_stay_one() -> None:
    case = case_of("bart")
    model = case.copy()
    handle = replace_embedding(model, case.lossy)
    ids = torch.arange(ROWS).view(1, -1)
    for part in (model.model.encoder, model.model.decoder):
        assert torch.equal(part.embed_tokens(ids), handle.embedding(ids))
        assert part.get_input_embeddings().weight is handle.embedding.weight
    with pytest.raises(ModelError, match="kept as subspaces already"):
        replace_embedding(model.model.decoder, case.lossy)


def test_a_frozen_table_stays_frozen() -> None:
    case = case_of("bert")
    model = case.copy()
    model.get_input_embeddings().weight.requires_grad_(False)
    layer = replace_embedding(model, case.lossy).embedding
    assert not any(number.requires_grad for number in layer.parameters())


@pytest.mark.parametrize("bits", [8, 4, "coded"])
@pytest.mark.parametrize("name", HEADS)
def test_quantised_factors_do_as_well(name: str, bits: Bits) -> None:
    case = case_of(name)
    model, plan = case.copy(), case.stored(bits)
    replace_embedding(model, plan)
    assert_close(outputs_of(model), outputs_of(with_table(case, plan.reconstruct())))
    assert set(gradients_of(model)) <= {name for name, _ in case.model.named_parameters()}


# -- what cannot be replaced -----------------------------------------------------------------------


class Gated(nn.Embedding):
    """An embedding that does more than look rows up."""


class Odd(nn.Module):
    """Shares the table in a way of its own."""

    def __init__(self, name: str, table: nn.Parameter) -> None:
        super().__init__()
        self.register_parameter(name, table)


def replaced_table(model: Model, **options: object) -> Model:
    model.set_input_embeddings(nn.Embedding(ROWS, 32, **options))
    return model


def subclassed(model: Model) -> None:
    model.set_input_embeddings(Gated(ROWS, 32))


def with_a_hook(model: Model) -> None:
    table = model.get_input_embeddings()
    nn.utils.parametrize.register_parametrization(table, "weight", nn.Tanh())


def linear_input(model: Model) -> None:
    model.set_input_embeddings(nn.Linear(32, 32))


def untied_by_hand(model: Model) -> None:
    model.cls.predictions.decoder.weight = nn.Parameter(torch.ones(ROWS, 32))


def with_an_odd_sharer(name: str) -> Callable[[Any], None]:
    def change(model: Model) -> None:
        model.odd = Odd(name, model.get_input_embeddings().weight)

    return change


def with_a_linear_that_has_it_besides(model: Model) -> None:
    model.odd = nn.Linear(2, 2)
    model.odd.kernel = model.get_input_embeddings().weight


def quantised_by_another(model: Model) -> None:
    model.config.quantization_config = {"quant_method": "bitsandbytes"}


REFUSED = [
    (lambda model: replaced_table(model, max_norm=1.0), "with max_norm, and does more"),
    (lambda model: replaced_table(model, scale_grad_by_freq=True), "with scale_grad_by_freq"),
    (subclassed, "a Gated, and does more than look rows up"),
    (with_a_hook, "a ParametrizedEmbedding, and does more"),
    (linear_input, "a Linear, no torch.nn.Embedding"),
    (untied_by_hand, "ties cls.predictions.decoder to .* but its weight is another"),
    (with_an_odd_sharer("weight"), "odd, a Odd, shares the weight"),
    (with_an_odd_sharer("kernel"), "odd, a Odd, shares the weight"),
    (with_a_linear_that_has_it_besides, "odd, a Linear, shares the weight"),
    (quantised_by_another, "quantised already, by another method"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_what_cannot_be_replaced_is_refused_and_left_as_it_was(
    change: Callable[[Any], object], message: str
) -> None:
    model = case_of("bert").copy()
    change(model)
    before, numbers = copy.deepcopy(traits_of(model)), copy.deepcopy(model.state_dict())
    with pytest.raises(ModelError, match=message):
        replace_embedding(model, case_of("bert").lossy)
    assert traits_of(model) == before
    assert all(torch.equal(model.state_dict()[name], part) for name, part in numbers.items())


def test_a_head_that_wants_the_dense_table_is_refused() -> None:
    config = FAMILIES["deberta-v2"].config()
    config.legacy = False
    model = tf.DebertaV2ForMaskedLM(config)
    with pytest.raises(ModelError, match=r"DebertaV2LMPredictionHead.*config\.legacy = True"):
        replace_embedding(model, case_of("deberta-v2").lossy)


def test_a_second_replacement_is_refused() -> None:
    case = case_of("bert")
    model = case.copy()
    replace_embedding(model, case.lossy)
    expected = outputs_of(model)
    with pytest.raises(ModelError, match=r"kept as subspaces already; call undo\(\)"):
        replace_embedding(model, case.exact)
    assert torch.equal(outputs_of(model), expected)


def test_a_factorization_of_another_table_is_refused() -> None:
    case = case_of("bert")
    other = on_random_subspaces(torch.ones(ROWS - 1, 32), (2, 2))
    model = case.copy()
    before = copy.deepcopy(traits_of(model))
    with pytest.raises(ShapeError, match=r"has shape \(97, 32\), .* of \(96, 32\)"):
        replace_embedding(model, other)
    assert traits_of(model) == before


@pytest.mark.parametrize("model", [nn.Linear(3, 3), nn.Sequential(nn.Embedding(5, 3))])
def test_what_is_no_transformers_model_is_refused(model: nn.Module) -> None:
    with pytest.raises(ModelError, match="names no input embedding; give a transformers model"):
        replace_embedding(model, case_of("bert").lossy)
