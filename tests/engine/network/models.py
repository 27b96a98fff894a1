"""Tiny models of each family with random weights, factorizations of their tables, and inputs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
import transformers as tf
from torch import Tensor, nn

from engine.factorization import Factorization, FitRecord
from engine.projection import project_rows
from tests.engine.coded_plans import coded_plan

Model = Any  # of any class of transformers: their attributes differ
ROWS = 97
Bits = int | Literal["coded"] | None
RECORD = FitRecord(method="messi", config={}, source="", versions={})
# Unlike each other, so that no mix-up of two axes or subspaces goes unseen.
_SIZES = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
_BERT = {"vocab_size": ROWS, "hidden_size": 32, "max_position_embeddings": 64, **_SIZES}
_LLAMA = {**_BERT, "num_key_value_heads": 1, "bos_token_id": 1, "eos_token_id": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One way in which models hold their embedding.

    Attributes:
        head: Class with a head that predicts tokens.
        base: Class without.
        config: Makes the configuration of both.
        tied: Whether the head's weight is the embedding's.
        scaled: Whether looked-up rows are multiplied with a number.
    """

    head: type[Any]
    base: type[Any]
    config: Callable[[], Any]
    tied: bool = True
    scaled: bool = False


def _llama(config: type[Any], **options: object) -> Callable[[], Any]:
    return lambda: config(**_LLAMA, pad_token_id=0, **options)


FAMILIES = {
    "bert": Family(
        head=tf.BertForMaskedLM, base=tf.BertModel, config=lambda: tf.BertConfig(**_BERT)
    ),
    "distilbert": Family(
        head=tf.DistilBertForMaskedLM,
        base=tf.DistilBertModel,
        config=lambda: tf.DistilBertConfig(
            vocab_size=ROWS,
            dim=32,
            n_layers=2,
            n_heads=2,
            hidden_dim=48,
            max_position_embeddings=64,
        ),
    ),
    "roberta": Family(
        head=tf.RobertaForMaskedLM,
        base=tf.RobertaModel,
        config=lambda: tf.RobertaConfig(**_BERT, pad_token_id=1),
    ),
    "mpnet": Family(
        head=tf.MPNetForMaskedLM,
        base=tf.MPNetModel,
        config=lambda: tf.MPNetConfig(**_BERT, pad_token_id=1),
    ),
    "electra": Family(
        head=tf.ElectraForMaskedLM,
        base=tf.ElectraModel,
        config=lambda: tf.ElectraConfig(**_BERT, embedding_size=20),
    ),
    "deberta-v2": Family(
        head=tf.DebertaV2ForMaskedLM,
        base=tf.DebertaV2Model,
        config=lambda: tf.DebertaV2Config(**_BERT, relative_attention=True, type_vocab_size=0),
    ),
    "albert": Family(
        head=tf.AlbertForMaskedLM,
        base=tf.AlbertModel,
        config=lambda: tf.AlbertConfig(**_BERT, embedding_size=20),
    ),
    "gpt2": Family(
        head=tf.GPT2LMHeadModel,
        base=tf.GPT2Model,
        config=lambda: tf.GPT2Config(
            vocab_size=ROWS,
            n_embd=32,
            n_layer=2,
            n_head=2,
            n_positions=64,
            bos_token_id=1,
            eos_token_id=2,
        ),
    ),
    "llama": Family(
        head=tf.LlamaForCausalLM,
        base=tf.LlamaModel,
        config=_llama(tf.LlamaConfig, tie_word_embeddings=True),
    ),
    "llama, not tied": Family(
        head=tf.LlamaForCausalLM,
        base=tf.LlamaModel,
        config=_llama(tf.LlamaConfig, tie_word_embeddings=False),
        tied=False,
    ),
    "qwen2": Family(
        head=tf.Qwen2ForCausalLM,
        base=tf.Qwen2Model,
        config=_llama(tf.Qwen2Config, tie_word_embeddings=True),
    ),
    "gemma": Family(
        head=tf.GemmaForCausalLM,
        base=tf.GemmaModel,
        config=_llama(tf.GemmaConfig, head_dim=16),
        scaled=True,
    ),
    "gemma2": Family(
        head=tf.Gemma2ForCausalLM,
        base=tf.Gemma2Model,
        config=_llama(tf.Gemma2Config, head_dim=16),
        scaled=True,
    ),
    "t5": Family(
        head=tf.T5ForConditionalGeneration,
        base=tf.T5Model,
        config=lambda: tf.T5Config(
            vocab_size=ROWS,
            d_model=32,
            d_kv=8,
            d_ff=48,
            num_layers=2,
            num_heads=2,
            decoder_start_token_id=0,
        ),
    ),
    "bart": Family(
        head=tf.BartForConditionalGeneration,
        base=tf.BartModel,
        config=lambda: tf.BartConfig(
            vocab_size=ROWS,
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            max_position_embeddings=64,
            scale_embedding=True,
        ),
        scaled=True,
    ),
}
"""SmolLM is of the Llama family: its models say ``LlamaForCausalLM``, tied."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """A class of models to try, and one model of it that is never changed.

    Attributes:
        family: What is known of it.
        model: Every number random, biases too; in evaluation mode.
        exact: Its table on several subspaces of all dimensions: nothing is lost.
        lossy: Its table on subspaces of unlike dimensions, one of them 0.
    """

    family: Family
    model: Model
    exact: Factorization
    lossy: Factorization

    def copy(self) -> Model:
        """The model, to be changed."""
        return copy.deepcopy(self.model)

    def stored(self, bits: Bits) -> Factorization:
        """The lossy plan as it is, quantised to some bits, or a coded one of the same sizes."""
        if bits is None:
            return self.lossy
        if isinstance(bits, int):
            return self.lossy.quantize(bits=bits, basis_bits=8)
        return coded_plan(*self.lossy.shape, self.lossy.dimensions)

    @property
    def tied_head(self) -> bool:
        """Whether the model has a head, and its weight is the embedding's."""
        return self.family.tied and self.model.get_output_embeddings() is not None


EVERY = [f"{name}{part}" for name in FAMILIES for part in ("", ", no head")]
HEADS = list(FAMILIES)


@cache
def case_of(name: str) -> Case:
    """The case of a name in `EVERY`; not to be changed."""
    family = FAMILIES[name.removesuffix(", no head")]
    model = random_model(family.base if name.endswith("no head") else family.head, family.config())
    table = model.get_input_embeddings().weight.detach()
    width = table.shape[1]
    return Case(
        family=family,
        model=model,
        exact=on_random_subspaces(table, (width,) * 3),
        lossy=on_random_subspaces(table, (width // 2, 0, width // 3, 2)),
    )


def random_model(kind: Callable[[Any], Any], config: Model, seed: int = 0) -> Model:
    """A model in which no number is left at a value that hides a mistake, such as a bias of 0."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind(config).eval()
        with torch.no_grad():
            for number in model.parameters():
                number.add_(torch.randn_like(number), alpha=0.1)
    return model


def on_random_subspaces(
    table: Tensor, dimensions: tuple[int, ...], *, affine: bool = False, seed: int = 0
) -> Factorization:
    """Rows on random subspaces, each row on a random one.

    Not fitted on purpose: a fit would put all rows into one subspace of all dimensions.
    """
    generator = torch.Generator().manual_seed(seed)
    n, width = table.shape
    frames = [random_frame(width, table.dtype, generator) for _ in dimensions]
    offsets = None
    if affine:  # orthogonal to the basis, so zero where that is everything
        offsets = tuple(frame[j:].sum(dim=0) for frame, j in zip(frames, dimensions, strict=True))
    return project_rows(
        table,
        torch.randint(len(dimensions), (n,), generator=generator),
        tuple(frame[:j] for frame, j in zip(frames, dimensions, strict=True)),
        RECORD,
        offsets=offsets,
    )


def random_frame(width: int, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """An orthonormal basis of the whole space, its vectors as rows."""
    numbers = torch.randn(width, width, generator=generator, dtype=torch.float64)
    return torch.linalg.qr(numbers).Q.T.to(dtype)


def inputs_of(model: Model, seed: int = 1) -> dict[str, Tensor]:
    """A batch with padding and repeated tokens among it."""
    ids = torch.randint(3, ROWS, (3, 7), generator=torch.Generator().manual_seed(seed))
    ids[0, -2:] = model.config.pad_token_id or 0
    ids[1, :3] = ids[2, 4]
    inputs = {"input_ids": ids}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids[:, :4].flip(0)
    return inputs


def outputs_of(model: Model) -> Tensor:
    """Logits of a model with a head, hidden states of one without."""
    with torch.no_grad():
        return model(**inputs_of(model))[0]


def gradients_of(model: Model) -> dict[str, Tensor]:
    """Gradient of each parameter, for a loss that weighs every output differently."""
    model.zero_grad()
    outputs = model(**inputs_of(model))[0]
    probe = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(2))
    (outputs * probe).sum().backward()
    return {
        name: number.grad for name, number in model.named_parameters() if number.grad is not None
    }


def assert_close(found: Tensor, expected: Tensor) -> None:
    """Equal up to rounding.

    A network of two layers in float32 carries a rounding of its input, 1e-7 of it, to at most a
    few 1e-6 of its outputs and gradients; every mistake tried here is beyond 1e-2.
    """
    largest = max(float(expected.detach().abs().max()), 1.0) if expected.numel() else 1.0
    torch.testing.assert_close(found, expected, rtol=0, atol=5e-5 * largest)


def tied_modules(model: nn.Module) -> list[str]:
    """Paths of all modules whose weight is the input embedding's."""
    table = model.get_input_embeddings().weight  # pyright: ignore[reportCallIssue]
    return [
        path
        for path, module in model.named_modules(remove_duplicate=False)
        if getattr(module, "weight", None) is table
    ]
