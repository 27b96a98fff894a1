"""What a report is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import FormatError
from engine.factorization import Factorization
from engine.frequencies.row_use import NO_WEIGHTS
from engine.measures import SubspaceSummary
from engine.naming import suggest_names
from engine.records import RunRecord
from engine.reproducing import command_line, python_snippet
from engine.table import EmbeddingTable


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReportedPlan:
    """A plan with all that is known of it.

    Attributes:
        table: The rows it was made from.
        factorization: The plan.
        figures: As `engine.recording.read_compression_figures` gives them.
        row_errors: Squared error of each row over its squared length, shape (n,).
        summaries: One a subspace.
        config: What was asked for, as in a run's record.
        versions: Package → version that made it; empty where that is not known.
        created: When it was made, in UTC; None for a plan that ships with the app.
        again: What makes it again: a heading → a command line or code.
    """

    table: EmbeddingTable
    factorization: Factorization
    figures: dict[str, Any]
    row_errors: NDArray[np.float64]
    summaries: tuple[SubspaceSummary, ...]
    config: Mapping[str, Any]
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    created: datetime | None = None
    again: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def labels(self) -> NDArray[np.int64]:
        """Subspace of each row, shape (n,)."""
        return self.factorization.labels.numpy()

    @property
    def subspace_names(self) -> list[str]:
        """What a legend calls each subspace: its number and what its tokens are."""
        typical = [item.typical_rows for item in self.summaries]
        names = suggest_names(
            self.table.tokens, self.factorization.labels, self.factorization.k, typical
        )
        return [f"{label + 1} · {name}" for label, name in enumerate(names)]


def public_spec(spec: str) -> str:
    """How a report names a table: where it lies on somebody's disk is nobody else's business."""
    plain = spec.replace("\\", "/")
    local = plain.startswith(("/", "~", ".")) or plain.count("/") > 1 or ":/" in plain
    return PurePosixPath(plain).name if local or Path(spec).exists() else spec


def public_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with a file of weights named so."""
    weights = str(config.get("weights", NO_WEIGHTS))
    return {**config, **({"weights": public_spec(weights)} if "weights" in config else {})}


def made_how(record: RunRecord) -> dict[str, Any]:
    """What a run's record says of how the plan was made, as fields of `ReportedPlan`."""
    shown = _public_record(record)
    try:
        again = {"By the command line": command_line(shown), "In Python": python_snippet(shown)}
    except FormatError:
        again = {}  # of a version that has other settings; they are shown all the same
    return {
        "config": record.config,
        "versions": record.versions,
        "created": record.created_at,
        "again": again,
    }


def _public_record(record: RunRecord) -> RunRecord:
    source = record.source.copy()
    source["spec"] = public_spec(source["spec"])
    if (tokens := source.get("tokens")) is not None:
        source["tokens"] = public_spec(tokens)
    return replace(record, source=source, config=public_config(record.config))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReportedMap:
    """Where the rows lie on the page.

    Attributes:
        kind: How that was found: ``"UMAP"`` or ``"PCA"``.
        layout: Of every row, shape (n, 2), float32.
        rows: Numbers of those that are drawn, shape (m,); fewer than n for a sample.
    """

    kind: str
    layout: NDArray[np.float32]
    rows: NDArray[np.int64]
