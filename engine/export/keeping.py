"""Compressed models as zip files, made for the app's download and kept for the next one.

They lie by themselves and not in the folders of their runs: the plan that ships with a model is of
no run, and a model may take gigabytes, so that only the newest few are kept, whatever they are of.
Any of them can be made again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from engine.archives import file_name, zip_folder
from engine.coding.codes import Coding
from engine.errors import EngineError, ModelError, ParameterError
from engine.export.compressing import find_target
from engine.export.cost import MODEL_FIGURES, ModelCost, read_cost
from engine.factorization import Factorization
from engine.folders import remove_folder
from engine.library import find_starter
from engine.paths import user_data_folder
from engine.progress import Progress, ProgressCallback, ignore_progress
from engine.provenance import installed_versions
from engine.recording import read_compression_figures, record_plan
from engine.records import RunRecord
from engine.runs import RunStore, read_run, write_run
from engine.table import EmbeddingTable

KEPT_MODELS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptModel:
    """A compressed model in a zip file.

    Attributes:
        path: The file; it holds one folder, named as the file is.
        file_bytes: Of the file.
        cost: What the model takes, and what it took before.
        notes: What the user should know, each a full sentence.
        loader: What loads the folder, once engine is imported: ``"SentenceTransformer"``,
            ``"BertModel.from_pretrained"``.
    """

    path: Path
    file_bytes: int
    cost: ModelCost
    notes: tuple[str, ...]
    loader: str


def find_kept_model(table: EmbeddingTable, run_id: str | None) -> KeptModel | None:
    """The zip file of a model with a plan, if it is still there.

    Args:
        table: The model's embedding.
        run_id: The plan: a compression in the store, or None for what ships with the table.

    Returns:
        None where there is none, or one that is damaged: it is made again.
    """
    folder = _place(table, run_id)
    try:
        figures = read_run(folder).record.figures[MODEL_FIGURES]
        (path,) = folder.glob("*.zip")
        return KeptModel(
            path=path,
            file_bytes=path.stat().st_size,
            cost=read_cost(figures),
            notes=tuple(figures["notes"]),
            loader=_read_loader(path),
        )
    except (EngineError, OSError, ValueError, KeyError, TypeError, IndexError, BadZipFile):
        return None


def keep_model(
    table: EmbeddingTable, run_id: str | None, *, progress: ProgressCallback = ignore_progress
) -> KeptModel:
    """Put a plan into the model it is of, and keep that as a zip file; once, not again.

    Args:
        table: The model's embedding, loaded without the name of a tensor.
        run_id: As in `find_kept_model`.
        progress: Called throughout; may raise to stop. Nothing is left behind then.

    Raises:
        ParameterError: If there is no such plan, or it is of other rows.
        ModelError: If there is no model behind the table, or it cannot be compressed.
        EngineError: If the disk refuses.
    """
    found = find_kept_model(table, run_id)
    if found is not None:
        return found
    plan, record = read_plan(table, run_id)
    progress(Progress(phase="Loading the model", done=0, total=1))
    target = find_target(table)
    if target is None:
        raise ModelError(
            f"{table.name} is a table and no model that transformers knows; download its "
            "factorization instead"
        )
    folder = _place(table, run_id)
    target.check_room(folder, copies=2)  # the folder, and the zip file of it
    smaller = target.shrink(plan, record, progress=progress)
    coding = plan.coding
    bits = [f"{coding.bits}bit"] if isinstance(coding, Coding) else ["coded"] if coding else []
    name = file_name(table.name, f"k{plan.k}", *bits)

    def write(temporary: Path) -> None:
        progress(Progress(phase="Writing the model", done=0, total=1))
        smaller.save(temporary / name)
        zip_folder(temporary / name, temporary / f"{name}.zip", name=name, progress=progress)
        shutil.rmtree(temporary / name)

    write_run(folder, smaller.record, write, overwrite=True)  # a damaged one, too
    _forget_oldest(folder.parent)
    kept = find_kept_model(table, run_id)
    if kept is None:
        raise EngineError(f"the model in {folder} cannot be read back; check the disk")
    return kept


def _place(table: EmbeddingTable, run_id: str | None) -> Path:
    """Where the zip file of a model lies: by all that decides what is in it."""
    version = installed_versions()["subspace-atlas"]
    parts = (version, table.fingerprint, table.spec, run_id or "", _stamps(Path(table.spec)))
    key = hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()
    return user_data_folder() / "models" / key


def _stamps(folder: Path) -> list[tuple[str, int, int]]:
    """What changes when the model in a folder does, its embedding apart; nothing for others."""
    found: list[tuple[str, int, int]] = []
    with suppress(OSError, RuntimeError):
        folder = folder.expanduser()
        for path in [*folder.glob("*"), *folder.glob("*/*")] if folder.is_dir() else ():
            if path.is_file():
                found.append((str(path), path.stat().st_size, path.stat().st_mtime_ns))
    return sorted(found)


def read_plan(table: EmbeddingTable, run_id: str | None) -> tuple[Factorization, RunRecord]:
    """A plan of a table, and how it was made.

    Args:
        table: What it is a plan of.
        run_id: As in `find_kept_model`.

    Raises:
        ParameterError: If there is no such plan, or it is of other rows.
        FormatError: If the run is damaged.
    """
    if run_id is None:
        starter = find_starter(table.fingerprint)
        if starter is None:
            raise ParameterError(f"no plan ships for {table.name}; compress it first")
        figures = read_compression_figures(starter.figures)
        return starter.fit(table.matrix), record_plan(table, starter.config, figures)
    run = RunStore().load(run_id)
    if run.record.kind != "compress" or run.record.source["fingerprint"] != table.fingerprint:
        raise ParameterError(
            f"the run {run_id} is not of the input embedding that {table.name} has now: the model "
            "was changed since, or another tensor was compressed; compress it again"
        )
    return Factorization.load(run.folder), run.record


def _read_loader(path: Path) -> str:
    with ZipFile(path) as packed:
        if f"{path.stem}/modules.json" in packed.namelist():
            return "SentenceTransformer"
        config: Any = json.loads(packed.read(f"{path.stem}/config.json"))
        return f"{config['architectures'][0]}.from_pretrained"


def _forget_oldest(folder: Path) -> None:
    kept: list[tuple[float, Path]] = []
    for place in folder.iterdir():
        with suppress(OSError):  # another process may do the same
            if not place.name.startswith("."):
                kept.append((place.stat().st_mtime, place))
    for _, place in sorted(kept, reverse=True)[KEPT_MODELS:]:
        with suppress(OSError):
            remove_folder(place)
