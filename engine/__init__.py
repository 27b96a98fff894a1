"""Subspace Atlas: cover the rows of an embedding layer with k flat subspaces.

The public names below load on first use, so that ``import engine`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from engine.network.registration import register_layer

if TYPE_CHECKING:
    from engine.errors import (
        Cancelled as Cancelled,
    )
    from engine.errors import (
        EngineError as EngineError,
    )
    from engine.estimator import ProjectiveClustering as ProjectiveClustering
    from engine.evaluation.evaluating import evaluate as evaluate
    from engine.evaluation.smallest import find_smallest as find_smallest
    from engine.export.compressing import compress_model as compress_model
    from engine.factorization import Factorization as Factorization
    from engine.frequencies import table_token_counts as table_token_counts
    from engine.frequencies import token_counts as token_counts
    from engine.frequencies import token_weights as token_weights
    from engine.layout import pca_layout as pca_layout
    from engine.layout import umap_layout as umap_layout
    from engine.methods import factorize as factorize
    from engine.network.embedding import SubspaceEmbedding as SubspaceEmbedding
    from engine.network.onnx import export_onnx as export_onnx
    from engine.network.replacement import replace_embedding as replace_embedding
    from engine.runs import RunStore as RunStore
    from engine.sources import load_table as load_table
    from engine.sweep import run_sweep as run_sweep
    from engine.table import EmbeddingTable as EmbeddingTable

_HOMES = {
    "Cancelled": "engine.errors",
    "EmbeddingTable": "engine.table",
    "EngineError": "engine.errors",
    "Factorization": "engine.factorization",
    "ProjectiveClustering": "engine.estimator",
    "RunStore": "engine.runs",
    "SubspaceEmbedding": "engine.network.embedding",
    "compress_model": "engine.export.compressing",
    "evaluate": "engine.evaluation.evaluating",
    "export_onnx": "engine.network.onnx",
    "factorize": "engine.methods",
    "find_smallest": "engine.evaluation.smallest",
    "load_table": "engine.sources",
    "pca_layout": "engine.layout",
    "replace_embedding": "engine.network.replacement",
    "run_sweep": "engine.sweep",
    "table_token_counts": "engine.frequencies",
    "token_counts": "engine.frequencies",
    "token_weights": "engine.frequencies",
    "umap_layout": "engine.layout",
}

__all__ = sorted(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]
__version__ = "0.1.0"

register_layer()


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
