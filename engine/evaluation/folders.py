"""What `subspace-atlas compress` wrote, beside the model it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import EngineError, FormatError, ParameterError
from engine.evaluation.variants import Variant, add_rivals, name_plan, of_factorization, read_config
from engine.export.models import find_class, is_compressed, load_weights
from engine.factorization import Factorization
from engine.progress import Progress, ProgressCallback, ignore_progress
from engine.records import RunRecord
from engine.runs import RECORD_FILE, read_run
from engine.sources import load_table
from engine.sources.files import FolderFiles
from engine.sources.models import read_json
from engine.table import EmbeddingTable


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CompressedFolder:
    """A folder with a smaller model, or with a factorization of a table.

    Attributes:
        table: The rows it was made from.
        folder: Where it is.
        record: What its ``run.json`` says.
    """

    table: EmbeddingTable
    folder: Path
    record: RunRecord

    def variants(self, progress: ProgressCallback = ignore_progress) -> tuple[Variant, ...]:
        """The original, what the folder holds, and SVDs of that size.

        Raises:
            ModelError: If the smaller model cannot be loaded.
            FormatError: If it lacks weights.
        """
        figures, config = self.record.figures, read_config(self.record.config)
        if is_compressed(self.folder):
            progress(Progress(phase="Loading the smaller model", done=0, total=1))
            ours = Variant(
                name=name_plan(figures["k"], config),
                role="compressed",
                parameters=figures["parameters"],
                stored_bytes=figures["stored_bytes"],
                relative_error=figures["relative_error"],
                model=_load_model(self.folder),
            )
        else:
            plan = Factorization.load(self.folder)
            ours = of_factorization(
                self.table, plan, name=name_plan(plan.k, config), role="compressed"
            )
        return add_rivals(self.table, ours, config, progress=progress)


def open_compressed(spec: str | Path) -> CompressedFolder | None:
    """The folder that a spec names, if `subspace-atlas compress` wrote it.

    Args:
        spec: As in `engine.load_table`, or such a folder.

    Returns:
        None for anything else.

    Raises:
        ParameterError: If it does not say what it was made from, or that has changed.
        SourceError: If that cannot be read.
    """
    folder = Path(spec).expanduser()
    if not folder.is_dir():
        return None
    if not (folder / RECORD_FILE).is_file():
        if is_compressed(folder):
            raise ParameterError(
                f"{folder} holds a compressed model but no {RECORD_FILE}, which says what it was "
                "made from; compress the original again with -o, and give that folder"
            )
        return None
    record = read_run(folder).record
    source = record.source
    if record.kind != "compress":
        raise ParameterError(
            f"{folder} is a run of kind {record.kind}; give a folder that subspace-atlas compress "
            "wrote"
        )
    if not source["spec"]:
        raise ParameterError(
            f"{folder} was made from a model in memory, which is gone; compress a saved model"
        )
    try:
        table = load_table(source["spec"])
    except EngineError as error:
        raise ParameterError(
            f"{folder} was made from {source['spec']}, which cannot be read here: {error}"
        ) from error
    if table.fingerprint != source["fingerprint"]:
        raise ParameterError(
            f"{source['spec']} has changed since {folder} was made from it; compress it again"
        )
    return CompressedFolder(table=table, folder=folder, record=record)


def _load_model(folder: Path) -> Any:  # noqa: ANN401 - of any class of transformers
    files = FolderFiles(folder, name=folder.resolve().name)
    model_class, _ = find_class(files, read_json(files, "config.json"))
    model, report = load_weights(files, model_class)
    missing = [key for key in report["missing_keys"] if not key.startswith("pooler.")]
    if missing:
        raise FormatError(f"{folder} lacks {', '.join(sorted(missing))}; compress the model again")
    return model.float().eval()
