"""A sweep as data: the grid that was asked for, every fit of it, and their file."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

from engine.budget import check_rate
from engine.coding.codes import Coding
from engine.errors import EngineError, FormatError, ParameterError
from engine.folders import write_file
from engine.frequencies import DEFAULT_FLOOR, DEFAULT_POWER
from engine.frequencies.row_use import NO_WEIGHTS
from engine.requests import FitRequest

SCHEMA_VERSION = 1
WEIGHTED_SVD = "weighted svd"
ROUNDING = "rounding"
CODED = "coded"
CODED_KS = (1, 4)
CODED_SHARES = (0.02, 0.03, 0.05, 0.08, 0.13, 0.27)
"""Sizes of coded subspaces that a sweep of fewer bits asks for, as `SweepConfig.shares`."""
PLAIN_BITS = 32
LISTS = ("rates", "ks", "seeds", "bits", "shares")
"""Settings of a sweep that are tuples, which JSON has not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepConfig:
    """The grid.

    Attributes:
        rates: Compression rates, each 0 … 1.
        ks: Numbers of subspaces; 1 is the SVD, which is always measured.
        seeds: One fit for each; the SVD has no chance in it and is fitted once.
        n_init: Starts of each fit.
        seeding: As in `engine.factorize`.
        allocation: ``"uniform"`` or ``"optimal"``, as in `engine.factorize`.
        affine: Whether subspaces may miss zero.
        loss: What a distance costs, as in `engine.factorize`.
        moves: Merge-and-split moves tried on the best start.
        weights: ``"none"``, or where tokens are counted, as in
            `engine.plans.CompressionConfig`. With weights, the weighted SVD is measured at
            every rate as well.
        weight_power: As in `engine.token_weights`.
        weight_floor: As in `engine.token_weights`.
        bits: Every fit is also measured with its coordinates stored in so many bits, 8 or 4; 32 is
            always measured. With any but 32, plain rounding of the whole table is measured too.
        basis_bits: Of each number of a basis beside them, 16 or 8. On MiniLM 8 instead of 16 save
            2 to 17 % of the bytes at 4 bits and add less than 0.0001 to the error.
        shares: Coded subspaces (`CODED_KS` of them) are measured in so much of the table's bytes
            in float32, each above 0, at most 1. They have bits of their own and no chance in them.
    """

    rates: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    ks: tuple[int, ...] = (2, 3, 5, 10)
    seeds: tuple[int, ...] = (0, 1, 2)
    n_init: int = 1
    seeding: str = "auto"
    allocation: str = "uniform"
    affine: bool = False
    loss: str = "squared"
    moves: int = 0
    weights: str = NO_WEIGHTS
    weight_power: float = DEFAULT_POWER
    weight_floor: float = DEFAULT_FLOOR
    bits: tuple[int, ...] = (8, 4)
    basis_bits: int = 8
    shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check that the grid has cells.

        Raises:
            ParameterError: If a list is empty, or a rate, a seed, the starts or how cells are
                fitted is out of range.
        """
        if not (self.rates and self.ks and self.seeds):
            raise ParameterError("a sweep needs at least one rate, one k and one seed")
        # Here, since a fit would refuse them only after the cells before it.
        if min(self.seeds) < 0 or self.n_init < 1:
            raise ParameterError(
                f"a sweep needs seeds of at least 0 and at least 1 start, got "
                f"{min(self.seeds)} and {self.n_init}"
            )
        for rate in self.rates:
            check_rate(rate)
        FitRequest(rate=self.rates[0], allocation=self.allocation, loss=self.loss, moves=self.moves)
        if any(bits not in (PLAIN_BITS, 8, 4) for bits in self.bits):
            listed = ", ".join(map(str, self.bits))
            raise ParameterError(f"a sweep measures its fits at 32, 8 and 4 bits, got {listed}")
        Coding(bits=8, basis_bits=self.basis_bits)
        if not all(0 < share <= 1 for share in self.shares):
            listed = ", ".join(f"{share:g}" for share in self.shares)
            raise ParameterError(
                f"shares of the table's bytes must be above 0 and at most 1, got {listed}; "
                "0.03 is 3 %"
            )

    @property
    def codings(self) -> tuple[Coding, ...]:
        """How each fit is stored beside 32 bits, most bits first."""
        coded = sorted({bits for bits in self.bits if bits != PLAIN_BITS}, reverse=True)
        return tuple(Coding(bits=bits, basis_bits=self.basis_bits) for bits in coded)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepCell:
    """One fit as it is stored: at 32 bits, or in fewer. Or the table rounded, without any fit.

    Attributes:
        method: ``"svd"``, ``"weighted svd"``, ``"messi"``, ``"coded"`` or ``"rounding"``.
        k: Number of subspaces; 0 for rounding.
        j: Their dimension; the largest where they differ. 0 for rounding.
        asked_rate: The rate of the grid; 0 for rounding, which keeps every number, and for coded.
        rate: The rate reached: for k > 1 never below the one asked for, for the SVD never above.
            It counts numbers, whatever their bits; 0 for coded, where no number is like another.
        parameters: Numbers stored; 0 for coded.
        stored_bytes: Bytes of everything stored.
        seed: Seed of the fit.
        relative_error: ‖A − Â‖² / ‖A‖².
        steps: EM steps of the kept start.
        wall_seconds: Time of the fit; for fewer bits and for rounding, of the coding alone.
        least_j: Their least dimension.
        weighted_error: Σ w·‖x − x̂‖² / Σ w·‖x‖², or None without weights.
        bits: Of a coordinate; for rounding, of every number of the table; 0 for coded, whose
            coordinates differ.
        basis_bits: Of a number of a basis; 0 for rounding, which has none, and for coded.
        group: For rounding, how many columns of a row share a step; 0 for fits.
        share: For coded, the share of the table's bytes asked for; 0 for others.
    """

    method: str
    k: int
    j: int
    asked_rate: float
    rate: float
    parameters: int
    stored_bytes: int
    seed: int
    relative_error: float
    steps: int
    wall_seconds: float
    least_j: int
    weighted_error: float | None
    bits: int = PLAIN_BITS
    basis_bits: int = PLAIN_BITS
    group: int = 0
    share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """A finished grid.

    Attributes:
        name: Of the table.
        source: Content fingerprint of the matrix.
        rows: n.
        columns: d.
        config: The grid.
        cells: Every fit, the SVDs' first, each followed by itself in fewer bits; then coded
            subspaces; rounding last.
        notes: Cells that could not be, each a full sentence.
    """

    name: str
    source: str
    rows: int
    columns: int
    config: SweepConfig
    cells: tuple[SweepCell, ...]
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> int:
        """How many fits were made; `cells` has each once for every coding."""
        return sum(cell.bits == PLAIN_BITS or cell.method == CODED for cell in self.cells)

    def to_csv(self) -> str:
        """One line a cell, with a header line."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [item.name for item in fields(SweepCell)])
        writer.writeheader()
        writer.writerows(asdict(cell) for cell in self.cells)
        return text.getvalue()

    def save(self, path: str | Path) -> None:
        """Write CSV when the name ends in ``.csv``, all of it when in ``.json``.

        Raises:
            ParameterError: If the name ends otherwise or the folder does not exist.
            EngineError: If the disk refuses; the file is as it was then.
        """
        path = Path(path)
        check_sweep_target(path)
        if path.suffix == ".csv":
            text = self.to_csv()
        else:
            text = json.dumps({"schema": SCHEMA_VERSION, **asdict(self)}, allow_nan=False)
        try:
            write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        except OSError as error:
            raise EngineError(
                f"could not write {path}: {error.strerror}; free some space or choose a folder "
                "you may write to"
            ) from error

    @classmethod
    def load(cls, path: str | Path) -> SweepResult:
        """Read the JSON that `save` wrote.

        Raises:
            FormatError: If the file is missing, damaged or from a newer version.
        """
        path = Path(path)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values.pop("schema") != SCHEMA_VERSION:
                raise FormatError(f"{path} is of another schema version; update subspace-atlas")
            return cls.from_dict(values)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(f"{path} is not a sweep of ours: {error}") from error

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SweepResult:
        """Undo `dataclasses.asdict` after a trip through JSON.

        Raises:
            KeyError: If a key is missing.
            TypeError: If a key is unknown, or a cell holds a value of the wrong type.
        """
        config = cast("dict[str, Any]", values["config"])
        cells = cast("list[dict[str, Any]]", values["cells"])
        # All there was before there were codings.
        config = {"bits": (PLAIN_BITS,), "shares": (), **config}
        grid: dict[str, Any] = {
            **config,
            **{name: tuple(config[name]) for name in LISTS},
        }
        whole: dict[str, Any] = {
            "config": SweepConfig(**grid),
            "cells": tuple(read_cell(cell) for cell in cells),
            "notes": tuple(values["notes"]),
        }
        return cls(**{**values, **whole})


def plain_cells(cells: Iterable[SweepCell]) -> list[SweepCell]:
    """The fits as they were computed, in 32 bits."""
    return [cell for cell in cells if cell.bits == PLAIN_BITS]


def read_cell(values: dict[str, Any]) -> SweepCell:
    """Undo `dataclasses.asdict` after a trip through JSON, also where an older version wrote it.

    Raises:
        TypeError: If a key is missing or unknown, or a value has the wrong type.
    """
    later: dict[str, Any] = {"least_j": values.get("j"), "weighted_error": None}
    cell = SweepCell(**{**later, **values})
    kinds = {"str": str, "int": int, "float": int | float, "float | None": int | float | None}
    for item in fields(SweepCell):
        value = getattr(cell, item.name)
        if not isinstance(value, kinds[str(item.type)]) or value != value:  # NaN alone differs
            raise TypeError(f"{item.name} must be a {item.type}, got {value!r}")
    return cell


def check_sweep_target(path: Path) -> None:
    """Refuse a file that a sweep cannot be written to; call it before long work.

    Raises:
        ParameterError: If the name ends in neither ``.csv`` nor ``.json``, or its folder is not
            there or cannot be written to.
    """
    if path.suffix not in (".csv", ".json"):
        raise ParameterError(f"a sweep is written to a .csv or .json file, got {path.name!r}")
    if not path.parent.is_dir():
        raise ParameterError(f"{path.parent} is not a folder; make it first")
    if path.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise ParameterError(f"{path} cannot be written to; choose another place")
