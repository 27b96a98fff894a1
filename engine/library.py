"""What is already there for a table: shipped with us, or kept from earlier work.

Everything is found by the content fingerprint of the matrix, so that a layout or a starter plan
is never shown for rows it was not made from. Shipped files are looked at first.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
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
from engine.trust import MapTrust

STARTER_FILE = "starter.safetensors"
STARTER_FIGURES_FILE = "starter.json"
SWEEP_FILE = "sweep.json"
ACCURACY_FILE = "accuracy.json"
MEASURES_FOLDER = "measures"
_MEASURES = "measures"  # key of the JSON in a file's header

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Starter:
    """A plan made ahead, so that the first map needs no waiting.

    Attributes:
        labels: Shape (n,), int64: where EM had settled.
        layout: Shape (n, 2), float32: the UMAP layout.
        config: The plan, as the keyword arguments of `engine.plans.CompressionConfig`.
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowMeasures:
    """What was measured of each row of a table, with one plan and on one map.

    Attributes:
        frequency: Expected occurrences in a million tokens of English text, shape (n,), float32, to
            about a hundredth of itself; None where rows are no tokens of text.
        kept: Share of each row's nearest that the plan keeps, shape (n,), float32, 0 … 1; None
            without a plan, or where there are too many rows.
        false: Share of each row's nearest on the map that are not truly so, shape (n,), float32,
            0 … 1; None where there are too many rows.
        trust: How far the map can be trusted as a whole; None before that was measured, and
            where there is no such map on a plane.
        neighbours: How many nearest ``kept`` and ``false`` looked at; 0 where neither is known.
        notes: Why something is missing, each a full sentence for the user.
        missing: Parts that measuring would add: of "table", "plan" and "map".
    """

    frequency: Tensor | None
    kept: Tensor | None
    false: Tensor | None
    trust: MapTrust | None
    neighbours: int
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredPart:
    """One file of row measures: those of a table, of a plan or of a map alone.

    Attributes:
        tensors: What is large, in as few bytes as it needs.
        values: What is small, as plain values.
    """

    tensors: dict[str, Tensor]
    values: dict[str, Any]


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
    _write_tensors(path, {"layout": layout.float().contiguous()}, "the layout")
    return path


def find_measured_part(fingerprint: str, name: str) -> MeasuredPart | None:
    """One part of the row measures of a table as it is: see `read_measured_part`."""
    return read_measured_part(fingerprint, name, lambda part: part)


def read_measured_part(
    fingerprint: str, name: str, read: Callable[[MeasuredPart], _T]
) -> _T | None:
    """What one part of the row measures of a table says, if it was shipped or kept.

    Args:
        fingerprint: Of the rows.
        name: "table", "neighbours", "plan-ID" ("plan-shipped") or "map-KIND".
        read: What makes sense of it; a KeyError, TypeError or ValueError says that it is damaged
            or of another version.

    Returns:
        None where there is none, or what was kept makes no sense: it can be measured again.

    Raises:
        FormatError: If the shipped files are damaged.
    """
    for path in sorted(assets_folder().glob(f"*/{MEASURES_FOLDER}/{name}.safetensors")):
        try:
            part = _read_part(path)
            if part.values["source"] == fingerprint:
                return read(part)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise FormatError(f"{path.parent} is damaged: {error}; install again") from error
    try:
        part = _read_part(_measures_path(fingerprint) / f"{name}.safetensors")
        return read(part) if part.values["source"] == fingerprint else None
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None  # absent or damaged: it is measured again


def keep_measured_part(
    fingerprint: str, name: str, part: MeasuredPart, folder: Path | None = None
) -> Path:
    """Keep a part for the next time; it appears whole or not at all.

    Args:
        fingerprint: Of the rows.
        name: As in `find_measured_part`.
        part: What was measured.
        folder: Where to, if not among what the user makes.

    Returns:
        The file.

    Raises:
        EngineError: If the disk refuses.
    """
    path = (folder or _measures_path(fingerprint)) / f"{name}.safetensors"
    header = {_MEASURES: json.dumps({"source": fingerprint, **part.values})}
    _write_tensors(path, part.tensors, "the measures", header)
    return path


def forget_measured_plan(run_id: str) -> None:
    """Delete what was kept of a run's plan, of whatever table: the run is deleted.

    Raises:
        EngineError: If the disk refuses.
    """
    try:
        for path in (user_data_folder() / MEASURES_FOLDER).glob("*/plan-*.safetensors"):
            if path.name == f"plan-{run_id}.safetensors":
                path.unlink(missing_ok=True)
    except OSError as error:
        raise EngineError(
            f"what was measured of the run {run_id} could not be deleted: {error}; check who owns "
            "the folder"
        ) from error


def _read_part(path: Path) -> MeasuredPart:
    with safe_open(path, framework="pt") as file:
        values = json.loads((file.metadata() or {})[_MEASURES])
        return MeasuredPart(
            tensors={key: file.get_tensor(key) for key in file.keys()},
            values=values,
        )


def _write_tensors(
    path: Path, tensors: dict[str, Tensor], what: str, header: dict[str, str] | None = None
) -> None:
    try:
        write_file(path, lambda temporary: save_file(tensors, temporary, metadata=header))
    except (OSError, SafetensorError) as error:
        raise EngineError(
            f"could not keep {what} in {path.parent}: {error}; free some space or point "
            "SUBSPACE_ATLAS_HOME at a folder of your own"
        ) from error


def _measures_path(fingerprint: str) -> Path:
    return user_data_folder() / MEASURES_FOLDER / fingerprint.replace(":", "-")


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
