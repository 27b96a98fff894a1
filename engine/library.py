"""What is already there for a table: shipped with us, or kept from earlier work.

Everything is found by the content fingerprint of the matrix, so that a layout or a starter plan
is never shown for rows it was not made from. Shipped files are looked at first.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.errors import EngineError, FormatError
from engine.factorization import Factorization
from engine.folders import write_file
from engine.frontier import SizeCurves
from engine.grid import SweepResult
from engine.methods import factorize
from engine.paths import assets_folder, user_data_folder
from engine.rows import RowMatrix

STARTER_FILE = "starter.safetensors"
STARTER_FIGURES_FILE = "starter.json"
SWEEP_FILE = "sweep.json"
ACCURACY_FILE = "accuracy.json"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Starter:
    """A plan made ahead, so that the first map needs no waiting.

    Attributes:
        labels: Shape (n,), int64: where EM had settled.
        layout: Shape (n, 2), float32: the UMAP layout.
        config: The plan, as the keyword arguments of `engine.compression.CompressionConfig`.
        figures: As `engine.compression.Compression.as_dict` gives them.
        sweep: Its default error curves.
        accuracy: What the model scored with its table stored in many ways, where that was measured.
    """

    labels: Tensor
    layout: Tensor
    config: dict[str, object]
    figures: dict[str, object]
    sweep: SweepResult
    accuracy: SizeCurves | None = None

    def fit(self, matrix: RowMatrix) -> Factorization:
        """The factorization itself, which is not shipped: one refit finds its bases again.

        Args:
            matrix: The rows it was made from, shape (n, d).
        """
        return factorize(
            matrix,
            k=int(str(self.config["k"])),
            rate=float(str(self.config["rate"])),
            labels=self.labels,
            n_init=0,
            max_iterations=1,
        )


def find_starter(fingerprint: str) -> Starter | None:
    """The shipped plan for these rows, if there is one.

    Raises:
        FormatError: If the shipped files are damaged.
    """
    for path in sorted(assets_folder().glob(f"*/{STARTER_FIGURES_FILE}")):
        try:
            header = json.loads(path.read_text(encoding="utf-8"))
            if header["source"] == fingerprint:
                return _read_starter(path.parent, header)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise FormatError(f"{path.parent} is damaged: {error}; install again") from error
    return None


def save_starter(folder: Path, fingerprint: str, starter: Starter) -> None:
    """Write a starter where `find_starter` looks: labels in a byte, layout in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {"labels": starter.labels.to(torch.uint8), "layout": starter.layout.half()},
        folder / STARTER_FILE,
    )
    header = {"source": fingerprint, "config": starter.config, "figures": starter.figures}
    text = json.dumps(header, indent=1, ensure_ascii=False)
    (folder / STARTER_FIGURES_FILE).write_text(text + "\n", encoding="utf-8")
    starter.sweep.save(folder / SWEEP_FILE)
    if starter.accuracy is not None:
        save_accuracy(folder, fingerprint, starter.accuracy)


def save_accuracy(folder: Path, fingerprint: str, accuracy: SizeCurves) -> None:
    """Write what a benchmark measured beside the starter of the same rows."""
    values = {"source": fingerprint, **asdict(accuracy)}
    text = json.dumps(values, indent=1, ensure_ascii=False)
    (folder / ACCURACY_FILE).write_text(text + "\n", encoding="utf-8")


def find_umap_layout(fingerprint: str, dimensions: int = 2) -> Tensor | None:
    """The UMAP layout of these rows, shape (n, dimensions), float32, if one was shipped or kept.

    Raises:
        FormatError: If the shipped files are damaged.
    """
    starter = find_starter(fingerprint) if dimensions == 2 else None
    if starter is not None:
        return starter.layout
    try:
        return load_file(_layout_path(fingerprint, dimensions))["layout"]
    except (OSError, SafetensorError, KeyError):
        return None  # absent or damaged: it is only a cache, and is made again


def keep_umap_layout(fingerprint: str, layout: Tensor) -> Path:
    """Keep a layout for the next time; it appears whole or not at all.

    Returns:
        The file.

    Raises:
        EngineError: If the disk refuses.
    """
    path = _layout_path(fingerprint, layout.shape[1])
    tensors = {"layout": layout.float().contiguous()}
    try:
        write_file(path, lambda temporary: save_file(tensors, temporary))
    except (OSError, SafetensorError) as error:
        raise EngineError(
            f"could not keep the layout in {path.parent}: {error}; free some space or point "
            "SUBSPACE_ATLAS_HOME at a folder of your own"
        ) from error
    return path


def _read_starter(folder: Path, header: dict[str, dict[str, object]]) -> Starter:
    tensors = load_file(folder / STARTER_FILE)
    return Starter(
        labels=tensors["labels"].long(),
        layout=tensors["layout"].float(),
        config=header["config"],
        figures=header["figures"],
        sweep=SweepResult.load(folder / SWEEP_FILE),
        accuracy=_read_accuracy(folder / ACCURACY_FILE, header["source"]),
    )


def _read_accuracy(path: Path, fingerprint: object) -> SizeCurves | None:
    """None as well where it is of other rows: a benchmark that was not run again for new ones."""
    if not path.is_file():
        return None
    values = json.loads(path.read_text(encoding="utf-8"))
    return SizeCurves.from_dict(values) if values.pop("source") == fingerprint else None


def _layout_path(fingerprint: str, dimensions: int) -> Path:
    suffix = "" if dimensions == 2 else f"-{dimensions}d"
    name = f"{fingerprint.replace(':', '-')}{suffix}.safetensors"
    return user_data_folder() / "layouts" / name
