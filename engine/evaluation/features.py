"""Vectors of texts, kept on the disk: the same model, embedding and texts are computed once."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.errors import EngineError
from engine.evaluation.encoding import Report, Tokenised, pooled_states
from engine.evaluation.subject import Subject
from engine.evaluation.variants import Variant
from engine.folders import write_file
from engine.paths import user_data_folder

KEPT_FEATURES = 64
"""Files; of the bundled model and 3,000 texts each takes 5 MB."""
_BLOCK_ROWS = 4_096


def kept_states(subject: Subject, variant: Variant, texts: Tokenised, report: Report) -> Tensor:
    """Mean-pooled states of texts, computed where they are not kept already.

    Args:
        subject: Whose model.
        variant: The embedding it wears.
        texts: Of its tokenizer.
        report: Told while they are computed; may raise to stop.

    Returns:
        Shape (m, width), float32.

    Raises:
        EngineError: If the disk refuses.
    """
    path = user_data_folder() / "features" / f"{_key(subject, variant, texts)}.safetensors"
    with suppress(OSError, SafetensorError, KeyError):  # absent or damaged: it is made again
        return load_file(path)["states"]
    with subject.wearing(variant) as model:
        states = pooled_states(model, texts, pooling="mean", report=report)
    try:
        write_file(path, lambda temporary: save_file({"states": states}, temporary))
    except (OSError, SafetensorError) as error:
        raise EngineError(
            f"could not keep the features in {path.parent}: {error}; free some space or point "
            "SUBSPACE_ATLAS_HOME at a folder of your own"
        ) from error
    _forget_oldest(path.parent)
    return states


def _key(subject: Subject, variant: Variant, texts: Tokenised) -> str:
    """All that decides the states: the model, the rows it wears, and the tokens it reads.

    Cost: one pass over the model's bytes, about 1 GB a second.
    """
    digest = hashlib.blake2b(digest_size=16)
    model = subject.model if variant.model is None else variant.model
    digest.update(model.config.to_json_string().encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    for rows in torch.arange(len(subject.table.matrix)).split(_BLOCK_ROWS):
        digest.update(subject.rows(variant, rows).contiguous().numpy().data)
    digest.update(json.dumps(texts.ids).encode())
    return digest.hexdigest()


def _forget_oldest(folder: Path) -> None:
    kept: list[tuple[float, Path]] = []
    for path in folder.glob("*.safetensors"):
        with suppress(OSError):  # another process may do the same
            kept.append((path.stat().st_mtime, path))
    for _, path in sorted(kept, reverse=True)[KEPT_FEATURES:]:
        path.unlink(missing_ok=True)
