"""The embeddings that are compared: the original, the smaller one, and SVDs of that size."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from engine.budget import svd_beside
from engine.coding.codes import Coding
from engine.errors import ParameterError
from engine.evaluation.results import Role
from engine.export.keeping import read_plan
from engine.factorization import Factorization
from engine.figures import is_plain_svd
from engine.frequencies.row_use import NO_WEIGHTS, RowUse, count_row_use
from engine.memory import check_memory, fit_bytes
from engine.methods import Fitter, fit_alone
from engine.plans import CompressionConfig, fit_plan, fit_svd
from engine.progress import ProgressCallback, ignore_progress
from engine.table import EmbeddingTable
from engine.wording import name_svd

if TYPE_CHECKING:
    from engine.network.embedding import SubspaceEmbedding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Variant:
    """One embedding that a model can wear.

    Attributes:
        name: As in ``"k = 5"``.
        role: What it is.
        parameters: Numbers of it; None of a coded plan.
        stored_bytes: Bytes of it; the original's in float32.
        relative_error: ‖A − Â‖² / ‖A‖²; 0 for the original.
        factorization: What it is made of; None for the original, or where a whole model has it.
        model: A compressed model that wears it, as its folder holds it.
    """

    name: str
    role: Role
    parameters: int | None
    stored_bytes: int
    relative_error: float
    factorization: Factorization | None = None
    model: Any = None

    @property
    def layer(self) -> SubspaceEmbedding:
        """The embedding of its model; only where it has one."""
        return self.model.get_input_embeddings()

    def as_dict(self) -> dict[str, Any]:
        """Its name and sizes as plain values for JSON."""
        names = ("name", "role", "parameters", "stored_bytes", "relative_error")
        return {name: getattr(self, name) for name in names}


def original(table: EmbeddingTable) -> Variant:
    """The table as it came."""
    return Variant(
        name="original",
        role="original",
        parameters=table.matrix.numel(),
        stored_bytes=table.dense_bytes,
        relative_error=0.0,
    )


def of_factorization(
    table: EmbeddingTable, plan: Factorization, *, name: str, role: Role
) -> Variant:
    """A factorization of a table."""
    return Variant(
        name=name,
        role=role,
        parameters=plan.parameters,
        stored_bytes=plan.stored_bytes,
        relative_error=plan.relative_error(table.matrix),
        factorization=plan,
    )


def fit_variants(
    table: EmbeddingTable,
    config: CompressionConfig,
    *,
    fitter: Fitter = fit_alone,
    progress: ProgressCallback = ignore_progress,
) -> tuple[Variant, ...]:
    """Fit a plan and the SVDs of its size.

    Args:
        table: What to make smaller.
        config: The plan; its ``neighbours`` and ``queries`` do not matter here.
        fitter: Who fits; see `engine.factorize`.
        progress: Called throughout; may raise to stop.

    Returns:
        The original, the plan, and its rivals: the SVD that `engine.budget.svd_beside` chooses, of
        as many bits a number as the plan, and with token weights the weighted one.

    Raises:
        ParameterError: If the plan does not fit the table.
        SourceError: If the tokens cannot be counted.
    """
    use = _count(table, config, progress)
    plan = fit_plan(table, config, use, fitter=fitter, progress=progress)
    ours = of_factorization(table, plan, name=name_plan(plan.k, config), role="compressed")
    return (original(table), ours, *_fit_rivals(table, ours, config, use, progress))


def add_rivals(
    table: EmbeddingTable,
    ours: Variant,
    config: CompressionConfig,
    *,
    progress: ProgressCallback = ignore_progress,
) -> tuple[Variant, ...]:
    """The original, a plan that is there already, and the SVDs of its size, as `fit_variants` does.

    Args:
        table: What the plan is of.
        ours: The plan.
        config: How it was made.
        progress: Called throughout; may raise to stop.
    """
    use = _count(table, config, progress)
    return (original(table), ours, *_fit_rivals(table, ours, config, use, progress))


def variants_of_run(
    table: EmbeddingTable, run_id: str | None, progress: ProgressCallback = ignore_progress
) -> tuple[tuple[Variant, ...], dict[str, Any]]:
    """The original, a plan of the store, and the SVDs of its size.

    Args:
        table: What the plan is of.
        run_id: A compression in the store, or None for the plan that ships with the table.
        progress: Called throughout; may raise to stop.

    Returns:
        The variants, and the plan's config.

    Raises:
        ParameterError: If there is no such plan, or it is of other rows.
        FormatError: If the run is damaged.
    """
    plan, record = read_plan(table, run_id)
    config = read_config(record.config)
    ours = of_factorization(table, plan, name=name_plan(plan.k, config), role="compressed")
    return add_rivals(table, ours, config, progress=progress), record.config


def name_plan(k: int, config: CompressionConfig) -> str:
    """What a plan of k subspaces is called beside its rivals: "k = 5, 8 bits"."""
    bits = "" if config.bits is None else f", {config.bits} bits"
    coded = config.method == "coded"
    if not is_plain_svd(k, affine=config.affine, loss=config.loss, coded=coded):
        return f"k = {k}{bits}"
    return name_svd(config.bits, weighted=config.weights != NO_WEIGHTS)


def read_config(values: dict[str, Any]) -> CompressionConfig:
    """The config of a run's record.

    Raises:
        ParameterError: If it is not one of this version's.
    """
    unknown = sorted(set(values) - {item.name for item in fields(CompressionConfig)})
    if unknown:
        raise ParameterError(
            f"the run was made with {', '.join(unknown)}, which this version does not know; "
            "compress it again"
        )
    return CompressionConfig(**values)


def _count(
    table: EmbeddingTable, config: CompressionConfig, progress: ProgressCallback
) -> RowUse | None:
    return count_row_use(
        table, config.weights, config.weight_power, config.weight_floor, progress=progress
    )


def _fit_rivals(
    table: EmbeddingTable,
    ours: Variant,
    config: CompressionConfig,
    use: RowUse | None,
    progress: ProgressCallback,
) -> list[Variant]:
    n, d = table.matrix.shape
    size = svd_beside(n, d, ours.parameters, ours.stored_bytes)
    if config.bits is not None:
        size = replace(size, coding=Coding(bits=config.bits, basis_bits=config.basis_bits))
    check_memory(
        f"Fitting the SVDs of {n:,} × {d:,} numbers to compare with",
        fit_bytes(n, d, k=1, j=size.rank, plans=1 if use is None else 2),
        "check a smaller plan or table, or close other programs",
    )
    rivals: list[Variant] = []
    for weights in (None,) if use is None else (None, use.weights):
        name = name_svd(None, weighted=weights is not None)
        svd = fit_svd(table, size, weights, name=f"the {name}", progress=progress)
        name = name_svd(size.coding and size.coding.bits, weighted=weights is not None)
        if ours.name != name:  # then it is that SVD itself
            rivals.append(of_factorization(table, svd, name=name, role="svd"))
    return rivals
