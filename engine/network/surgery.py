"""Modules of a model swapped for a subspace embedding and what shares it, and swapped back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from engine.errors import ModelError
from engine.network.embedding import SubspaceEmbedding
from engine.network.ties import SharedEmbedding, TiedHead
from engine.sources.models import COMPRESSED

EmbeddingMaker = Callable[[int | None, float | Tensor | None], SubspaceEmbedding]
"""Makes the new layer, given the old one's padding row and scale."""

# Heads that multiply with the embedding's dense weight themselves.
_DENSE_HEADS = (
    "DebertaLMPredictionHead",
    "DebertaV2LMPredictionHead",
    "MobileBertLMPredictionHead",
)
_TIES = ("_tied_weights_keys", "all_tied_weights_keys")
_RESIZE = "resize_token_embeddings"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    """One place in a model: a module under a name of its parent."""

    parent: nn.Module
    name: str
    module: nn.Module


class Swap:
    """An embedding of a model and all that was tied to it, replaced.

    The modules taken out are kept without their weight, so that they can be put back with another.

    Attributes:
        embedding: The new layer.
        heads: Those tied to it.
        weight: The weight that was taken out.
    """

    def __init__(self, model: nn.Module, make: EmbeddingMaker) -> None:
        """Replace the input embedding of a model, in place.

        Args:
            model: A model of transformers, with or without weights.
            make: Makes the new layer.

        Raises:
            ModelError: If the embedding, or what is tied to it, is of a kind we cannot replace.
                The model is as it was then.
        """
        old = input_embedding(model)
        self._sites = _find_sites(model, old)
        self.weight = cast("nn.Parameter", old.weight)
        self.embedding = make(old.padding_idx, _scale_of(old))
        self._settings: list[tuple[nn.Module, str, Any]] = []
        self.heads: list[TiedHead] = []
        self._undone = False
        for site in self._sites:
            setattr(site.parent, site.name, self._substitute(site.module, old))
        for site in self._sites:
            site.module.weight = nn.Parameter(
                self.weight.detach().to("meta"), requires_grad=self.weight.requires_grad
            )
        self._untie(model)

    def _substitute(self, module: nn.Module, old: nn.Embedding) -> nn.Module:
        if module is old:
            return self.embedding
        if isinstance(module, nn.Embedding):
            scale = _scale_of(module)
            return SharedEmbedding(self.embedding, padding_idx=module.padding_idx, scale=scale)
        head = TiedHead(self.embedding, bias=cast("nn.Parameter | None", module.bias))
        self.heads.append(head)
        return head

    def _untie(self, model: nn.Module) -> None:
        """Take back what the model says of its ties, and its offer to resize the table."""
        replaced = {id(site.module) for site in self._sites}
        replaced |= {id(getattr(site.parent, site.name)) for site in self._sites}
        for module in model.modules():
            if not hasattr(module, _TIES[0]):
                continue
            for name in _TIES:
                pairs = cast("dict[str, str] | None", getattr(module, name, None))
                if not pairs:
                    continue
                kept = {
                    target: source
                    for target, source in pairs.items()
                    if not _is_weight_of(module, target, replaced)
                }
                if kept != pairs:
                    self._set(module, name, kept)
            if hasattr(module, _RESIZE):
                self._set(module, _RESIZE, _refuse_resizing)

    def _set(self, module: nn.Module, name: str, value: object) -> None:
        self._settings.append((module, name, module.__dict__.get(name)))
        module.__dict__[name] = value

    def release_weight(self) -> nn.Parameter:
        """Give the weight that was taken out, and keep no more than its shape."""
        weight = self.weight
        self.weight = nn.Parameter(weight.detach().to("meta"), requires_grad=weight.requires_grad)
        return weight

    def undo(self, weight: nn.Parameter) -> None:
        """Put the old modules back.

        Args:
            weight: Their weight, shape (n, d); all that were tied share it.

        Raises:
            ModelError: If that was done before.
        """
        if self._undone:
            raise ModelError("the embedding of this model is dense already; nothing to undo")
        self._undone = True
        for site in self._sites:
            new = getattr(site.parent, site.name)
            site.module.weight = weight
            if isinstance(new, TiedHead):
                site.module.bias = new.bias  # may have been trained or loaded meanwhile
            elif isinstance(new, SubspaceEmbedding | SharedEmbedding):
                _restore_scale(site.module, new.scale, self.embedding.weight.device)
            setattr(site.parent, site.name, site.module)
        for module, name, value in reversed(self._settings):
            if value is None:
                del module.__dict__[name]
            else:
                module.__dict__[name] = value


def input_embedding(model: nn.Module) -> nn.Embedding:
    """The input embedding of a model, if it is one we can replace.

    Raises:
        ModelError: If there is none, it is replaced already, or it does more than look rows up
            and scale them.
    """
    try:
        found = cast("Any", model).get_input_embeddings()
    except (AttributeError, NotImplementedError) as error:
        raise ModelError(
            f"{type(model).__name__} names no input embedding; give a transformers model with "
            "get_input_embeddings()"
        ) from error
    if isinstance(found, SubspaceEmbedding | SharedEmbedding):
        raise ModelError(
            f"the embedding of this {type(model).__name__} is kept as subspaces already; call "
            "undo() on what replace_embedding returned, or model.dequantize(), first"
        )
    if not isinstance(found, nn.Embedding):
        raise ModelError(
            f"the input embedding of {type(model).__name__} is a {type(found).__name__}, no "
            "torch.nn.Embedding; this model cannot be compressed"
        )
    unusual = _unusual(found)
    if unusual:
        raise ModelError(
            f"the input embedding of {type(model).__name__} is {unusual}, and does more than look "
            "rows up; this model cannot be compressed"
        )
    return found


def _unusual(module: nn.Embedding) -> str:
    """What makes a table do more than look rows up and scale them; empty where nothing does."""
    for name in ("max_norm", "scale_grad_by_freq"):
        if getattr(module, name):
            return f"with {name}"
    plain = type(module) is nn.Embedding or hasattr(module, "embed_scale")
    return "" if plain else f"a {type(module).__name__}"


def check_replaceable(model: nn.Module) -> nn.Embedding:
    """The input embedding of a model, if it and all that is tied to it can be replaced.

    Args:
        model: A model of transformers, with or without weights; left as it is.

    Raises:
        ModelError: If not.
    """
    quantized = getattr(getattr(model, "config", None), "quantization_config", None)
    if quantized is not None and getattr(quantized, "quant_method", None) != COMPRESSED:
        raise ModelError(
            f"this {type(model).__name__} is quantised already, by another method; compress the "
            "model it was made from"
        )
    embedding = input_embedding(model)
    _find_sites(model, embedding)
    return embedding


def _find_sites(model: nn.Module, old: nn.Embedding) -> list[_Site]:
    """Every place of the embedding and of the modules that share its weight."""
    modules = dict(model.named_modules(remove_duplicate=False))
    paths = {path for path, module in modules.items() if module is old}
    declared = _declared_ties(model, {f"{path}.weight" for path in paths})
    names = {
        name for name, part in model.named_parameters(remove_duplicate=False) if part is old.weight
    }
    shared = {name.rpartition(".")[0] for name in names}
    ready = old.weight.device.type != "meta"  # a skeleton is tied only after it was filled
    sites: list[_Site] = []
    for path in sorted(paths | declared | shared):
        module = modules[path]
        if ready and path not in shared:
            raise ModelError(
                f"the configuration ties {path} to the input embedding, but its weight is another; "
                "set model.config.tie_word_embeddings = False, save the model and load it again"
            )
        weight = f"{path}.weight".removeprefix(".")
        table = isinstance(module, nn.Embedding) and not _unusual(module)
        # Not a subclass: a head that does more than multiply would silently do less.
        known = table or type(module) is nn.Linear
        if not known or (ready and weight not in names):
            raise ModelError(
                f"{path}, a {type(module).__name__}, shares the weight of the input embedding in a "
                "way that is not known here; this model cannot be compressed"
            )
        parent, _, name = path.rpartition(".")
        sites.append(_Site(parent=modules[parent], name=name, module=module))
    for path, module in modules.items():
        if type(module).__name__ in _DENSE_HEADS:
            raise ModelError(
                f"{path}, a {type(module).__name__}, multiplies with the embedding's dense weight; "
                "load the model without that head, or a DeBERTa with config.legacy = True"
            )
    return sites


def _declared_ties(model: nn.Module, names: set[str]) -> set[str]:
    """Paths of modules whose weights the model declares to be the same as these."""
    pairs = cast("dict[str, str]", getattr(model, _TIES[1], None) or {})
    group, before = set(names), set[str]()
    while group != before:  # ties may go by way of a third
        before = set(group)
        for target, source in pairs.items():
            if target in group or source in group:
                group |= {target, source}
    return {name.removesuffix(".weight") for name in group}


def _is_weight_of(module: nn.Module, name: str, replaced: set[int]) -> bool:
    """Whether a parameter's name is, below this module, the weight of a replaced module."""
    path, _, last = name.rpartition(".")
    if last != "weight":
        return False
    try:
        return id(module.get_submodule(path)) in replaced
    except AttributeError:  # a pattern, or a part that this model lacks
        return False


def _scale_of(module: nn.Embedding) -> float | Tensor | None:
    scale = cast("float | Tensor | None", getattr(module, "embed_scale", None))
    if isinstance(scale, Tensor):
        # A skeleton's buffer is empty, but it has the number too. float32: each dtype rounds anew.
        exact = float(getattr(module, "scalar_embed_scale", scale))
        return torch.tensor(exact, dtype=torch.float32, device="cpu")
    return scale


def _restore_scale(module: nn.Module, scale: float | Tensor | None, device: torch.device) -> None:
    """Fill the scale of a module that came out of a skeleton, and move it along."""
    held = getattr(module, "embed_scale", None)
    if isinstance(held, Tensor) and isinstance(scale, Tensor):
        module.embed_scale = scale.to(device=device, dtype=held.dtype)


def _refuse_resizing(new_num_tokens: int | None = None, *_: object, **__: object) -> None:
    raise ModelError(
        f"a layer of subspaces has a fixed number of rows and cannot be resized to "
        f"{new_num_tokens}; put the dense layer back with model.dequantize(), resize, and "
        "compress again"
    )
