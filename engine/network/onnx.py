"""A compressed model as one ONNX file, checked against the model it was made from."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from engine.errors import EngineError, MissingDependencyError, ModelError, ParameterError
from engine.folders import write_file
from engine.network.embedding import SubspaceEmbedding

_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_BATCH, _SEQUENCE = 2, 8  # of the example that is traced; both axes stay open
# Other kernels add up in another order: seen 6e-5 in six layers, on values of about 1.
_TOLERANCE = 1e-3


def export_onnx(model: nn.Module, path: str | Path) -> Path:
    """Write a transformers model, compressed or not, as one ONNX file.

    The file takes ``input_ids`` and ``attention_mask``, shape (batch, sequence), int64, and gives
    the model's first output (``last_hidden_state`` or ``logits``). A subspace embedding stays
    factored in it, codes included. Before it is put in its place, onnxruntime runs it on random
    tokens beside the model.

    Args:
        model: An encoder, or a causal LM (exported without its cache); in eval mode.
        path: Ends in ``.onnx``; replaced when there.

    Returns:
        The path.

    Raises:
        MissingDependencyError: If a package of the extra ``onnx`` is not installed.
        ParameterError: If the path does not end in ``.onnx``.
        ModelError: If the model is an encoder-decoder, or PyTorch cannot export it.
        EngineError: If the file's outputs differ from the model's, or it cannot be written.
    """
    path = Path(path)
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"ONNX export needs {', '.join(missing)}; run: "
            "python -m pip install 'subspace-atlas[onnx]'"
        )
    if path.suffix != ".onnx":
        raise ParameterError(f"an ONNX file ends in .onnx, got {path.name!r}")
    config: Any = getattr(model, "config", None)
    if config is None or getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            f"{type(model).__name__} is no encoder and no causal LM of transformers; only those "
            "are exported"
        )
    whole = _FirstOutput(_with_plain_halves(model)).eval()
    limit = int(getattr(config, "max_position_embeddings", 0) or 1 << 16)
    example = _example(config, _BATCH, min(_SEQUENCE, limit - 2))
    try:
        with _quiet():
            program = _export(whole, example, limit)
            write_file(path, lambda place: _write_checked(program, place, whole, config))
    except OSError as error:
        raise EngineError(f"could not write {path}: {error.strerror or error}") from error
    return path


class _FirstOutput(nn.Module):
    """A model without the parts of its output that have no place in a file."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.options = {"use_cache": False} if hasattr(model, "lm_head") else {}

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask, **self.options)
        return outputs[0]


def _with_plain_halves(model: nn.Module) -> nn.Module:
    """A copy whose 16-bit bases are floats to PyTorch too: ONNX cannot reread bits as floats."""
    copied = copy.deepcopy(model)
    for layer in copied.modules():
        if isinstance(layer, SubspaceEmbedding):
            layer.code_bases()
            for name, value in layer.named_buffers(recurse=False):
                if value.dtype == torch.int16:
                    setattr(layer, name, value.view(torch.float16))
    return copied


def _example(config: Any, batch: int, sequence: int) -> dict[str, Tensor]:  # noqa: ANN401
    generator = torch.Generator().manual_seed(batch)
    vocabulary = int(config.get_text_config().vocab_size)
    ids = torch.randint(vocabulary, (batch, sequence), generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _export(whole: nn.Module, example: Mapping[str, Tensor], limit: int) -> Any:  # noqa: ANN401
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=limit)}
    try:
        return torch.onnx.export(
            whole,
            kwargs=dict(example),
            dynamo=True,
            input_names=list(example),
            output_names=["output"],
            dynamic_shapes=dict.fromkeys(example, axes),
            verbose=False,
        )
    except Exception as error:  # tracing a model of others can fail in any way
        reason = str(error).strip().split("\n", 1)[0]
        raise ModelError(
            f"PyTorch cannot export {type(whole.model).__name__} to ONNX: {reason}"
        ) from error


def _write_checked(program: Any, place: Path, whole: nn.Module, config: Any) -> None:  # noqa: ANN401
    program.save(str(place))
    import onnxruntime

    session = onnxruntime.InferenceSession(str(place), providers=["CPUExecutionProvider"])
    for batch, sequence in ((1, 1), (3, 5)):
        example = _example(config, batch, sequence)
        arrays = {name: value.numpy() for name, value in example.items()}
        (given,) = cast("list[Any]", session.run(None, arrays))
        with torch.inference_mode():
            expected = cast("Tensor", whole(**example)).float()
        difference = float((torch.from_numpy(given).float() - expected).abs().max())
        if not difference <= _TOLERANCE * max(1.0, float(expected.abs().max())):
            raise EngineError(
                f"onnxruntime's outputs differ from the model's by {difference:.2g} on "
                f"{batch} × {sequence} tokens; nothing was written. Please report this"
            )


@contextmanager
def _quiet() -> Generator[None]:
    """Without what PyTorch's exporter says of itself and of packages it looks for."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
