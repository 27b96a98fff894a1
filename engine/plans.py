"""A plan, and its fit and those of the SVDs beside it, on a table; nothing is measured here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from engine.budget import SvdSize, check_k, read_bytes
from engine.coding.choosing import CODED_KS
from engine.coding.codes import Coding
from engine.errors import ParameterError, check_names
from engine.factorization import Factorization
from engine.frequencies import DEFAULT_FLOOR, DEFAULT_POWER
from engine.frequencies.row_use import NO_WEIGHTS, RowUse, count_row_use
from engine.memory import check_memory, coded_fit_bytes, fit_bytes
from engine.methods import DEFAULT_STARTS, Fitter, factorize, fit_alone
from engine.paths import user_data_folder
from engine.progress import Progress, ProgressCallback, ignore_progress
from engine.requests import AUTO_KS, DEFAULT_CODED_K, DEFAULT_K, FitRequest
from engine.table import EmbeddingTable

_CROWDING_BYTES = 2 * 1024**3  # of the table: from here its coordinates go to the disk
_FIT_ARGUMENTS = (
    "method",
    "k",
    "j",
    "rate",
    "max_bytes",
    "allocation",
    "affine",
    "loss",
    "seed",
    "n_init",
    "seeding",
    "moves",
)

# Bytes of a table, where a plan is checked before there is one: of so large a table any share that
# a person writes comes to a byte or more.
_SOME_TABLE = 10**12


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionConfig:
    """A plan: what to fit and what to measure.

    Attributes:
        method: ``"messi"``, ``"svd"`` or ``"coded"``.
        k: Number of subspaces, or ``"auto"``; when left out 5, 1 for the SVD, 4 for coded.
        j: Dimension of each subspace, or one for each, or None when the rate decides.
        rate: Share of the parameters to remove, or None when j is given.
        max_bytes: Size of a coded plan: bytes, or a text that `engine.budget.read_bytes` knows,
            such as ``"3%"`` of the table.
        allocation: ``"uniform"`` or ``"optimal"``, as in `engine.factorize`.
        affine: Whether subspaces may miss zero.
        loss: What a distance costs, as in `engine.factorize`.
        weights: ``"none"``, or where tokens are counted: a language of wordfreq ("en"), or the
            path of a text file; see `engine.table_token_counts`.
        weight_power: As in `engine.token_weights`.
        weight_floor: As in `engine.token_weights`.
        seed: Decides every random choice.
        n_init: Number of starts; one for coded.
        seeding: As in `engine.factorize`.
        moves: Merge-and-split moves tried on the best start.
        bits: 8 or 4 for each coordinate, as in `engine.factorize`; None for 32.
        basis_bits: With ``bits``: 16 or 8 for each number of a basis.
        neighbours: Nearest neighbours compared for each sampled row; 0 to leave that out.
        queries: Rows sampled for it.
    """

    method: str = "messi"
    k: int | str | None = None
    j: int | Sequence[int] | None = None
    rate: float | None = None
    max_bytes: int | str | None = None
    allocation: str = "uniform"
    affine: bool = False
    loss: str = "squared"
    weights: str = NO_WEIGHTS
    weight_power: float = DEFAULT_POWER
    weight_floor: float = DEFAULT_FLOOR
    seed: int = 0
    n_init: int = DEFAULT_STARTS
    seeding: str | Mapping[str, int] = "auto"
    moves: int = 0
    bits: int | None = None
    basis_bits: int = 16
    neighbours: int = 10
    queries: int = 2000

    @classmethod
    def of(cls, plan: Mapping[str, Any], *, besides: Iterable[str] = ()) -> CompressionConfig:
        """A plan by the names of its fields, as callers give them one by one.

        Args:
            plan: Field → value.
            besides: Names the caller takes for itself, so that the error lists them as well.

        Raises:
            ParameterError: If there is no such field, or the plan makes no sense.
        """
        check_names("a plan", plan, [*(field.name for field in fields(cls)), *besides])
        return cls(**plan)

    def __post_init__(self) -> None:
        """Check what needs no table to be checked.

        Raises:
            ParameterError: If ``neighbours`` is negative, ``queries`` below 1, or the plan makes
                no sense for any table.
            SizeError: If nothing else is wrong, and the size is not given, or not once.
        """
        if self.neighbours < 0 or self.queries < 1:
            raise ParameterError(
                f"neighbours must be at least 0 and queries at least 1, got {self.neighbours} and "
                f"{self.queries}; neighbours=0 leaves the comparison out"
            )
        if isinstance(self.j, list):  # as JSON gives it back
            object.__setattr__(self, "j", tuple(self.j))
        Coding.asked(self.bits, self.basis_bits)
        FitRequest(**self.fit_arguments(_SOME_TABLE))  # last: what it says last is of the size

    def fit_arguments(self, dense_bytes: int) -> dict[str, Any]:
        """What `engine.factorize` is given of the fit, the weights and the labels apart.

        Args:
            dense_bytes: Of the table in float32.
        """
        found = {name: getattr(self, name) for name in _FIT_ARGUMENTS}
        if self.max_bytes is not None:
            found["max_bytes"] = read_bytes(self.max_bytes, dense_bytes)
        return found


def fit_plan(
    table: EmbeddingTable,
    config: CompressionConfig,
    use: RowUse | None,
    *,
    labels: Tensor | None = None,
    fitter: Fitter = fit_alone,
    progress: ProgressCallback = ignore_progress,
) -> Factorization:
    """Fit a plan and measure nothing.

    Args:
        table: What to compress.
        config: The plan.
        use: What its ``weights`` came to, as `engine.frequencies.row_use.count_row_use` gives it.
        labels: A first partition to start from, shape (n,).
        fitter: Who fits; see `engine.methods.factorize`.
        progress: Called throughout; raises `engine.Cancelled` to stop.

    Raises:
        ParameterError: If the plan does not fit the table.
    """
    return factorize(
        table.matrix,
        **config.fit_arguments(table.dense_bytes),
        weights=None if use is None else use.weights,
        labels=labels,
        bits=config.bits,
        basis_bits=config.basis_bits,
        fitter=fitter,
        workspace=_workspace(table),
        progress=progress,
    )


def fit_svd(
    table: EmbeddingTable,
    size: SvdSize,
    weights: Tensor | None,
    *,
    name: str = "the SVD",
    fitter: Fitter = fit_alone,
    progress: ProgressCallback = ignore_progress,
) -> Factorization:
    """Fit the SVD of a size.

    Args:
        table: What to compress.
        size: Its rank, 1 … d, and its bits.
        weights: Row weights, shape (n,), or None.
        name: What progress calls it.
        fitter: Who fits; see `engine.methods.factorize`.
        progress: Called before and after; may raise to stop.
    """
    phase = f"Fitting {name} of the same size"
    progress(Progress(phase=phase, done=0, total=1))
    svd = factorize(
        table.matrix,
        method="svd",
        j=size.rank,
        weights=weights,
        fitter=fitter,
        workspace=_workspace(table),
    )
    if size.coding is not None:
        svd = svd.quantize(bits=size.coding.bits, basis_bits=size.coding.basis_bits)
    progress(Progress(phase=phase, done=1, total=1))
    return svd


def fit_rival(table: EmbeddingTable, figures: Mapping[str, Any]) -> Factorization:
    """Fit the SVD again that a plan is judged by: of the same size, by the same weights.

    Args:
        table: What the plan was made from.
        figures: The plan's, as `Compression.as_dict` gives them.

    Raises:
        SourceError: If the tokens cannot be counted any more.
        MemoryShortageError: If it would need more memory than is free.
    """
    (n, d), use = table.matrix.shape, figures["weights"]
    rival = figures["svd" if use is None else "weighted_svd"]
    size = SvdSize.of(*rival["dimensions"], bits=rival["bits"])
    on_disk = _workspace(table) is not None
    check_memory(
        f"The SVD of {n:,} × {d:,} numbers",
        fit_bytes(n, d, k=1, j=size.rank, plans=1, on_disk=on_disk),
        "keep fewer rows, or close other programs",
    )
    counted = None
    if use is not None:
        counted = count_row_use(table, use["source"], use["power"], use["floor"])
    weights = None if counted is None else counted.weights
    return fit_svd(table, size, weights)


def check_fit_memory(table: EmbeddingTable, config: CompressionConfig) -> None:
    """Refuse a plan whose fit, with the SVDs beside it, would not fit into what is free.

    Raises:
        MemoryShortageError: If so.
        ParameterError: If there are more subspaces than rows.
    """
    n, d = table.matrix.shape
    if isinstance(config.k, int):
        check_k(config.k, n)  # of more subspaces than rows memory says nothing of use
    j = (1 - config.rate) * d if config.rate is not None else config.j
    work, advice = f"Compressing {n:,} × {d:,} numbers", "keep fewer rows, or close other programs"
    if config.max_bytes is not None:
        k = _largest_k(config, CODED_KS, DEFAULT_CODED_K)
        check_memory(work, coded_fit_bytes(n, d, k=k), f"lower k, {advice}")
        return
    needed = fit_bytes(
        n,
        d,
        k=_largest_k(config, AUTO_KS, DEFAULT_K),
        j=max(j) if isinstance(j, Sequence) else min(d, j or 0),
        plans=2 if config.weights == NO_WEIGHTS else 3,
        on_disk=_workspace(table) is not None,
    )
    check_memory(work, needed, f"raise the rate, lower k, {advice}")


def _largest_k(config: CompressionConfig, candidates: Sequence[int], default: int) -> int:
    """Of the k that are tried."""
    if config.k == "auto":
        return max(candidates)
    return config.k if isinstance(config.k, int) else default


def _workspace(table: EmbeddingTable) -> Path | None:
    """Where coordinates are kept that would crowd the memory; None where they would not."""
    if table.dense_bytes <= _CROWDING_BYTES:
        return None
    folder = user_data_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
