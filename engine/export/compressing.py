"""`compress_model`: from the name of a model, or a model, to a smaller one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from engine.compression import CompressionConfig, compress_table
from engine.errors import EngineError, ModelError, ParameterError, ShapeError
from engine.export.companions import SENTENCE_TRANSFORMERS, TRANSFORMERS, Origin
from engine.export.models import ALONE, open_model
from engine.factorization import Factorization
from engine.methods import Fitter, fit_alone
from engine.progress import Progress, ProgressCallback, ignore_progress
from engine.recording import record_compression
from engine.records import RunRecord
from engine.runs import check_run_target
from engine.sources import load_table
from engine.table import EmbeddingTable, RowNumbers

if TYPE_CHECKING:  # they import transformers, which takes seconds
    from engine.export.smaller import SmallerModel


def compress_model(
    model: str | Path | nn.Module,
    *,
    output: str | Path | None = None,
    config: CompressionConfig | None = None,
    search: Mapping[str, Any] | None = None,
    fitter: Fitter = fit_alone,
    progress: ProgressCallback = ignore_progress,
    **plan: Any,  # noqa: ANN401 - fields of the config, which checks them
) -> SmallerModel:
    """Make a model smaller: its embedding layer becomes k subspaces.

    Args:
        model: ``"org/name"``, a model folder, ``"bundled:minilm"``; or a loaded model of
            transformers or sentence-transformers, which is changed in place.
        output: A folder for the smaller model. A run, or a model that was compressed to there and
            not touched since, is replaced.
        config: The plan; or give its fields one by one (``rate=0.4, k=5``). Or what
            `engine.find_smallest` found: ``config=found.config, search=found.as_dict()``.
        search: How the size was found, which the smaller model's record and card then tell.
        fitter: Who fits; see `engine.methods.factorize`.
        progress: Called throughout; raises `engine.Cancelled` to stop. Nothing is left behind, and
            a model in memory is as it was.
        **plan: Fields of `engine.plans.CompressionConfig`, such as ``rate``, ``k``, ``bits``.

    Returns:
        The smaller model, in memory, with its figures before and after.

    Raises:
        ParameterError: If the plan does not fit the model, or the place is taken.
        SourceError: If the model cannot be read.
        ModelError: If its embedding cannot be replaced.
        EngineError: If the disk refuses.
    """
    if config is not None and plan:
        raise ParameterError(
            f"the plan was given twice, as config and as {', '.join(sorted(plan))}; give one"
        )
    config = config or CompressionConfig.of(plan)
    if output is not None:
        check_run_target(Path(output))
    if isinstance(model, nn.Module):
        target = target_in_memory(model)
    else:
        target = find_target(load_table(model))
        if target is None:
            raise ModelError(
                f"{model} is a table and no model that transformers knows; fit it with "
                "engine.factorize, or run subspace-atlas compress"
            )
    if output is not None:
        target.check_room(Path(output))
    compression = compress_table(target.table, config, fitter=fitter, progress=progress)
    record, _ = record_compression(target.table, config, compression, search=search)

    def finish(smaller: SmallerModel) -> None:
        if output is not None:
            smaller.save(output)

    return target.shrink(compression.factorization, record, finish=finish, progress=progress)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelTarget:
    """A model that can take a factorization of its embedding.

    Attributes:
        table: Its embedding.
        origin: Where it comes from.
        least_bytes: That its folder surely takes.
    """

    table: EmbeddingTable
    origin: Origin
    least_bytes: int
    _load: Callable[[], tuple[nn.Module, tuple[str, ...]]]

    def check_room(self, folder: Path, *, copies: int = 1) -> None:
        """Refuse a disk that has no room for the smaller model; call it before long work.

        Args:
            folder: Where that is to go.
            copies: How many of it are there at a time.

        Raises:
            EngineError: If fewer bytes are free than it surely takes.
        """
        folder = folder.resolve()
        nearest = next(place for place in (folder, *folder.parents) if place.exists())
        free, needed = shutil.disk_usage(nearest).free, copies * self.least_bytes
        if free < needed:
            raise EngineError(
                f"the smaller model takes over {needed / 1e6:,.0f} MB in {folder}, and "
                f"{free / 1e6:,.0f} MB are free there; free some space or choose another place"
            )

    def shrink(
        self,
        factorization: Factorization,
        record: RunRecord,
        *,
        finish: Callable[[SmallerModel], None] = lambda _: None,
        progress: ProgressCallback = ignore_progress,
    ) -> SmallerModel:
        """Load the model and put a factorization of its table into it; see `engine.export.smaller`.

        Args:
            factorization: Of the table.
            record: How it was made, as `engine.recording.record_compression` gives it.
            finish: See `engine.export.smaller.shrink`.
            progress: Called throughout; may raise to stop.

        Raises:
            ModelError: If the model cannot be loaded.
            ShapeError: If the factorization is of another shape.
        """
        from engine.export.smaller import shrink

        phase = "Loading the model"
        progress(Progress(phase=phase, done=0, total=1))
        loaded = self._load()
        progress(Progress(phase=phase, done=1, total=1))
        return shrink(
            loaded, factorization, record, origin=self.origin, finish=finish, progress=progress
        )


def find_target(table: EmbeddingTable) -> ModelTarget | None:
    """The model that a table is the embedding of.

    Args:
        table: From `engine.load_table`, without the name of a tensor.

    Returns:
        None where the table comes from a plain file, or from a model transformers cannot know.

    Raises:
        SourceError: If files of the model are missing or damaged.
        ModelError: If the model cannot be compressed: see `engine.export.models.open_model`.
        ShapeError: If its configuration is not of the table's shape.
    """
    stored = open_model(table.spec)
    if stored is None:
        return None
    shape = tuple(table.matrix.shape)
    if shape != stored.shape:
        raise ShapeError(
            f"{table.name}: the embedding in its weights has shape {shape}, and its config.json "
            f"calls for {stored.shape}; repair the model, {ALONE}"
        )
    item = getattr(torch, table.source_dtype).itemsize
    return ModelTarget(
        table=table,
        origin=stored.origin,
        least_bytes=max(0, stored.weight_bytes - shape[0] * shape[1] * item),
        _load=stored.load,
    )


def target_in_memory(model: nn.Module) -> ModelTarget:
    """A loaded model, with the table of its embedding.

    Args:
        model: Of transformers or sentence-transformers.

    Raises:
        ModelError: If its embedding cannot be replaced.
    """
    from engine.network.replacement import transformer_of
    from engine.network.surgery import check_replaceable

    inner = transformer_of(model)
    weight = check_replaceable(inner).weight.detach()
    name = type(model).__name__
    table = EmbeddingTable(
        name=name,
        spec="",
        tokens=RowNumbers(len(weight)),
        matrix=weight.to("cpu", torch.float32),
        source_dtype=str(weight.dtype).removeprefix("torch."),
    )
    bytes_of_all = sum(parameter.nbytes for parameter in model.parameters())
    return ModelTarget(
        table=table,
        origin=Origin(name=name, library=TRANSFORMERS if inner is model else SENTENCE_TRANSFORMERS),
        least_bytes=bytes_of_all - weight.nbytes,
        _load=lambda: (model, ()),
    )
