"""From a compressed model back to a dense one, whose embedding holds the approximated rows."""

from __future__ import annotations

from pathlib import Path

from engine.errors import EngineError, FormatError, ModelError, ParameterError
from engine.export.card import write_restored_card
from engine.export.companions import find_origin
from engine.export.models import find_class, is_compressed, load_weights
from engine.export.smaller import save_model
from engine.folders import write_folder
from engine.runs import check_run_target
from engine.sources.files import FolderFiles
from engine.sources.models import read_json


def restore_model(folder: str | Path, output: str | Path) -> Path:
    """Make a plain dense model of a compressed one: it loads without this package.

    The rows of its embedding are those that the subspaces give, not the ones before compressing.

    Args:
        folder: What `engine.compress_model` or ``save_pretrained`` of a compressed model wrote.
        output: A new or empty folder.

    Returns:
        Where it was written.

    Raises:
        ParameterError: If there is no such folder, or the place is taken.
        ModelError: If the folder holds no compressed model, or it cannot be loaded.
        FormatError: If it lacks weights.
        EngineError: If the disk refuses.
    """
    folder, output = Path(folder), Path(output)
    check_run_target(output)
    if output.is_dir() and any(output.iterdir()):
        raise ParameterError(
            f"{output} holds files, which would be lost; restore into a new or empty folder"
        )
    if not folder.is_dir():
        raise ParameterError(f"expected a model folder, found none at {folder}; check the path")
    if not is_compressed(folder):
        raise ModelError(
            f"{folder} holds no compressed model; give a folder that subspace-atlas compress wrote "
            "for a model (subspace-atlas info says what a folder holds)"
        )
    files = FolderFiles(folder, name=folder.resolve().name)
    origin = find_origin(files, str(folder))
    model_class, _ = find_class(files, read_json(files, "config.json"))
    model, report = load_weights(files, model_class)
    if report["missing_keys"]:
        raise FormatError(
            f"{folder} lacks {', '.join(sorted(report['missing_keys']))}; a model restored from it "
            "would hold random numbers there. Copy or compress the model again"
        )
    model.dequantize()

    def write(temporary: Path) -> None:
        save_model(model, origin, temporary)
        write_restored_card(origin, temporary, type(model).__name__)

    try:
        write_folder(output.resolve(), write)
    except OSError as error:
        raise EngineError(
            f"could not write the model to {output}: {error}; free some space or choose a folder "
            "you may write to"
        ) from error
    return output
