"""The clustering as a scikit-learn estimator: the same fit, spoken to in NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import index
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    _check_sample_weight,  # pyright: ignore[reportPrivateUsage] - what its own estimators call
    check_is_fitted,
    validate_data,
)
from torch import Tensor

from engine.clustering.subspaces import row_squared_norms
from engine.clustering.weighted_rows import WeightedRows, weighted_sum
from engine.errors import ParameterError
from engine.fitting import fit_rows
from engine.methods import check_weights
from engine.progress import ignore_progress
from engine.requests import DEFAULT_STARTS, FitRequest

Array = NDArray[Any]


class ProjectiveClustering(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator
):
    """k subspaces, every row with the one it is closest to, by scikit-learn's contract.

    Fits what `engine.factorize` fits; use that one for a factorization to store, this one in a
    pipeline. ``transform`` gives distances, from which rows cannot be put together again, so
    there is no ``inverse_transform``.

    Args:
        n_subspaces: Number of subspaces k, 1 … n_samples.
        dimension: Dimension of each subspace, 1 … n_features, or k dimensions, 0 allowed.
        allocation: ``"uniform"``, or ``"optimal"`` for dimensions that lose least within the
            numbers that k subspaces of one ``dimension`` would store.
        affine: Whether subspaces may miss zero.
        loss: What a distance costs; see `engine.factorize`.
        n_init: Number of starts, the cheapest kept.
        seeding: Where starts come from; see `engine.factorize`.
        max_iter: EM step limit of a start.
        tol: A start is settled when a step lowers its cost by no more than this share.
        random_state: Decides every random choice; an int gives the same labels every time.

    Attributes:
        labels_: Shape (n_samples,), int32: the subspace of each row of the fit.
        bases_: k orthonormal bases, shapes (j_c, n_features), in the dtype of the fit.
        offsets_: Shape (k, n_features), each orthogonal to its basis; None unless affine.
        dimensions_: j_1 … j_k.
        cost_: Σ w·φ(dist²) / Σ w·φ(‖x‖²) at the end; 0 is exact.
        cost_history_: The same after each step of the start that was kept.
        n_iter_: Steps of that start.
        n_features_in_: Columns of the fit.
        feature_names_in_: Their names, where they had any.

    Source: Maalouf, Lang, Rus, Feldman, *Deep Learning Meets Projective Clustering*, ICLR 2021.
    """

    def __init__(  # noqa: PLR0913 - a facade
        self,
        n_subspaces: int = 3,
        dimension: int | Sequence[int] | NDArray[np.integer[Any]] = 1,
        *,
        allocation: str = "uniform",
        affine: bool = False,
        loss: str = "squared",
        n_init: int = DEFAULT_STARTS,
        seeding: str | Mapping[str, int] = "auto",
        max_iter: int = 50,
        tol: float = 1e-4,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_subspaces = n_subspaces
        self.dimension = dimension
        self.allocation = allocation
        self.affine = affine
        self.loss = loss
        self.n_init = n_init
        self.seeding = seeding
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def fit(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> ProjectiveClustering:
        """Fit the subspaces.

        Args:
            X: Shape (n_samples, n_features); float32 is computed in float32, all else in float64.
            y: Not used.
            sample_weight: Shape (n_samples,), not negative; weight m counts as m copies.

        Returns:
            Itself.

        Raises:
            ParameterError: A ValueError, if a parameter does not fit the rows.
        """
        rows = self._checked(X, [np.float64, np.float32], reset=True)
        if self.n_subspaces > len(rows):
            raise ParameterError(
                f"n_samples={len(rows)} should be at least n_subspaces={self.n_subspaces}; "
                "lower n_subspaces or give more rows"
            )
        points = _as_tensor(rows)
        fit = fit_rows(
            WeightedRows.of(points, _row_weights(sample_weight, rows)),
            self._request(),
            progress=ignore_progress,
        )
        subspaces = fit.result.subspaces
        self.labels_ = fit.result.labels.numpy().astype(np.int32)
        self.bases_ = [basis.numpy().copy() for basis in subspaces.bases]
        self.offsets_ = None if subspaces.offsets is None else subspaces.offsets.numpy()
        self.dimensions_ = subspaces.dimensions
        self.cost_history_ = fit.result.cost_history
        self.cost_ = self.cost_history_[-1]
        self.n_iter_ = len(self.cost_history_)
        self._subspaces, self._loss = subspaces, fit.plan.loss
        return self

    def predict(self, X: ArrayLike) -> Array:
        """The subspace of each row.

        With ``allocation="optimal"`` a row also pays for the coordinates it would store, as one of
        weight 1, and ``labels_`` are those that the dimensions were bought for; the two may differ
        in a few rows.

        Args:
            X: Shape (n_samples, n_features).

        Returns:
            Shape (n_samples,), int32; the lowest number on a tie.
        """
        return self._charged(self._measure(X)[0]).argmin(dim=1).numpy().astype(np.int32)

    def transform(self, X: ArrayLike) -> Array:
        """Distance of each row to every subspace, not squared.

        Args:
            X: Shape (n_samples, n_features).

        Returns:
            Shape (n_samples, n_subspaces), in the units and the dtype of the fit.
        """
        return self._measure(X)[0].sqrt_().numpy()

    def score(
        self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Minus the cost of these rows, Σ w·φ(dist²) / Σ w·φ(‖x‖²): higher is better, 0 is exact.

        Args:
            X: Shape (n_samples, n_features).
            y: Not used.
            sample_weight: Shape (n_samples,), not negative.
        """
        residuals, points = self._measure(X)
        weights = _row_weights(sample_weight, points.numpy())
        labels = self._charged(residuals).argmin(dim=1, keepdim=True)
        lost = self._loss.value(residuals.gather(1, labels).squeeze(1))
        whole = weighted_sum(self._loss.value(row_squared_norms(points)), weights)
        return -weighted_sum(lost, weights) / whole if whole > 0 else 0.0

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401 - its class has no public name
        """What scikit-learn may expect."""
        tags = super().__sklearn_tags__()
        assert tags.transformer_tags is not None
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        """Columns of `transform`, which names them projectiveclustering0 … ."""
        return len(self.bases_)

    def _request(self) -> FitRequest:
        wanted: Any = self.dimension  # a search over parameters brings NumPy's own numbers
        return FitRequest(
            k=index(self.n_subspaces),
            j=index(wanted) if np.ndim(wanted) == 0 else [index(each) for each in wanted],
            allocation=self.allocation,
            affine=self.affine,
            loss=self.loss,
            seed=int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max)),
            n_init=self.n_init,
            seeding=self.seeding,
            max_iterations=self.max_iter,
            tolerance=self.tol,
        )

    def _measure(self, X: ArrayLike) -> tuple[Tensor, Tensor]:
        """Squared distance of each row to every subspace, (n, k), and the rows."""
        check_is_fitted(self)
        points = _as_tensor(self._checked(X, self.bases_[0].dtype, reset=False))
        return self._subspaces.squared_residuals(points), points

    def _checked(self, X: ArrayLike, dtype: object, *, reset: bool) -> Array:
        """The rows as scikit-learn's own estimators take them."""
        known: Any = X  # its annotations know only a placeholder text
        checked: Any = validate_data(self, known, dtype=dtype, order="C", reset=reset)
        return checked

    def _charged(self, residuals: Tensor) -> Tensor:
        """What each row would cost in each subspace; order is all that matters."""
        if self.allocation != "optimal":
            return residuals
        return self._loss.value(residuals) + self._subspaces.charges


def _as_tensor(rows: Array) -> Tensor:
    """The same memory where torch may have it; torch warns about what cannot be written to."""
    return torch.from_numpy(np.require(rows, requirements=["C", "W"]))


def _row_weights(sample_weight: ArrayLike | None, rows: Array) -> Tensor | None:
    if sample_weight is None:
        return None
    checked = _check_sample_weight(sample_weight, rows, dtype=np.float64)
    return check_weights(torch.tensor(checked), len(rows))
