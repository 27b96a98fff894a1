"""Two plans of a table, loaded and compared once for all sessions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
import torch
from numpy.typing import NDArray

from engine import EmbeddingTable, Factorization
from engine.differences import PlanDifference, compare_plans
from engine.measures import SubspaceSummary, relative_row_errors, summarise_subspaces
from engine.plans import fit_rival
from pages.parts import hosting, state
from pages.parts.state import View

SHIPPED, SVD = "shipped", "svd"
"""What a link calls the plan that ships with the table, and the SVD that stores as much as A."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """One of two plans.

    Attributes:
        key: Tells plans of a table apart.
        factorization: The plan.
        row_errors: Relative squared error of each row, shape (n,).
        summaries: One a subspace.
        error: Relative squared error of the whole.
        weights: For what use of its tokens it was fitted, as its figures name it; None for all
            alike.
    """

    key: str
    factorization: Factorization
    row_errors: NDArray[np.float64]
    summaries: tuple[SubspaceSummary, ...]
    error: float
    weights: dict[str, Any] | None

    @property
    def name(self) -> str:
        """Short, for a title."""
        plan = self.factorization
        low, high = min(plan.dimensions), max(plan.dimensions)
        j = f"{high}" if low == high else f"{low}–{high}"
        bits = "" if plan.coding is None else f", {plan.coding.named_bits} bits"
        name = f"k = {plan.k}"
        if plan.k == 1 and plan.parameters is not None:
            name = "weighted SVD" if self.weights is not None else "SVD"
        return f"{name}, j = {j}{bits}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair:
    """Two plans of a table and what differs between them."""

    first: Side
    second: Side
    difference: PlanDifference

    @property
    def regrouped(self) -> bool:
        """Whether both plans group the tokens at all, so that one can move."""
        return min(self.first.factorization.k, self.second.factorization.k) > 1

    @property
    def numbers(self) -> list[str]:
        """What each number is called, from 1: without a partner, also whose subspace it is."""
        difference, k = self.difference, self.first.factorization.k
        names = [
            f"{label + 1} (only in A)" if label in difference.alone_in_first else f"{label + 1}"
            for label in range(k)
        ]
        others = range(k, k + len(difference.alone_in_second))
        return [*names, *(f"{number + 1} (only in B)" for number in others)]

    def legend(self, tokens: Sequence[str]) -> list[str]:
        """The same with the most typical tokens: of A's subspace, or of B's where it is alone."""
        by_number = dict(zip(self.difference.numbers, self.second.summaries, strict=True))
        typical = {**by_number, **dict(enumerate(self.first.summaries))}
        return [
            f"{name} · {' '.join(tokens[i] for i in typical[number].typical_rows[:3])}"
            for number, name in enumerate(self.numbers)
        ]


def load_pair(table: EmbeddingTable, first: str, second: str) -> Pair:
    """Two plans compared.

    Args:
        table: Whose plans.
        first: A run's id or `SHIPPED`.
        second: A run's id, `SHIPPED` or `SVD`.

    Raises:
        EngineError: If one of them is not there or cannot be read.
    """
    view = _view(table, first)
    ours = _side(view)
    if second == SVD:  # the one that the plan's own figures are judged by
        theirs = _rival(table, view)
    else:
        theirs = _side(_view(table, second))
    return _pair(f"{table.fingerprint} {ours.key} {theirs.key}", ours, theirs)


def _view(table: EmbeddingTable, name: str) -> View:
    return state.named_view(table, None if name == SHIPPED else name)


def _side(view: View) -> Side:
    return Side(
        key=view.key,
        factorization=view.factorization,
        row_errors=view.row_errors,
        summaries=view.summaries,
        error=float(view.figures["relative_error"]),
        weights=view.figures["weights"],
    )


def _rival(table: EmbeddingTable, view: View) -> Side:
    figures = {name: view.figures[name] for name in ("svd", "weighted_svd", "weights")}
    use = figures["weights"]
    if use is not None:  # a run that came from elsewhere may name any file
        source = {"spec": table.spec}
        hosting.access().check_job({"source": source, "config": {"weights": use["source"]}})
    key = f"svd {figures['svd']['dimensions'][0]} {figures['svd']['bits']} {use}"
    return _svd(f"{table.fingerprint} {key}", key, figures, table)


@st.cache_resource(max_entries=4, show_spinner="Fitting the SVD …")
def _svd(of: str, key: str, _figures: dict[str, Any], _table: EmbeddingTable) -> Side:
    plan = fit_rival(_table, _figures)
    residuals = plan.squared_residuals(_table.matrix)
    return Side(
        key=key,
        factorization=plan,
        row_errors=relative_row_errors(residuals, _table.matrix).numpy(),
        summaries=summarise_subspaces(plan, _table.matrix),
        error=plan.relative_error(_table.matrix),
        weights=_figures["weights"],
    )


@st.cache_resource(max_entries=4, show_spinner="Comparing the two plans …")
def _pair(key: str, _first: Side, _second: Side) -> Pair:
    errors = torch.from_numpy(_first.row_errors), torch.from_numpy(_second.row_errors)
    return Pair(
        first=_first,
        second=_second,
        difference=compare_plans(_first.factorization, _second.factorization, errors=errors),
    )
