"""The estimator keeps scikit-learn's contract, and is the fit that `engine.factorize` makes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import engine
from engine.errors import ParameterError
from engine.estimator import ProjectiveClustering
from tests.engine.problems import distances_to_bases, planted_rows, same_partition

# What scikit-learn 1.9 declares of KMeans's like, in its own words: another draw of the starts for
# repeated rows ends in another optimum.
REASON = "sample_weight is not equivalent to removing/repeating samples."
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": REASON,
    "check_sample_weight_equivalence_on_sparse_data": REASON,
}


def planted(dtype: type[np.floating] = np.float64) -> tuple[np.ndarray, torch.Tensor]:
    points, labels = planted_rows(3, 2, 8, rows_each=50, noise=0.01)
    return points.numpy().astype(dtype), labels


@parametrize_with_checks(
    [ProjectiveClustering(n_init=2)],
    expected_failed_checks=lambda _: EXPECTED_FAILURES,
)
def test_scikit_learns_own_checks(estimator: BaseEstimator, check: object) -> None:
    check(estimator)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_planted_subspaces_are_found_in_the_dtype_of_the_rows(dtype: type[np.floating]) -> None:
    rows, labels = planted(dtype)
    found = ProjectiveClustering(3, 2, random_state=0).fit(rows)
    assert same_partition(torch.from_numpy(found.labels_), labels)
    assert found.labels_.dtype == np.int32
    assert {basis.dtype for basis in found.bases_} == {np.dtype(dtype)}
    assert found.transform(rows).dtype == dtype
    assert found.dimensions_ == (2, 2, 2)
    assert found.offsets_ is None
    assert found.cost_ == found.cost_history_[-1]
    assert found.n_iter_ == len(found.cost_history_)


def test_transform_is_the_distance_to_each_basis_not_squared() -> None:
    rows, _ = planted()
    found = ProjectiveClustering(3, 2, random_state=0).fit(rows)
    bases = tuple(torch.from_numpy(basis) for basis in found.bases_)
    expected = distances_to_bases(torch.from_numpy(rows), bases).sqrt().numpy()
    # Where a row lies on a subspace the root makes 1e-8 of the squares' rounding, 1e-16.
    np.testing.assert_allclose(found.transform(rows), expected, atol=1e-7)
    np.testing.assert_array_equal(expected.argmin(axis=1), found.predict(rows))


def test_it_fits_what_factorize_fits() -> None:
    rows, _ = planted()
    found = ProjectiveClustering(3, [1, 2, 3], n_init=4, random_state=0).fit(rows)
    seed = found._request().seed
    same = engine.factorize(torch.from_numpy(rows), j=[1, 2, 3], n_init=4, seed=seed)
    np.testing.assert_array_equal(found.labels_, same.labels.numpy())
    assert found.cost_ == same.cost_history[-1]
    assert found.dimensions_ == same.dimensions


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("loss", ["squared", "l1", "tukey"])
def test_every_loss_and_offset_predicts_its_own_labels(affine: bool, loss: str) -> None:
    rows, _ = planted()
    found = ProjectiveClustering(3, 2, affine=affine, loss=loss, random_state=0).fit(rows + affine)
    np.testing.assert_array_equal(found.predict(rows + affine), found.labels_)
    assert (found.offsets_ is not None) == affine
    assert found.score(rows + affine) == pytest.approx(-found.cost_, rel=1e-9)


def test_bought_dimensions_stay_within_the_size_of_even_ones() -> None:
    rows, _ = planted_rows(3, 1, 8, rows_each=50, noise=0.2)
    wide = np.concatenate([rows.numpy(), planted_rows(1, 5, 8, rows_each=50)[0].numpy()])
    found = ProjectiveClustering(4, 2, allocation="optimal", random_state=0).fit(wide)
    sizes = np.bincount(found.labels_, minlength=4)
    stored = sum(j * (size + 8) for j, size in zip(found.dimensions_, sizes, strict=True))
    assert stored <= 2 * (len(wide) + 4 * 8)
    paid = found.transform(wide) ** 2 + found._subspaces.charges.numpy()
    np.testing.assert_array_equal(paid.argmin(axis=1), found.predict(wide))


def test_a_weight_of_m_is_m_copies_in_the_cost() -> None:
    rows, _ = planted()
    weights = np.arange(len(rows)) % 3
    weighted = ProjectiveClustering(3, 2, random_state=0).fit(rows, sample_weight=weights)
    copied = rows.repeat(weights, axis=0)
    assert weighted.cost_ == pytest.approx(-weighted.score(copied), rel=1e-9)
    assert weighted.score(rows, sample_weight=weights) == pytest.approx(-weighted.cost_, rel=1e-9)


def test_it_works_in_a_pipeline_and_names_its_columns() -> None:
    pandas = pytest.importorskip("pandas")
    rows, _ = planted()
    pipeline = make_pipeline(StandardScaler(), ProjectiveClustering(3, 2, random_state=0))
    pipeline.set_output(transform="pandas")
    distances = pipeline.fit_transform(rows)
    assert isinstance(distances, pandas.DataFrame)
    assert list(distances.columns) == [f"projectiveclustering{c}" for c in range(3)]
    np.testing.assert_array_equal(distances.to_numpy().argmin(axis=1), pipeline.predict(rows))
    np.testing.assert_array_equal(
        pipeline.fit_predict(rows), pipeline.named_steps["projectiveclustering"].labels_
    )


def test_a_grid_search_finds_the_planted_size() -> None:
    rows, _ = planted()
    search = GridSearchCV(
        ProjectiveClustering(3, n_init=4, random_state=0), {"dimension": np.arange(1, 3)}, cv=2
    ).fit(rows)
    assert search.best_params_ == {"dimension": 2}


def test_clone_and_parameters() -> None:
    estimator = ProjectiveClustering(4, [1, 2, 3, 0], loss="huber", random_state=7)
    copy = clone(estimator)
    assert copy.get_params() == estimator.get_params()
    assert copy.set_params(n_subspaces=2).n_subspaces == 2
    assert estimator.n_subspaces == 4


def test_a_fitted_one_survives_being_saved() -> None:
    rows, _ = planted(np.float32)
    found = ProjectiveClustering(3, 2, random_state=0).fit(rows)
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.predict(rows), found.labels_)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_subspaces": 200}, "n_samples=150 should be at least n_subspaces=200"),
        ({"dimension": 9}, "must be between 1 and 8"),
        ({"dimension": np.arange(1, 3)}, "3 subspaces need as many dimensions"),
        ({"loss": "nothing"}, "loss"),
        ({"tol": 2.0}, "tolerance must be 0 to below 1"),
        ({"n_init": 0}, "at least one start"),
    ],
)
def test_what_does_not_fit_is_a_value_error(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message) as caught:
        ProjectiveClustering(**parameters).fit(planted()[0])
    assert isinstance(caught.value, ValueError)


def test_weights_below_zero_are_refused() -> None:
    rows, _ = planted()
    with pytest.raises(ParameterError, match="not negative"):
        ProjectiveClustering().fit(rows, sample_weight=-np.ones(len(rows)))
