"""What is checked: a table of rows, and the model around it where there is one."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast

from torch import Tensor

from engine.errors import EngineError, ModelError, ParameterError
from engine.evaluation.variants import Variant
from engine.export.companions import SENTENCE_TRANSFORMERS
from engine.export.models import StoredModel, open_model, quiet_transformers
from engine.progress import Progress, ProgressCallback
from engine.rows import read_rows
from engine.table import EmbeddingTable

Pooling = Literal["mean", "first token"]
_LONGEST = 256  # tokens of a text, where the model says nothing shorter
_POSITIONS_BEFORE_TEXT = 2  # RoBERTa and its kin begin to count after the padding row


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """What checks are told.

    Attributes:
        data: A folder of GLUE or word sets, or of ``glue`` and ``words``, as
            `engine.evaluation.data.find_data` takes it; or what SUBSPACE_ATLAS_DATA names.
        text: A text file of the user's, one sentence a line, instead of the built-in sentences.
        probe_task: The GLUE task of the linear probe.
        seed: Of folds, samples and resamples.
    """

    data: str | None = None
    text: str | None = None
    probe_task: str = "sst2"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the seed.

        Raises:
            ParameterError: If it is not 0 … 2³²−1, what generators take.
        """
        if not 0 <= self.seed < 2**32:
            raise ParameterError(f"a seed is at least 0 and below 2^32, got {self.seed}")


class Subject:
    """A table, and its model, which is loaded when a check first needs it.

    Attributes:
        table: The rows as they came.
        options: What checks are told.
    """

    def __init__(
        self, table: EmbeddingTable, options: CheckOptions | None = None, *, alone: bool = False
    ) -> None:
        """Take a table for checking; nothing is loaded yet.

        Args:
            table: From `engine.load_table`.
            options: What checks are told.
            alone: Whether only its rows count: it was named by its tensor, or given tokens.
        """
        self.table = table
        self.options = options or CheckOptions()
        self._alone = alone

    @cached_property
    def _opened(self) -> StoredModel | str:
        """The model in its files, or why there is none."""
        nothing = (
            f"{self.table.name} is a table of rows without a model around it; give a model folder "
            "or the id of one on the hub"
        )
        if self._alone:
            return nothing
        try:
            stored = open_model(self.table.spec)
        except EngineError as error:
            return str(error)
        if stored is None:
            return nothing
        if stored.shape != tuple(self.table.matrix.shape):
            return (
                f"the embedding of {self.table.name} has shape {tuple(self.table.matrix.shape)}, "
                f"and its config.json calls for {stored.shape}; repair the model"
            )
        return stored

    @property
    def lacks_model(self) -> str | None:
        """Why no model can be run, and what to do; None where one can."""
        return self._opened if isinstance(self._opened, str) else None

    @property
    def lacks_tokenizer(self) -> str | None:
        """Why no text can be given to a model, and what to do; None where it can."""
        if self.lacks_model is not None:
            return self.lacks_model
        if {"tokenizer.json", "vocab.txt", "vocab.json"} & set(self.stored.origin.companions) or (
            any(name.endswith(".model") for name in self.stored.origin.companions)
        ):
            return None
        return f"{self.table.name} has no tokenizer; put its files beside the model"

    @property
    def stored(self) -> StoredModel:
        """The model in its files.

        Raises:
            ModelError: If there is none.
        """
        if isinstance(self._opened, str):
            raise ModelError(self._opened)
        return self._opened

    @property
    def is_sentence_encoder(self) -> bool:
        """Whether its files are those of sentence-transformers."""
        return self.stored.origin.library == SENTENCE_TRANSFORMERS

    @property
    def head(self) -> Literal["masked", "causal"] | None:
        """What its head predicts: a hidden word, the next one, or nothing known here."""
        from transformers.models.auto import modeling_auto as auto

        name = self.stored.model_class.__name__
        if name in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES.values():
            return "masked"
        return "causal" if name in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values() else None

    @cached_property
    def _loaded(self) -> tuple[Any, tuple[str, ...]]:
        model, notes = self.stored.load()
        return model.float().eval(), notes  # in half precision a CPU is slow and inexact

    def load(self, progress: ProgressCallback) -> None:
        """Load the model and its tokenizer, where they are not, before anything is timed.

        Raises:
            ModelError: If there is none, or it cannot be loaded.
        """
        progress(Progress(phase="Loading the model", done=0, total=1))
        _ = self.model, self.tokenizer
        progress(Progress(phase="Loading the model", done=1, total=1))

    @property
    def model(self) -> Any:  # noqa: ANN401 - of any class of transformers
        """The original model, in float32, on the CPU.

        Raises:
            ModelError: If there is none, or it cannot be loaded.
        """
        return self._loaded[0]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the table, and of the model once it is loaded."""
        loaded = self._loaded[1] if "_loaded" in vars(self) else ()
        return (*self.table.notes, *loaded)

    @cached_property
    def tokenizer(self) -> Any:  # noqa: ANN401 - of any class of transformers
        """Its tokenizer.

        Raises:
            ModelError: If it cannot be loaded.
        """
        from transformers import AutoTokenizer

        files = self.stored.files
        with quiet_transformers():
            try:
                return AutoTokenizer.from_pretrained(
                    files.folder, trust_remote_code=False, local_files_only=True
                )
            except Exception as error:  # a tokenizer of others' can break in any way
                reason = str(error).strip().split("\n", 1)[0]
                raise ModelError(
                    f"the tokenizer of {files.name} cannot be loaded ({reason}); repair its files"
                ) from error

    @cached_property
    def longest(self) -> int:
        """Most tokens of a text, special ones included."""
        limits = [
            _LONGEST,
            self._module_settings("sentence_bert_config.json").get("max_seq_length"),
        ]
        limits.append(getattr(self.tokenizer, "model_max_length", None))
        positions = getattr(self.model.config, "max_position_embeddings", None)
        if isinstance(positions, int):
            limits.append(max(1, positions - _POSITIONS_BEFORE_TEXT))
        return int(min(limit for limit in limits if isinstance(limit, int) and limit > 0))

    @property
    def pooling(self) -> Pooling:
        """What stands for a text: the mean of its tokens' states, or the state of the first."""
        settings = self._module_settings("1_Pooling/config.json")
        first = settings.get("pooling_mode_cls_token") or settings.get("pooling_mode") == "cls"
        return "first token" if first else "mean"

    @cached_property
    def foreign_pooling(self) -> str | None:
        """What makes its sentence vectors, where that is more than `pooling` knows; else None."""
        modes = {
            name.removeprefix("pooling_mode_")
            for name, value in self._module_settings("1_Pooling/config.json").items()
            if name.startswith("pooling_mode_") and value is True
        }
        named = self._module_settings("1_Pooling/config.json").get("pooling_mode")
        modes |= {named} if isinstance(named, str) else set()
        others = modes - {"mean_tokens", "mean", "cls_token", "cls"}
        if others or len(modes) > 1:
            return f"pooling by {' and '.join(sorted(modes))}"
        listed = self._companion("modules.json")
        kinds = {
            str(module.get("type", "")).rpartition(".")[2]
            for module in (cast("list[Any]", listed) if isinstance(listed, list) else [])
            if isinstance(module, dict)
        }
        further = sorted(kinds - {"", "Transformer", "Pooling", "Normalize"})
        return f"further modules ({', '.join(further)})" if further else None

    def _module_settings(self, name: str) -> dict[str, Any]:
        found = self._companion(name)
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}

    def _companion(self, name: str) -> object:
        """What a file beside the model holds; None where it is absent or damaged."""
        path = self.stored.origin.companions.get(name)
        try:
            return None if path is None else json.loads(path.read_bytes())
        except (OSError, ValueError):
            return None

    def rows(self, variant: Variant, rows: Tensor) -> Tensor:
        """Rows of a variant's embedding.

        Args:
            variant: Of this table.
            rows: Row numbers, shape (m,), int64.

        Returns:
            Shape (m, d), float32.
        """
        if variant.model is not None:
            return variant.layer.look_up(rows).detach().float()
        if variant.factorization is not None:
            return variant.factorization.reconstruct(rows).float()
        return read_rows(self.table.matrix, rows)

    @contextmanager
    def wearing(self, variant: Variant) -> Generator[Any]:
        """The model with a variant's embedding in it, for as long as the block lasts.

        Raises:
            ModelError: If there is no model, or its embedding cannot be replaced.
        """
        from engine.network.replacement import replace_embedding

        if variant.model is not None:
            yield variant.model
        elif variant.factorization is None:
            yield self.model
        else:
            handle = replace_embedding(self.model, variant.factorization)
            try:
                yield self.model
            finally:
                handle.undo()
