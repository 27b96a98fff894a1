"""Parameters that make no sense: each has its own clear error, before any work is done."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import engine
from engine.clustering.seeding import SEEDINGS
from engine.errors import EngineError, ParameterError, ShapeError, SourceError
from engine.progress import Progress
from engine.requests import SizeError

N, D = 30, 6
GOOD: dict[str, Any] = {"k": 3, "j": 2}
POINTS = torch.randn(N, D, generator=torch.Generator().manual_seed(0))
WITH_NAN = POINTS.clone()
WITH_NAN[7, 2] = float("nan")
WITH_INFINITY = POINTS.clone()
WITH_INFINITY[0, 0] = float("inf")
ONES = torch.ones(N)
NO_LABELS = torch.zeros(N, dtype=torch.int64)


def weights(**changed: float) -> dict[str, torch.Tensor]:
    values = ONES.clone()
    values[4] = changed["row_4"]
    return {"weights": values}


BAD: dict[str, tuple[dict[str, Any], type[EngineError], str]] = {
    "k = 0": ({"k": 0}, ParameterError, r"k must be 1 or more .*subspaces\), got 0"),
    "k negative": ({"k": -2}, ParameterError, r"k must be 1 or more .*, got -2"),
    "k > n": ({"k": 31}, ParameterError, r"k must be between 1 and 30 .*, got 31"),
    "default k > n": (
        {"k": None, "matrix": POINTS[:4]},
        ParameterError,
        r"k must be between 1 and 4 .*, got 5",
    ),
    "j = 0": ({"j": 0}, ParameterError, r"j must be between 1 and 6 .*layer\), got 0"),
    "j > d": ({"j": 7}, ParameterError, r"j must be between 1 and 6 .*, got 7; lower j"),
    "k a float": ({"k": 2.5}, ParameterError, "k must be a whole number or a list, got 2.5"),
    "k of words": ({"k": [2, "x"]}, ParameterError, r"k must be .* a list, got \[2, 'x'\]"),
    "k a word": ({"k": "many"}, ParameterError, "a list of them or 'auto', got 'many'"),
    "k true": ({"k": True}, ParameterError, "k must be a whole number or a list, got True"),
    "j a float": ({"j": 2.0}, ParameterError, "j must be a whole number or a list, got 2.0"),
    "j a word": ({"j": "2"}, ParameterError, "j must be a whole number or a list, got '2'"),
    "no candidate k": ({"k": []}, ParameterError, "needs at least one candidate"),
    "a k to be chosen for given j": (
        {"k": "auto", "j": [2, 1]},
        ParameterError,
        "a rate or one j, not a list of j",
    ),
    "too few given j": (
        {"j": [2, 1]},
        ParameterError,
        r"k = 3 .* as many dimensions, got \(2, 1\)",
    ),
    "no given j": ({"k": None, "j": []}, ParameterError, "k must be between 1 and 30"),
    "a given j > d": ({"j": [2, 7, 1]}, ParameterError, r"j must be between 1 and 6 .*, got 7"),
    "a given j negative": ({"j": [2, -1, 1]}, ParameterError, r"j must be between .*, got -1"),
    "svd of given j": (
        {"method": "svd", "k": None, "j": [2, 1]},
        ParameterError,
        r"one subspace, got j = \[2, 1\]",
    ),
    "svd of a k to be chosen": (
        {"method": "svd", "k": "auto"},
        ParameterError,
        "one subspace, got k = auto",
    ),
    "coded without bytes": (
        {"method": "coded", "j": None},
        SizeError,
        "needs max_bytes, the most bytes .* not given",
    ),
    "coded of half a byte": (
        {"method": "coded", "j": None, "max_bytes": 100.5},
        ParameterError,
        "a whole number of at least 1; got 100.5",
    ),
    "coded of too few bytes": (
        {"method": "coded", "j": None, "max_bytes": 20},
        ParameterError,
        "leaves no room for a single basis vector of k = 3 .* labels take 8 bytes",
    ),
    "coded of a rate": (
        {"method": "coded", "j": None, "max_bytes": 200, "rate": 0.4},
        SizeError,
        "takes no rate; leave rate out",
    ),
    "coded of another loss": (
        {"method": "coded", "j": None, "max_bytes": 200, "loss": "l1"},
        ParameterError,
        "takes no loss; leave loss out",
    ),
    "coded of a word for k": (
        {"method": "coded", "k": "many", "j": None, "max_bytes": 200},
        ParameterError,
        "k must be a whole number, a list of them or 'auto', got 'many'",
    ),
    "coded of no k": (
        {"method": "coded", "k": [], "j": None, "max_bytes": 200},
        ParameterError,
        "needs at least one candidate, got none",
    ),
    "coded of several k, one below 1": (
        {"method": "coded", "k": [2, 0], "j": None, "max_bytes": 200},
        ParameterError,
        "k must be between 1 and 30 .*, got 0",
    ),
    "coded of several k, all above n": (
        {"method": "coded", "k": [31, 40], "j": None, "max_bytes": 200},
        ParameterError,
        "k must be between 1 and 30 .*, got 31",
    ),
    "coded of labels and a k to be chosen": (
        {"method": "coded", "k": "auto", "j": None, "max_bytes": 200, "labels": NO_LABELS},
        ParameterError,
        "labels are a first partition for one k, got 4 of them to choose from; give that k",
    ),
    "coded of many starts": (
        {"method": "coded", "j": None, "max_bytes": 200, "n_init": 5},
        ParameterError,
        "has one start, got n_init = 5; leave n_init out",
    ),
    "coded of labels of more parts": (
        {"method": "coded", "j": None, "max_bytes": 200, "labels": torch.arange(30) % 4},
        ParameterError,
        r"labels must be in 0 … 2 for k = 3, got 0 … 3",
    ),
    "coded of labels below zero": (
        {"method": "coded", "j": None, "max_bytes": 200, "labels": -torch.ones(30).long()},
        ParameterError,
        r"labels must be in 0 … 2 for k = 3, got -1 … -1",
    ),
    "coded of bits": (
        {"method": "coded", "j": None, "max_bytes": 200, "bits": 8},
        ParameterError,
        "chooses its bits itself",
    ),
    "coded of k > n": (
        {"method": "coded", "k": 31, "j": None, "max_bytes": 200},
        ParameterError,
        r"k must be between 1 and 30 .*, got 31",
    ),
    "bytes of another method": (
        {"max_bytes": 200},
        SizeError,
        "max_bytes is the size of method='coded'; give method='messi' a rate or j",
    ),
    "unknown allocation": (
        {"allocation": "best"},
        ParameterError,
        "allocation must be one of uniform, optimal, got 'best'",
    ),
    "optimal given j": (
        {"allocation": "optimal", "j": [2, 1, 1]},
        ParameterError,
        "allocation='optimal' chooses the dimensions itself",
    ),
    "optimal rate without room": (
        {"allocation": "optimal", "j": None, "rate": 0.95, "affine": True},
        ParameterError,
        "the budget leaves -9 numbers for coordinates and bases; lower the rate or k",
    ),
    "affine rate without room": (
        {"j": None, "rate": 0.7, "affine": True},
        ParameterError,
        r"0\.7 leaves no room for k = 3 .* highest rate for k = 3 here is 0\.633",
    ),
    "unknown loss": ({"loss": "l"}, ParameterError, "unknown loss 'l'; known are squared, l1"),
    "loss of scale 0": ({"loss": "tukey:0"}, ParameterError, "must be a positive number, got '0'"),
    "moves negative": ({"moves": -1}, ParameterError, "moves must not be negative, got -1"),
    "rate 1": ({"j": None, "rate": 1.0}, ParameterError, "0 to below 1, got 1; 0.4 makes"),
    "rate negative": ({"j": None, "rate": -0.1}, ParameterError, "0 to below 1, got -0.1"),
    "rate NaN": ({"j": None, "rate": float("nan")}, ParameterError, "0 to below 1, got nan"),
    "rate too high for k": (
        {"j": None, "rate": 0.9},
        ParameterError,
        r"0\.9 leaves no room for k = 3 .* highest rate for k = 3 here is 0\.733",
    ),
    "k too large for any rate": (
        {"j": None, "rate": 0.1, "k": 30},
        ParameterError,
        "k = 30 subspaces of one dimension are already larger than the table; lower k",
    ),
    "both j and rate": (
        {"rate": 0.4},
        SizeError,
        r"j = 2 and rate = 0\.4 are both given",
    ),
    "neither j nor rate": (
        {"j": None},
        SizeError,
        r"no size is given; give j .*, rate .* max_bytes",
    ),
    "another mistake beside a missing size": (
        {"j": None, "moves": -1},
        ParameterError,
        "moves must not be negative",
    ),
    "unknown method": ({"method": "pca"}, ParameterError, "one of messi, svd, coded, got 'pca'"),
    "svd of three": ({"method": "svd"}, ParameterError, "one subspace, got k = 3; leave k out"),
    "weight negative": (weights(row_4=-1.0), ParameterError, "finite and not negative"),
    "weight NaN": (weights(row_4=float("nan")), ParameterError, "finite and not negative"),
    "weight infinite": (weights(row_4=float("inf")), ParameterError, "finite and not negative"),
    "weights all zero": ({"weights": 0 * ONES}, ParameterError, "must not all be zero"),
    "weights too few": ({"weights": ONES[1:]}, ShapeError, r"30 rows need as many .*\(29,\)"),
    "weights as a column": ({"weights": ONES[:, None]}, ShapeError, r"got shape \(30, 1\)"),
    "label too high": ({"labels": NO_LABELS + 3}, ParameterError, r"0 … 2 for k = 3, got 3 … 3"),
    "label negative": ({"labels": NO_LABELS - 1}, ParameterError, r"0 … 2 for k = 3, got -1"),
    "labels as floats": ({"labels": ONES}, ShapeError, "30 whole numbers, .*float32"),
    "labels too few": ({"labels": NO_LABELS[1:]}, ShapeError, r"30 whole numbers, got \(29,\)"),
    "unknown seeding": (
        {"seeding": "kmeans++"},
        ParameterError,
        rf"unknown seeding kmeans\+\+; known are {', '.join(SEEDINGS)} and auto",
    ),
    "unknown seeding in a plan": (
        {"seeding": {"norms": 1, "best": 0}},
        ParameterError,
        "unknown seeding best",
    ),
    "unknown seeding of an SVD": (
        {"method": "svd", "k": None, "seeding": "best"},
        ParameterError,
        "unknown seeding best",
    ),
    "no starts": ({"n_init": 0}, ParameterError, "at least one start is needed; raise n_init"),
    "an empty plan": ({"seeding": {}}, ParameterError, "at least one start is needed"),
    "starts negative": ({"n_init": -1}, ParameterError, "must not be negative, got -1"),
    "starts negative in a plan": (
        {"seeding": {"norms": 2, "random": -3}},
        ParameterError,
        "must not be negative, got -3",
    ),
    "no steps": ({"max_iterations": 0}, ParameterError, "max_iterations must be at least 1, got 0"),
    "tolerance 1": ({"tolerance": 1.0}, ParameterError, "tolerance must be 0 to below 1, got 1"),
    "tolerance negative": ({"tolerance": -1e-3}, ParameterError, "below 1, got -0.001"),
    "seed negative": ({"seed": -1}, ParameterError, "seed must not be negative, got -1"),
    "whole numbers": ({"matrix": POINTS.int()}, ParameterError, "must hold floats, got .*int32"),
    "one axis": ({"matrix": POINTS[0]}, ShapeError, r"\(rows, columns\), .*, got \(6,\)"),
    "three axes": ({"matrix": POINTS[None]}, ShapeError, r"got \(1, 30, 6\)"),
    "no rows": ({"matrix": POINTS[:0]}, ShapeError, r"both at least 1, got \(0, 6\)"),
    "no columns": ({"matrix": POINTS[:, :0]}, ShapeError, r"both at least 1, got \(30, 0\)"),
    "NaN": ({"matrix": WITH_NAN}, SourceError, "row 7 holds NaN or infinity"),
    "infinity": ({"matrix": WITH_INFINITY}, SourceError, "row 0 holds NaN or infinity"),
    "rows too long to square": (
        {"matrix": POINTS * 1e25},
        ParameterError,
        r"sum to inf, outside what torch\.float32 can hold; scale the matrix",
    ),
    "rows too short to square": (
        {"matrix": POINTS * 1e-30},
        ParameterError,
        r"outside what torch\.float32 can hold; scale the matrix",
    ),
}


def refuse_progress(progress: Progress) -> None:
    """Fail when work has begun."""
    pytest.fail(f"{progress.phase}: worked on parameters that should have been refused")


@pytest.mark.parametrize("name", BAD)
def test_each_is_refused_with_its_reason(name: str) -> None:
    changed, kind, message = BAD[name]
    arguments = {"matrix": POINTS, "progress": refuse_progress, **GOOD, **changed}
    with pytest.raises(kind, match=message):
        engine.factorize(arguments.pop("matrix"), **arguments)


def test_candidates_that_are_all_impossible_are_refused_with_the_last_reason() -> None:
    with pytest.raises(ParameterError, match=r"no k of \[31, 40\] .*: k must be between 1 and 30"):
        engine.factorize(POINTS, k=[40, 31], j=2)


def test_the_good_ones_are_good() -> None:
    assert engine.factorize(POINTS, **GOOD).k == 3


def test_there_are_at_least_twenty() -> None:
    assert len(BAD) >= 20
