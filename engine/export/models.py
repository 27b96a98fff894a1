"""A model in files: which class it is, whether its embedding can be replaced, and its weights."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import nn

from engine.errors import EngineError, ModelError
from engine.export.companions import Origin, find_optional, find_origin
from engine.memory import check_memory, model_bytes
from engine.network.shape import LayerShape
from engine.sources import find_model
from engine.sources.files import FolderFiles, ModelFiles
from engine.sources.models import COMPRESSED, checkpoint_files, quantization_method, read_json
from engine.wording import counted

ALONE = "or compress its table alone, by giving the name of its array"
_MOST_NAMED = 4  # weights in a note


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """A model in files, known to be one that can be compressed; no weight is read yet.

    Attributes:
        files: Its files.
        model_class: The class of transformers that wrote it, heads included, or ``AutoModel``.
        shape: (n, d) of its input embedding.
        weight_bytes: Of its weights' files.
        origin: What else lies beside them.
        notes: What the user should know, each a full sentence.
    """

    files: ModelFiles
    model_class: Any
    shape: tuple[int, int]
    weight_bytes: int
    origin: Origin
    notes: tuple[str, ...] = ()

    def load(self) -> tuple[nn.Module, tuple[str, ...]]:
        """Load it in the dtype it is stored in.

        Returns:
            The model, on the CPU and in evaluation mode, and notes on weights that its files lack
            or hold besides.

        Raises:
            ModelError: If transformers cannot load it, or weights are missing.
            MemoryShortageError: If it would need more memory than is free.
        """
        import transformers

        check_memory(
            f"Loading {self.files.name}",
            model_bytes(self.weight_bytes),
            f"close other programs, {ALONE}",
        )
        notes = self.notes
        model, report = load_weights(self.files, self.model_class)
        if _lacks_whole_head(model, report["missing_keys"]):
            notes = (
                *notes,
                f"{self.files.name} lacks the head that its config.json names, so it was loaded "
                "without one.",
            )
            model, report = load_weights(self.files, transformers.AutoModel)
        # Without a head a pooler is often absent, and nothing else depends on it; a head may.
        bare = model is model.base_model
        missing = sorted(
            key for key in report["missing_keys"] if not (bare and key.startswith("pooler."))
        )
        if missing:
            raise ModelError(
                f"{self.files.name} lacks {_listed(missing)}; a smaller model made of it would "
                f"hold random numbers there. Repair its files, {ALONE}"
            )
        return model, (*notes, *_notes_on(report, self.files.name))


def _lacks_whole_head(model: Any, missing: set[str]) -> bool:  # noqa: ANN401
    """Whether a model of transformers found nothing of its head in the file, and all else."""
    prefix = f"{model.base_model_prefix}."
    head = {key for key in model.state_dict() if not key.startswith(prefix)}
    tied = set(model.all_tied_weights_keys)
    lacking = set(missing)
    return bool(lacking) and head - tied <= lacking <= head and model is not model.base_model


def open_model(spec: str | Path) -> StoredModel | None:
    """Find the model that a spec names, and check that it can be compressed.

    Args:
        spec: As in `engine.load_table`.

    Returns:
        None where there is a plain table instead of a model that transformers could know.

    Raises:
        SourceError: If files are missing or damaged.
        ModelError: If transformers does not know the model, its weights are quantised, or its
            embedding cannot be replaced.

    Cost: the model is built without numbers; of its files only headers are read.
    """
    files = find_model(spec)
    if files is None:
        return None
    config = read_json(files, "config.json")
    if "model_type" not in config:
        return None
    method = quantization_method(config)
    if method is not None:
        raise ModelError(
            f"the weights of {files.name} are quantised already ({method}); give the model before "
            "that"
        )
    weights = checkpoint_files(files)
    model_class, notes = find_class(files, config)
    return StoredModel(
        files=files,
        model_class=model_class,
        shape=_check_skeleton(files, model_class),
        weight_bytes=sum(path.stat().st_size for path in weights),
        origin=find_origin(files, str(spec)),
        notes=notes,
    )


def find_class(files: ModelFiles, config: dict[str, Any]) -> tuple[Any, tuple[str, ...]]:
    """The class of transformers that a model was saved from.

    Args:
        files: The model, for messages.
        config: The content of its config.json.

    Returns:
        The class, and a note where its head is unknown and has to be left out.
    """
    import transformers

    named: Any = config.get("architectures")
    name = str(cast("list[Any]", named)[0]) if isinstance(named, list) and named else None
    found = None if name is None else getattr(transformers, name, None)
    if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
        return found, ()
    if name is None:
        return transformers.AutoModel, ()
    note = (
        f"The installed transformers has no {name}, the class of {files.name}, so it was loaded "
        "without a head."
    )
    return transformers.AutoModel, (note,)


def load_weights(files: ModelFiles, model_class: Any, **options: Any) -> tuple[Any, Any]:  # noqa: ANN401
    """Load a model of transformers from files on the disk.

    Args:
        files: The model.
        model_class: From `find_class`.
        **options: For ``from_pretrained``; the dtype is the stored one unless they say otherwise.

    Returns:
        The model, and what transformers says of missing and unexpected weights.

    Raises:
        ModelError: If transformers cannot load it.
    """
    find_optional(files, "generation_config.json")
    with quiet_transformers():
        try:
            return model_class.from_pretrained(
                files.folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                **{"dtype": "auto", **options},
            )
        except EngineError:
            raise
        except Exception as error:  # a model of others' can break in any way
            raise ModelError(
                f"transformers cannot load {files.name}: {_reason(error)}; repair its files, "
                f"{ALONE}"
            ) from error


@contextmanager
def quiet_transformers() -> Generator[None]:
    """Keep transformers' progress bars and reports off the screen; errors are raised anyway."""
    from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils import logging

    level, ours = logging.get_verbosity(), logging.is_progress_bar_enabled()
    hub = not are_progress_bars_disabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()  # the hub's with them
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if ours:
            logging.enable_progress_bar()
        if hub:
            enable_progress_bars()


def is_compressed(folder: Path) -> bool:
    """Whether a folder holds a model with subspaces for an embedding.

    Raises:
        SourceError: If its config.json is damaged.
    """
    files = FolderFiles(folder, name=str(folder))
    if files.find("config.json") is None:
        return False
    return quantization_method(read_json(files, "config.json")) == COMPRESSED


def describe_layer(folder: Path) -> dict[str, object]:
    """Sizes of the embedding of a compressed model.

    Args:
        folder: One that `is_compressed`.

    Raises:
        FormatError: If its config.json is damaged.
    """
    config = read_json(FolderFiles(folder, name=str(folder)), "config.json")
    shape = LayerShape.from_dict(config["quantization_config"].get("layer", {}))
    coding = shape.coding
    return {
        "architecture": ", ".join(config.get("architectures") or ["unknown"]),
        "rows": shape.rows,
        "columns": shape.columns,
        "k": shape.k,
        "dimensions": list(shape.dimensions),
        "affine": shape.affine,
        "bits": None if coding is None else coding.bits,
    }


def _check_skeleton(files: ModelFiles, model_class: Any) -> tuple[int, int]:  # noqa: ANN401
    """Shape of the embedding of a model without numbers, if it can be replaced."""
    import torch
    from transformers import AutoConfig

    from engine.network.surgery import check_replaceable

    try:
        with quiet_transformers(), torch.device("meta"):
            config: Any = AutoConfig.from_pretrained(files.folder, trust_remote_code=False)
            plain = model_class.__name__ != "AutoModel"
            model = model_class(config) if plain else model_class.from_config(config)
    except Exception as error:  # as above
        raise ModelError(
            f"{files.name}: the installed transformers cannot build a model from its config.json: "
            f"{_reason(error)}; update transformers, {ALONE}"
        ) from error
    try:
        rows, columns = check_replaceable(model).weight.shape
    except ModelError as error:
        raise ModelError(f"{files.name}: {error}, {ALONE}") from error
    return int(rows), int(columns)


def _notes_on(report: dict[str, Any], name: str) -> tuple[str, ...]:
    missing, unexpected = (sorted(report[key]) for key in ("missing_keys", "unexpected_keys"))
    notes: list[str] = []
    if missing:
        notes.append(
            f"{name} lacks {_listed(missing)}, which transformers fills at random; so it is in the "
            "smaller model."
        )
    if unexpected:
        notes.append(
            f"{name} also holds {_listed(unexpected)}, which its class has no place for; the "
            "smaller model is without."
        )
    return tuple(notes)


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    rest = f" and {counted(more, 'more weight')}" if more > 0 else ""
    return ", ".join(names[:_MOST_NAMED]) + rest


def _reason(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
