"""What lies beside a model's weights and belongs to it: tokenizer, modules, licence, card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from engine.errors import ModelError, SourceError
from engine.sources import BUNDLED_MODELS
from engine.sources.bundled import PREFIX
from engine.sources.files import HubFiles, ModelFiles
from engine.sources.vocabulary import TOKENIZER_FILES

TRANSFORMERS, SENTENCE_TRANSFORMERS = "transformers", "sentence-transformers"
_MODULES = "modules.json"  # of sentence-transformers: which folders come after the model
_NAMES = (
    # tokenizers and processors
    "tokenizer.json",
    *TOKENIZER_FILES,
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    # sentence-transformers
    _MODULES,
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
    "config_sentence_transformers.json",
    # what whoever passes a model on has to pass on too
    "LICENSE",
    "LICENSE.txt",
    "LICENSE.md",
    "NOTICE",
)
_MODULE_NAMES = ("config.json", "model.safetensors")
_PICKLED = "pytorch_model.bin"
_CARD = "README.md"
_CARD_KEYS = ("license", "license_name", "license_link", "pipeline_tag", "base_model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a model comes from.

    Attributes:
        name: What people call it.
        spec: What `engine.load_table` takes to find it again; empty for a model in memory.
        library: What loads it: ``"transformers"`` or ``"sentence-transformers"``.
        hub_id: Its name on the Hugging Face hub, where that is known.
        card: Lines of its own card's head that its children keep, by key ("license").
        companions: The other files that belong to it, by their name in the folder.
    """

    name: str
    spec: str = ""
    library: str = TRANSFORMERS
    hub_id: str | None = None
    card: Mapping[str, str] = field(default_factory=dict[str, str])
    companions: Mapping[str, Path] = field(default_factory=dict[str, Path])

    def copy_to(self, folder: Path) -> None:
        """Put the other files into a folder.

        Raises:
            OSError: If the disk refuses.
        """
        for name, source in self.companions.items():
            target = folder / name
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, target)


def find_origin(files: ModelFiles, spec: str) -> Origin:
    """Find all that belongs to a model besides its weights.

    Args:
        files: The model.
        spec: How the user named it.

    Raises:
        SourceError: If the hub cannot be reached for them, or modules.json is damaged.
        ModelError: If a module of sentence-transformers has its weights as a pickle only.
    """
    found = {name: find_optional(files, name) for name in _NAMES}
    for module in _module_folders(files, found[_MODULES]):
        for name in (f"{module}/{name}" for name in _MODULE_NAMES):
            found[name] = find_optional(files, name)
        pickled = found[f"{module}/{_MODULE_NAMES[1]}"] is None and find_optional(
            files, f"{module}/{_PICKLED}"
        )
        if pickled:
            raise ModelError(
                f"{files.name}: {module} has its weights only as {_PICKLED}, a pickle, which can "
                "run code when it is read; load and save the model with a new version of "
                "sentence-transformers first"
            )
    hub_id = files.name if isinstance(files, HubFiles) else None
    if spec.startswith(PREFIX):
        hub_id = BUNDLED_MODELS[spec.removeprefix(PREFIX)].hub_id
    return Origin(
        name=files.name,
        spec=spec,
        library=TRANSFORMERS if found[_MODULES] is None else SENTENCE_TRANSFORMERS,
        hub_id=hub_id,
        card=read_card(files),
        companions={name: path for name, path in found.items() if path is not None},
    )


def find_optional(files: ModelFiles, name: str) -> Path | None:
    """Path of a file that a model need not have.

    Offline, what is not in the cache counts as not there, as it does for transformers.

    Raises:
        SourceError: If the hub cannot be reached although it should be.
    """
    from huggingface_hub import is_offline_mode

    try:
        return files.find(name)
    except SourceError:
        if is_offline_mode():
            return None
        raise


def _module_folders(files: ModelFiles, path: Path | None) -> list[str]:
    """Folders of what comes after the model itself, which is at the top."""
    if path is None:
        return []
    try:
        modules: Any = json.loads(path.read_bytes())
        folders = [str(module["path"]) for module in cast("list[dict[str, Any]]", modules)]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise SourceError(
            f"{files.name}: {_MODULES} should list modules with their “path” ({error}); download "
            "it again"
        ) from error
    for folder in folders:
        # a name with folders in it could point anywhere on the disk
        if folder in (".", "..") or "\\" in folder or (folder and Path(folder).name != folder):
            raise SourceError(
                f"{files.name}: {_MODULES} should name folders beside it, got {folder!r}; download "
                "it again"
            )
    return [folder for folder in folders if folder]


def read_card(files: ModelFiles) -> dict[str, str]:
    """One-line values out of the front matter of a model's card, as they are written there.

    Raises:
        SourceError: If the hub cannot be reached for it.
    """
    path = find_optional(files, _CARD)
    if path is None:
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if not lines or lines[0].strip() != "---":
        return {}
    found: dict[str, str] = {}
    for line in lines[1:]:
        if line.strip() == "---":
            return found
        key, colon, value = line.partition(":")
        # a list or a block of several lines has nothing, or a sign, after the colon
        if colon and key in _CARD_KEYS and value.strip() and value.strip()[0] not in "|>&*":
            found[key] = value.strip()
    return {}  # a head without an end is none
