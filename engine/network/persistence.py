"""Saving and loading by transformers' own calls, as a custom quantisation method.

Imported by `engine.network.registration` once transformers is; see README.md in this folder.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.quantizers.auto import (
    AUTO_QUANTIZATION_CONFIG_MAPPING,
    AUTO_QUANTIZER_MAPPING,
)
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from engine.coding.mixed import MixedCoding
from engine.errors import FormatError
from engine.network.embedding import SubspaceEmbedding
from engine.network.shape import LayerShape
from engine.network.surgery import Swap
from engine.sources.models import COMPRESSED as METHOD

_PLAIN, _OLD, _CODED = 1, (2, 3), 4
"""Formats: of all that is not coded, as older versions read it; of coded plans before any release,
of other levels; of coded plans."""
_READ = (_PLAIN, _CODED)


def _format_of(shape: LayerShape) -> int:
    return _CODED if isinstance(shape.coding, MixedCoding) else _PLAIN


class SubspaceConfig(QuantizationConfigMixin):
    """What config.json says of a subspace embedding, under ``quantization_config``.

    Attributes:
        quant_method: ``"subspace_atlas"``.
        format_version: Of this layout.
        layer: Sizes of the layer, as `LayerShape.as_dict` gives them.
    """

    def __init__(
        self, layer: dict[str, Any], format_version: int, quant_method: str = METHOD
    ) -> None:
        """Check what a file says.

        Raises:
            FormatError: If a version wrote it that this one cannot read.
        """
        if format_version in _OLD:
            raise FormatError(
                "this model holds coded subspaces of a development version of subspace-atlas, "
                "whose levels this one does not know; compress the model it was made from again"
            )
        if format_version not in _READ:
            raise FormatError(
                f"this model was written in format {format_version}, this version of "
                f"subspace-atlas reads up to {_CODED}; update it"
            )
        self.quant_method = METHOD  # pyright: ignore[reportAttributeAccessIssue] - theirs is an enum
        self.format_version = format_version
        self.layer = layer

    @classmethod
    def from_dict(
        cls, config_dict: dict[str, Any], return_unused_kwargs: bool = False, **kwargs: object
    ) -> Any:  # noqa: ANN401 - as transformers has it
        """Read a config back.

        Raises:
            FormatError: If a key is missing or unknown, or a newer version wrote it.
        """
        known = {"quant_method", "format_version", "layer"}
        version = config_dict.get("format_version", _PLAIN)
        if set(config_dict) != known and version in _READ:
            raise FormatError(
                f"quantization_config in config.json needs exactly {sorted(known)}, got "
                f"{sorted(config_dict)}; the file is damaged"
            )
        config = cls(config_dict.get("layer", {}), version)
        return (config, kwargs) if return_unused_kwargs else config


class SubspaceQuantizer(HfQuantizer):
    """Puts an empty layer into the skeleton of a model, for transformers to fill from the file."""

    requires_calibration = False
    swap: Swap | None = None

    def _process_model_before_weight_loading(self, model: Any, **_: object) -> None:  # noqa: ANN401
        config = cast("SubspaceConfig", self.quantization_config)
        shape = LayerShape.from_dict(config.layer)
        if config.format_version != _format_of(shape):
            raise FormatError(
                f"config.json says format {config.format_version}, and describes a layer of "
                f"format {_format_of(shape)}; the file is damaged"
            )

        def make(padding_idx: int | None, scale: float | Tensor | None) -> SubspaceEmbedding:
            return SubspaceEmbedding.empty(shape, padding_idx=padding_idx, scale=scale)

        self.swap = Swap(model, make)
        old = tuple(self.swap.weight.shape)
        if old != (shape.rows, shape.columns):
            raise FormatError(
                f"config.json describes an embedding {old}, and subspaces for "
                f"{(shape.rows, shape.columns)} rows and columns; the file is damaged"
            )

    def _process_model_after_weight_loading(self, model: Any, **_: object) -> Any:  # noqa: ANN401
        assert self.swap is not None
        embedding = self.swap.embedding
        # transformers only warns of what a file lacks; a layer it does not know stays as it is.
        absent = [name for name, part in embedding.state_dict(keep_vars=True).items() if _new(part)]
        if absent:
            raise FormatError(
                f"the embedding kept as subspaces lacks {', '.join(absent)}, or has other sizes "
                "than config.json says; the file is damaged"
            )
        for head in self.swap.heads:
            if head.bias is not None and _new(head.bias):  # of a folder saved without this head
                nn.init.zeros_(head.bias)
        embedding.refresh_positions()
        # All floats, or codes that no change of dtype touches: half() and float() are fine.
        model.is_quantized = False
        return model

    def dequantize(self, model: Any, dtype: torch.dtype | None = None) -> Any:  # noqa: ANN401
        """Put a dense layer in the place of the subspaces.

        Args:
            model: The model.
            dtype: Of the layer; left out, that of the subspaces: config.json's, which transformers
                takes, is another one after ``model.half()``.
        """
        assert self.swap is not None
        return super().dequantize(model, dtype or self.swap.embedding.dtype)

    def _dequantize(self, model: Any, dtype: torch.dtype | None = None) -> Any:  # noqa: ANN401
        assert self.swap is not None
        layer = self.swap.embedding
        trained = layer.shape.coding is not None or layer.bases.requires_grad
        self.swap.undo(nn.Parameter(layer.to_dense().to(dtype), requires_grad=trained))
        return model

    def is_serializable(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Whether `save_pretrained` may write it."""
        return True

    @property
    def is_trainable(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Whether the Trainer may train it."""
        return True

    @property
    def is_qat_trainable(self) -> bool:
        """Whether its own parameters may be trained."""
        return True

    @property
    def is_compileable(self) -> bool:
        """Whether torch.compile takes it."""
        return True


def _new(part: Tensor) -> bool:
    """Whether a tensor of a loaded model is none of the file's: transformers marks those."""
    return not getattr(part, "_is_hf_initialized", False)


def attach(model: Any, swap: Swap) -> None:  # noqa: ANN401 - PreTrainedModel, not imported here
    """Let `save_pretrained` and `dequantize` of a model know of its new embedding."""
    if not hasattr(model, "config"):
        return
    shape = swap.embedding.shape
    config = SubspaceConfig(shape.as_dict(), _format_of(shape))
    quantizer = SubspaceQuantizer(config)
    quantizer.swap = swap
    model.config.quantization_config = config
    model.hf_quantizer = quantizer


def detach(model: Any) -> None:  # noqa: ANN401 - as above
    """Undo `attach`."""
    if hasattr(model, "config"):
        del model.config.quantization_config
        del model.hf_quantizer


# Assigned, not through transformers' decorators: those refuse a name that is there already.
cast("dict[str, type]", AUTO_QUANTIZATION_CONFIG_MAPPING)[METHOD] = SubspaceConfig
cast("dict[str, type]", AUTO_QUANTIZER_MAPPING)[METHOD] = SubspaceQuantizer
