"""What a model takes before and after: numbers, bytes, and the time of a forward pass."""

from __future__ import annotations

import copy
import re
import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import ModelError
from engine.network.embedding import SubspaceEmbedding
from engine.progress import Progress, ProgressCallback
from engine.rows import row_slices

MODEL_FIGURES = "model"
"""Where a run's figures hold those of a whole model."""

_BATCH, _LENGTH = 8, 64
_ROUNDS = 9
_PATIENCE_SECONDS = 10.0  # after the first round; a large model is timed less often
_PHASE = "Timing the model"


class UntimedError(ModelError):
    """A model that can be made smaller, but not run on tokens alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSize:
    """What one model takes.

    Attributes:
        parameters: Numbers of the whole model; what is shared counts once. None where the embedding
            is a coded plan, whose numbers have unlike bits.
        embedding_parameters: Of its embedding, quantised ones included; None likewise.
        file_bytes: Of the tensors that ``save_pretrained`` writes.
        embedding_file_bytes: Of the embedding among them.
        memory_bytes: Of all parameters and buffers in memory.
        forward_seconds: Median time of a forward pass, or None where it was not measured.
    """

    parameters: int | None
    embedding_parameters: int | None
    file_bytes: int
    embedding_file_bytes: int
    memory_bytes: int
    forward_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardTimes:
    """How forward passes were timed, both models by turns.

    Attributes:
        batch: Texts at a time.
        length: Tokens of each, random ones.
        rounds: Passes of each model; the median is told.
        threads: That torch computes with.
        device: Where ("cpu").
    """

    batch: int
    length: int
    rounds: int
    threads: int
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCost:
    """What a model takes before and after, and what its embedding loses for it.

    Attributes:
        before: With the dense embedding.
        after: With the subspaces.
        times: How the forward passes were timed, or None where they were not.
        dtype: Of the model ("float32"); numbers that are not quantised are stored in it.
        relative_error: ‖A − Â‖² / ‖A‖² of the embedding as it is stored.
    """

    before: ModelSize
    after: ModelSize
    times: ForwardTimes | None
    dtype: str
    relative_error: float

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)


def read_cost(figures: Mapping[str, Any]) -> ModelCost:
    """Undo `ModelCost.as_dict`; what else is there is left alone.

    Raises:
        KeyError: If a figure is missing.
        TypeError: If the sizes are of another version.
    """
    times = figures["times"]
    return ModelCost(
        before=ModelSize(**figures["before"]),
        after=ModelSize(**figures["after"]),
        times=None if times is None else ForwardTimes(**times),
        dtype=figures["dtype"],
        relative_error=figures["relative_error"],
    )


def cost_rows(cost: ModelCost) -> list[tuple[str, float, float]]:
    """What a table of it shows: name, before, after; numbers and bytes whole, times not."""
    before, after, times = cost.before, cost.after, cost.times
    counted: list[tuple[str, float | None, float | None]] = [
        ("parameters", before.parameters, after.parameters),
        ("… of the embedding", before.embedding_parameters, after.embedding_parameters),
        ("bytes on disk", before.file_bytes, after.file_bytes),
        ("… of the embedding", before.embedding_file_bytes, after.embedding_file_bytes),
        ("bytes in memory", before.memory_bytes, after.memory_bytes),
    ]
    rows = [(name, a, b) for name, a, b in counted if a is not None and b is not None]
    if times is not None and before.forward_seconds and after.forward_seconds:
        where = times.device
        if where == "cpu":
            where = f"{times.threads} thread" + ("s" if times.threads > 1 else "")
        name = f"forward, {times.batch} × {times.length} tokens, {where}, ms"
        rows.append((name, 1000 * before.forward_seconds, 1000 * after.forward_seconds))
    return rows


def measure_size(
    model: nn.Module, embedding: nn.Module, embedding_parameters: int | None
) -> ModelSize:
    """Count a model's numbers and bytes.

    Args:
        model: A transformers model.
        embedding: Its input embedding.
        embedding_parameters: Numbers in that, which may be codes and no parameters of torch's; None
            where they are not counted.
    """
    own = {id(parameter) for parameter in embedding.parameters()}
    others = sum(part.numel() for part in model.parameters() if id(part) not in own)
    return ModelSize(
        parameters=None if embedding_parameters is None else embedding_parameters + others,
        embedding_parameters=embedding_parameters,
        file_bytes=_bytes(_written(model)),
        embedding_file_bytes=_bytes(embedding.state_dict().values()),
        memory_bytes=_bytes([*model.parameters(), *model.buffers()]),
    )


def share_weights(model: nn.Module) -> nn.Module:
    """A model of its own modules, in evaluation mode, that shares all tensors with another.

    Changes to the modules of one leave the other as it is.
    """
    tensors = (*model.parameters(), *model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors}).eval()


def time_forwards(
    before: nn.Module, after: nn.Module, progress: ProgressCallback
) -> tuple[ForwardTimes, float, float]:
    """Time both models by turns on the same random tokens.

    Args:
        before: In evaluation mode.
        after: The same model with another embedding.
        progress: Called before each round; may raise to stop.

    Returns:
        How they were timed, and the median seconds of each.

    Raises:
        UntimedError: If the model needs more than token ids.
        ModelError: If it runs with its own embedding, but not with the other.
    """
    inputs = _random_inputs(before)
    seconds: tuple[list[float], list[float]] = ([], [])
    with torch.inference_mode():  # the first pass of each is slower and not counted
        try:
            before(**inputs)
        except Exception as error:  # a model of others' may ask for anything
            reason = str(error).strip().split("\n", 1)[0]
            raise UntimedError(f"the model needs more than token ids ({reason})") from error
        try:
            after(**inputs)
        except Exception as error:
            reason = str(error).strip().split("\n", 1)[0]
            raise ModelError(
                f"{type(after).__name__} uses its embedding in a way that is not known here, and "
                f"does not run with a smaller one ({reason}); this model cannot be compressed"
            ) from error
        began = time.perf_counter()
        for done in range(_ROUNDS):
            progress(Progress(phase=_PHASE, done=done, total=_ROUNDS))
            for model, own in zip((before, after), seconds, strict=True):
                own.append(_time(model, inputs))
            if time.perf_counter() - began > _PATIENCE_SECONDS:
                break
    progress(Progress(phase=_PHASE, done=_ROUNDS, total=_ROUNDS))
    batch, length = inputs["input_ids"].shape
    times = ForwardTimes(
        batch=batch,
        length=length,
        rounds=len(seconds[0]),
        threads=torch.get_num_threads(),
        device=inputs["input_ids"].device.type,
    )
    return times, statistics.median(seconds[0]), statistics.median(seconds[1])


def error_of(embedding: SubspaceEmbedding, weight: Tensor) -> float:
    """‖A − Â‖² / ‖A‖² of a layer.

    Args:
        embedding: The layer.
        weight: What it stands for, shape (n, d), on the same device.
    """
    lost, whole = 0.0, 0.0
    with torch.no_grad():
        for rows in row_slices(len(weight)):
            exact = weight[rows].double()
            ids = torch.arange(rows.start, rows.stop, device=weight.device)
            lost += float((embedding.look_up(ids).double() - exact).square().sum())
            whole += float(exact.square().sum())
    return lost / whole if whole else 0.0


def _written(model: nn.Module) -> list[Tensor]:
    """The tensors that ``save_pretrained`` writes."""
    ignored: Any = getattr(model, "_keys_to_ignore_on_save", None) or ()
    return [
        tensor
        for name, tensor in model.state_dict().items()
        if not any(re.search(pattern, name) for pattern in ignored)
    ]


def _bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors, those of one memory counted once."""
    places = {
        (tensor.data_ptr(), tensor.nbytes): tensor.nbytes for tensor in tensors if tensor.nbytes
    }
    return sum(places.values())


def _random_inputs(model: nn.Module) -> dict[str, Tensor]:
    config: Any = model.config
    embedding: Any = model.get_input_embeddings()  # pyright: ignore[reportCallIssue]
    positions = getattr(config, "max_position_embeddings", None)
    # less two: RoBERTa and its kin begin to count after the padding row
    length = min(_LENGTH, max(1, positions - 2)) if isinstance(positions, int) else _LENGTH
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(embedding.num_embeddings, (_BATCH, length), generator=generator)
    inputs = {"input_ids": ids.to(next(model.parameters()).device)}
    if getattr(config, "is_encoder_decoder", False):
        inputs["decoder_input_ids"] = inputs["input_ids"]
    return inputs


def _time(model: nn.Module, inputs: dict[str, Tensor]) -> float:
    on_device = inputs["input_ids"].device.type != "cpu"
    began = time.perf_counter()
    model(**inputs)
    if on_device:
        torch.accelerator.synchronize()
    return time.perf_counter() - began
