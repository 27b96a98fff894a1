"""The search for the smallest size: what it finds, how little it tries, what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import engine
from engine.errors import Cancelled, ParameterError, SourceError
from engine.evaluation import smallest
from engine.evaluation.checks import CHECKS
from engine.evaluation.checks.check import Check, Comparison, Outcome, mean_of
from engine.evaluation.encoding import Report
from engine.evaluation.sizes import SIZES, SizeSearch
from engine.evaluation.smallest import USUAL_WEIGHTS, find_smallest
from engine.evaluation.subject import Subject
from engine.evaluation.variants import Variant
from engine.factorization import Factorization
from engine.frequencies.row_use import RowUse
from engine.plans import CompressionConfig
from engine.progress import Progress, ProgressCallback
from engine.reproducing import command_line
from engine.runs import read_run
from engine.table import EmbeddingTable
from tests.engine.evaluation.small import make_model
from tests.engine.tables import gaussian, make_table

TABLE = make_table(gaussian(400, 16))
FITS_AT_MOST = 4
EXACT = 1e-9  # points: sums of a few dozen floats
Losses = Callable[[str], float]
fit_plan = smallest.fit_plan


@cache
def fit_once(max_bytes: str) -> Factorization:
    """Fits do not decide what a search of a fake check finds: one a size will do."""
    config = CompressionConfig(method="coded", max_bytes=max_bytes)
    return fit_plan(TABLE, config, None)


@pytest.fixture(autouse=True)
def fits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The sizes that were fitted; nothing is kept in the user's own folder."""
    found: list[str] = []

    def fit(
        table: EmbeddingTable,
        config: CompressionConfig,
        use: RowUse | None,
        *,
        progress: ProgressCallback,
    ) -> Factorization:
        found.append(str(config.max_bytes))
        progress(Progress(phase="Fitting", done=0, total=1))
        if table is TABLE and use is None:
            return fit_once(str(config.max_bytes))
        return fit_plan(table, config, use, progress=progress)

    monkeypatch.setattr(smallest, "fit_plan", fit)
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SUBSPACE_ATLAS_DATA", raising=False)
    return found


def fake(losses: Losses, *, n: int = 40, noise: float = 0.0, rises: bool = False) -> Check:
    """A check on which every size loses what it is told to, each item by chance more or less."""

    class Prepared:
        def measure(self, variant: Variant, report: Report) -> Outcome:
            report(0, 1)
            size = variant.name.split(" ")[0]
            lost = 0.0 if variant.role == "original" else losses(size)
            drawn = np.random.default_rng(len(size) + int(100 * lost)).standard_normal(n)
            points = (lost if rises else 100 - lost) + noise * (drawn - drawn.mean())
            return points / 100

        def compare(self, outcomes: Mapping[str, Outcome]) -> Comparison:
            return Comparison(
                n=n, metric="points", statistic=mean_of(outcomes), higher_is_better=not rises
            )

    return replace(CHECKS["valence"], name="fake", prepare=lambda *_: Prepared(), **AVAILABLE)


def always(_: Subject) -> None:
    return None


AVAILABLE = {"unavailable": always, "title": "Fake"}


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Callable[..., SizeSearch]:
    """Search `TABLE` by a fake check."""

    def run(check: Check, max_drop: float = 1.0, **asked: object) -> SizeSearch:
        monkeypatch.setitem(CHECKS, "fake", check)
        return find_smallest(TABLE, "fake", max_drop=max_drop, **asked)  # type: ignore[arg-type]

    return run


@pytest.mark.parametrize("wanted", range(len(SIZES)))
@pytest.mark.parametrize("rises", [False, True])
def test_where_more_bytes_never_lose_more_the_smallest_is_found(
    wanted: int, rises: bool, search: Callable[..., SizeSearch], fits: list[str]
) -> None:
    def lost(size: str) -> float:
        return 0.5 if SIZES.index(size) >= wanted else 3.0

    found = search(fake(lost, rises=rises), weights="none")
    assert found.config.max_bytes == found.chosen.max_bytes == SIZES[wanted]
    assert len(fits) == len(found.trials) <= FITS_AT_MOST
    assert found.chosen.drop.value == pytest.approx(0.5)
    assert [trial.max_bytes for trial in found.trials] == sorted(fits, key=SIZES.index)
    stored = [trial.stored_bytes for trial in found.trials]
    assert stored == sorted(stored)
    assert found.optimism == pytest.approx(0, abs=EXACT), "items that are all alike flatter nobody"
    assert any("No size below 1%" in note for note in found.notes) == (wanted == 0)


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # what it keeps is cleared below
)
@given(losses=st.lists(st.integers(0, 40), min_size=len(SIZES), max_size=len(SIZES)))
def test_by_whatever_chance_what_is_taken_was_measured_to_be_enough(
    losses: list[int], search: Callable[..., SizeSearch], fits: list[str]
) -> None:
    fits.clear()

    def lost(size: str) -> float:
        return losses[SIZES.index(size)] / 10

    check = fake(lost, noise=1.0)
    try:
        found = search(check, max_drop=2.0, weights="none")
    except ParameterError:
        assert min(map(lost, fits)) > 2.0
    else:
        assert found.chosen.drop.value <= 2.0 + EXACT
        assert found.chosen.drop.value == pytest.approx(lost(found.chosen.max_bytes))
        smaller = found.trials[: found.trials.index(found.chosen)]
        assert all(trial.drop.value > 2.0 for trial in smaller)
    assert len(fits) <= FITS_AT_MOST


def test_where_nothing_is_enough_the_least_is_told(search: Callable[..., SizeSearch]) -> None:
    def lost(size: str) -> float:
        return 9 - float(size.strip("%")) / 10

    with pytest.raises(
        ParameterError,
        match=r"up to 25% .* 1 points or less: the least found is 6.5, at 25%; raise",
    ):
        search(fake(lost), weights="none")


def test_choosing_among_equals_by_luck_is_owned_up_to(search: Callable[..., SizeSearch]) -> None:
    found = search(fake(lambda _: 1.0, noise=3.0, n=20), max_drop=1.0, weights="none")
    assert found.optimism > 0.1
    assert any(
        f"loses at least {found.optimism:.2f} more on others" in note for note in found.notes
    )
    assert found.chosen.drop.high > 1.0
    assert any("to be surer, accept less than 1" in note for note in found.notes)


def test_sizes_without_room_are_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CHECKS, "fake", fake(lambda _: 0))
    table = make_table(gaussian(40, 16))  # 1 % are 25 bytes, and labels of four subspaces take 10
    found = find_smallest(table, "fake", max_drop=1, weights="none")
    assert found.chosen == found.trials[0]
    assert found.chosen.max_bytes != SIZES[0]
    few = make_table(gaussian(3, 16))  # 25 % are 48 bytes, and two offsets alone take 64
    with pytest.raises(ParameterError, match="no room for a single basis vector of k = 2"):
        find_smallest(few, "fake", max_drop=1, weights="none", k=2, affine=True)


def test_a_check_that_breaks_says_so(search: Callable[..., SizeSearch], fits: list[str]) -> None:
    def refuse(*_: object) -> None:
        raise SourceError("the text is gone")

    with pytest.raises(SourceError, match="the text is gone"):
        search(replace(fake(lambda _: 0), prepare=refuse), weights="none")
    with pytest.raises(ParameterError, match=r"Fake has 9 items here, .* at least 10"):
        search(fake(lambda _: 0, n=9), weights="none")
    assert fits == []


@pytest.mark.parametrize("where", ["Fake: preparing", "Size 2, ", "Fake: intervals"])
def test_cancel_is_heard_throughout(where: str, search: Callable[..., SizeSearch]) -> None:
    def cancel(step: Progress) -> None:
        if where in step.phase:
            raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        search(fake(lambda _: 0), weights="none", progress=cancel)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"check": "xyz"}, "the checks are valence, .*, got xyz"),
        ({"check": "fidelity"}, "fidelity cannot be run: .* without a model"),
        ({"max_drop": -1}, "max_drop is the largest loss to accept, at least 0 points, got -1"),
        ({"max_drop": float("nan")}, "at least 0 points, got nan"),
        ({"max_bytes": "2%"}, "finds the size of coded subspaces by itself, got max_bytes as well"),
        ({"j": 3}, "got j as well; leave one of the two out"),
        ({"rate": 0.5, "bits": 8}, "got bits, rate as well"),
        ({"method": "messi"}, "got method as well"),
        ({"k": 500}, "k must be between 1 and 400"),
        ({"k": 2, "loss": "l1"}, "takes no loss; leave loss out"),
        ({"kk": 2}, "a plan takes affine, .*, got kk as well"),
    ],
)
def test_what_is_refused_before_any_work(
    asked: dict[str, object],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    fits: list[str],
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the check was begun")

    monkeypatch.setitem(CHECKS, "fake", replace(fake(lambda _: 0), prepare=never))
    with pytest.raises(ParameterError, match=message):
        find_smallest(TABLE, **{"check": "fake", "max_drop": 1, "weights": "none", **asked})  # type: ignore[arg-type]
    assert fits == []


def test_tokens_weigh_by_use_unless_told_otherwise(
    search: Callable[..., SizeSearch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CHECKS, "fake", fake(lambda _: 0))
    model = make_model(tmp_path / "model")
    found = find_smallest(model, "fake", max_drop=1)
    assert found.config.weights == USUAL_WEIGHTS
    assert any("English text" in note for note in found.notes)
    alike = find_smallest(model, "fake", max_drop=1, weights="none")
    assert alike.config.weights == "none"
    assert not any("English text" in note for note in alike.notes)
    nameless = replace(TABLE, tokens=[str(row) for row in range(400)])
    uncounted = find_smallest(nameless, "fake", max_drop=1)
    assert uncounted.config.weights == "none"
    assert any(note.startswith("All tokens counted alike, as") for note in uncounted.notes)


def test_a_model_is_compressed_by_what_was_found(tmp_path: Path) -> None:
    model, out = make_model(tmp_path / "model"), tmp_path / "small"
    found = engine.find_smallest(model, "valence", max_drop=5, k=2, neighbours=0)
    assert found.config.k == 2
    assert found.chosen.drop.value <= 5
    engine.compress_model(model, config=found.config, search=found.as_dict(), output=out)
    record = read_run(out).record
    assert record.config["max_bytes"] == found.config.max_bytes
    assert record.figures["search"] == json.loads(json.dumps(found.as_dict()))
    assert record.figures["notes"][0] == found.notes[0]
    assert f"--max-bytes={found.config.max_bytes}" in command_line(record)
    card = (out / "README.md").read_text(encoding="utf-8")
    assert f"--max-bytes {found.config.max_bytes}" in card
    assert found.notes[0] in card
    (again,) = engine.evaluate(model, "valence", config=found.config).results
    assert again.scores[1].drop.value == pytest.approx(found.chosen.drop.value, abs=EXACT)
    with pytest.raises(ParameterError, match="compressed already; give the model it was made from"):
        engine.find_smallest(out, "valence", max_drop=5)
