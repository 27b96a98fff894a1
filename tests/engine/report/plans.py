"""Small plans ready to be reported, and the pages that come of them taken apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.compression import CompressionConfig, compress_table
from engine.layout import pca_layout
from engine.measures import relative_row_errors, summarise_subspaces
from engine.recording import read_compression_figures, record_compression
from engine.report import ReportedMap, ReportedPlan
from engine.table import EmbeddingTable
from tests.engine.tables import write_npy


def make_plan(
    tokens: Sequence[str],
    *,
    d: int = 6,
    folder: Path | None = None,
    **config: Any,  # noqa: ANN401 - fields of the config, which checks each
) -> ReportedPlan:
    """A plan of Gaussian rows, one a token.

    Args:
        tokens: Of the rows.
        d: Width of a row.
        folder: Where the rows are written to, as counting their use needs a file.
        config: Of the plan.
    """
    generator = torch.Generator().manual_seed(len(tokens))
    matrix = torch.randn(len(tokens), d, generator=generator)
    spec = "small.npy" if folder is None else str(write_npy(folder / "small.npy", matrix))
    table = EmbeddingTable(name="small <b>", spec=spec, tokens=tokens, matrix=matrix)
    config = {"n_init": 1, "neighbours": 0, **config}
    compression = compress_table(table, CompressionConfig(**config))
    record, _ = record_compression(table, compression.config, compression)
    factorization = compression.factorization
    residuals = factorization.squared_residuals(matrix)
    return ReportedPlan(
        table=table,
        factorization=factorization,
        figures=read_compression_figures(record.figures),
        row_errors=relative_row_errors(residuals, matrix).numpy(),
        summaries=summarise_subspaces(factorization, matrix),
        config=record.config,
        versions=record.versions,
        created=record.created_at,
    )


def all_rows(plan: ReportedPlan) -> ReportedMap:
    """The PCA map of every row."""
    layout = pca_layout(plan.table.matrix).numpy()
    return ReportedMap(kind="PCA", layout=layout, rows=np.arange(len(layout)))


@dataclass(kw_only=True)
class Page(HTMLParser):
    """A report as a browser reads it.

    Attributes:
        report: The file.
        tags: Every element in order: its name and attributes.
        texts: What stands in each element, by its name and class, as "th.token".
    """

    report: bytes
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[str] = []
        self.feed(self.report.decode("utf-8"))
        self.close()

    @property
    def figures(self) -> dict[str, Any]:
        """What plotly is given."""
        (figures,) = [text for text in self.texts["script"] if text.startswith('{"map"')]
        return json.loads(figures)

    @property
    def words(self) -> str:
        """Everything a reader may see, scripts and styles apart."""
        seen = (" ".join(texts) for name, texts in self.texts.items() if name not in _UNSEEN)
        return " ".join(" ".join(seen).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        name = ".".join(filter(None, [tag, dict(attrs).get("class")]))
        if tag not in _VOID:
            self._open.append(name)
            self.texts.setdefault(name, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        opened = self._open.pop()
        assert opened.split(".")[0] == tag, f"</{tag}> closes <{opened}>"

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open[-1]][-1] += data


_VOID = {"meta", "input", "link", "br", "img", "circle", "path"}
_UNSEEN = {"script", "style"}
