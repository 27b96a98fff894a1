"""A plan beside the SVD: the figures again from scratch, and the verdict said plainly."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.compression import Compression, CompressionConfig, compress_table
from engine.errors import Cancelled, ParameterError
from engine.frequencies import row_use
from engine.progress import Progress
from tests.engine.problems import truncated_svd
from tests.engine.tables import gaussian, lines, make_table, one_flat_shape

ENERGY = 6e-6  # float32: tests.tolerances


def compress(matrix: torch.Tensor, **config: Any) -> Compression:  # noqa: ANN401 - as the config takes them
    return compress_table(make_table(matrix), CompressionConfig(**{"n_init": 1, **config}))


def test_figures_agree_with_the_definitions() -> None:
    matrix = gaussian(120, 10)
    found = compress(matrix, k=3, rate=0.5, neighbours=4, queries=50, seed=2)
    rows, total = matrix.double(), float(matrix.double().square().sum())
    ours, svd = found.figures, found.svd
    j = ours.dimensions[0]
    assert (ours.k, ours.dimensions) == (3, (4, 4, 4))  # ⌊0.5·1200 / 150⌋
    assert ours.parameters == 120 * j + 3 * j * 10
    assert ours.rate == pytest.approx(1 - ours.parameters / 1200)
    assert ours.stored_bytes == 4 * ours.parameters + 120 * 2 // 8  # two bits a label
    approximated = found.factorization.reconstruct().double()
    assert ours.relative_error == pytest.approx(
        float((rows - approximated).square().sum()) / total, abs=ENERGY
    )
    (rank,) = svd.dimensions
    assert (svd.k, rank) == (1, 5)  # ⌈600 / 130⌉
    assert svd.parameters == rank * 130
    assert svd.stored_bytes == 4 * svd.parameters
    best = rows - truncated_svd(matrix, rank)
    assert svd.relative_error == pytest.approx(float(best.square().sum()) / total, abs=ENERGY)
    assert (found.rows, found.columns, found.dense_bytes) == (120, 10, 4800)
    for figures, rebuilt in ((ours, approximated), (svd, truncated_svd(matrix, rank))):
        kept = figures.neighbours_kept
        assert kept is not None
        assert (kept.count, kept.queries, kept.total_rows) == (4, 50, 120)
        assert kept.mean == pytest.approx(_overlap(rows, rebuilt, found), abs=0.02)


def _overlap(before: torch.Tensor, after: torch.Tensor, found: Compression) -> float:
    """Share of the 4 nearest neighbours kept, of the 50 rows that seed 2 draws."""
    chosen = torch.randperm(120, generator=torch.Generator().manual_seed(2))[:50]
    shares: list[float] = []
    for row in chosen.tolist():
        nearest = [
            set(
                (torch.nn.functional.cosine_similarity(rows, rows[row : row + 1]))
                .index_fill(0, torch.tensor([row]), -2)
                .topk(4)
                .indices.tolist()
            )
            for rows in (before, after)
        ]
        shares.append(len(nearest[0] & nearest[1]) / 4)
    return sum(shares) / len(shares)


@given(n=st.integers(2, 40), d=st.integers(2, 12), k=st.integers(1, 4), rate=st.floats(0, 0.95))
@settings(max_examples=30, deadline=None)
def test_the_svd_beside_it_never_stores_less(n: int, d: int, k: int, rate: float) -> None:
    table = make_table(gaussian(n, d))
    config = CompressionConfig(k=min(k, n), rate=rate, n_init=1, neighbours=0)
    try:
        found = compress_table(table, config)
    except ParameterError:  # no room for one dimension
        return
    assert found.svd.parameters >= found.figures.parameters
    assert found.figures.parameters <= (1 - rate) * n * d + 1e-6
    assert found.beats_svd == (found.figures.relative_error < found.svd.relative_error)


def test_an_svd_larger_than_the_table_is_no_rival() -> None:
    rows = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    found = compress(rows, k=2, rate=0.4)
    assert found.svd.rate is not None
    assert found.svd.rate < 0
    assert "No SVD that stores as much is smaller than the table" in found.verdict
    assert "wins" not in found.verdict


def test_verdict_says_that_the_svd_wins() -> None:
    found = compress(one_flat_shape(), k=10, rate=0.2, neighbours=0)
    assert not found.beats_svd
    assert found.figures.relative_error > found.svd.relative_error
    assert found.verdict.startswith("SVD wins here: one subspace of rank 17 loses ")
    assert "10 subspaces of dimension 10 lose" in found.verdict
    assert "try a smaller k or a higher rate" in found.verdict
    assert found.as_dict()["beats_svd"] is False


def test_verdict_says_that_the_subspaces_win() -> None:
    found = compress(lines(), k=3, j=1, n_init=6, neighbours=0)
    assert found.beats_svd
    gain = 1 - found.figures.relative_error / found.svd.relative_error
    assert gain > 0.9
    assert found.verdict.startswith(
        f"3 subspaces of dimension 1 lose {gain:.0%} less than one of rank 2: "
    )
    assert found.verdict.endswith("with no more parameters.")


@pytest.mark.parametrize("method", ["messi", "svd"])
def test_one_subspace_is_called_an_svd(method: str) -> None:
    found = compress(gaussian(40, 6), method=method, k=1, j=3)
    assert found.verdict == "One subspace: this is the truncated SVD of rank 3."
    assert found.figures.relative_error == pytest.approx(found.svd.relative_error, abs=ENERGY)
    assert not found.beats_svd


def test_svd_needs_no_k_and_refuses_another() -> None:
    assert compress(gaussian(40, 6), method="svd", j=2).figures.k == 1
    with pytest.raises(ParameterError, match="an SVD has one subspace, got k = 3"):
        compress(gaussian(40, 6), method="svd", k=3, j=2)


def test_k_is_five_when_left_out() -> None:
    assert compress(gaussian(40, 6), j=2, neighbours=0).figures.k == 5


@pytest.mark.parametrize(
    ("matrix", "plan"),
    [
        (gaussian(40, 6), {"k": 2, "j": 6}),
        (gaussian(40, 2) @ gaussian(2, 6), {"k": 2, "j": 2}),
        (torch.zeros(12, 4), {"k": 2, "j": 1}),
        (torch.ones(12, 4), {"k": 2, "j": 1}),
        (gaussian(1, 4), {"k": 1, "j": 1}),
        (gaussian(2, 4), {"k": 2, "j": 1}),
    ],
    ids=["whole width", "low rank", "zeros", "equal rows", "one row", "two rows"],
)
def test_exact_fits_are_no_victory(matrix: torch.Tensor, plan: dict[str, int]) -> None:
    found = compress(matrix, **plan)
    assert found.figures.relative_error == pytest.approx(0, abs=1e-10)
    assert not found.beats_svd
    if found.figures.k > 1:
        assert found.verdict.startswith("Nothing is lost here by either: a single subspace ")
    json.dumps(found.as_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("plan", "what"),
    [({"k": 3, "j": 6}, "lower j or k."), ({"k": 1, "j": 6}, "lower j."), ({"k": 2, "j": 3}, "")],
)
def test_a_result_larger_than_the_table_is_told(plan: dict[str, int], what: str) -> None:
    found = compress(gaussian(40, 6), **plan)
    stored = found.figures.stored_bytes
    said = f"The result is larger than the table, though: {stored:,} bytes against 960; {what}"
    assert (stored > 960) == bool(what)
    assert found.verdict.endswith(said) == bool(what)


@pytest.mark.parametrize(("fewer", "said"), [(0.001, False), (0.3, True)])
def test_fewer_neighbours_are_told_beyond_chance_alone(fewer: float, said: bool) -> None:
    found = compress(lines(), k=3, j=1, n_init=6, neighbours=4)
    assert found.beats_svd
    rival = found.svd.neighbours_kept
    assert rival is not None
    ours = replace(rival, mean=rival.mean - fewer)
    found = replace(found, figures=replace(found.figures, neighbours_kept=ours))
    assert ("keeps fewer neighbours" in found.verdict) == said


def test_neighbours_are_left_out_on_request_and_where_there_are_none() -> None:
    left_out = compress(gaussian(40, 6), k=2, j=2, neighbours=0)
    assert left_out.figures.neighbours_kept is None
    assert left_out.svd.neighbours_kept is None
    assert left_out.as_dict()["neighbours_kept"] is None
    assert compress(gaussian(1, 6), k=1, j=1).figures.neighbours_kept is None


def test_as_many_neighbours_are_compared_as_there_are() -> None:
    kept = compress(gaussian(4, 6), k=2, j=1, neighbours=10).figures.neighbours_kept
    assert kept is not None
    assert (kept.count, kept.queries, kept.mean) == (3, 4, 1.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"neighbours": -1}, "neighbours must be at least 0 .*, got -1 and 2000"),
        ({"queries": 0}, "queries at least 1, got 10 and 0"),
    ],
)
def test_measuring_nothing_is_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        CompressionConfig(j=2, **wrong)


def test_everything_but_the_tensors_is_json() -> None:
    found = compress(gaussian(60, 6), k=3, j=2, n_init=2)
    values = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert values["relative_error"] == found.figures.relative_error
    assert values["svd"]["dimensions"] == list(found.svd.dimensions)
    assert values["verdict"] == found.verdict
    starts = found.factorization.record.starts
    assert [start["seeding"] for start in values["starts"]] == [start.seeding for start in starts]
    assert [start["sampled"] for start in values["starts"]] == [False, False]
    assert values["neighbours_kept"]["count"] == 10
    assert (values["parameters_before"], values["dense_bytes"]) == (360, 1440)


@pytest.mark.parametrize(
    ("dtype", "width"), [("float16", 2), ("bfloat16", 2), ("float32", 4), ("float64", 8)]
)
def test_bytes_before_are_those_of_the_source(dtype: str, width: int) -> None:
    table = make_table(gaussian(20, 6), source_dtype=dtype)
    found = compress_table(table, CompressionConfig(k=2, j=2, n_init=1))
    assert (found.source_bytes, found.dense_bytes) == (120 * width, 480)


def test_given_labels_are_the_start() -> None:
    matrix = lines()
    labels = torch.arange(180) % 3
    config = CompressionConfig(k=3, j=1, n_init=0, neighbours=0)
    found = compress_table(make_table(matrix), config, labels=labels)
    assert [start.seeding for start in found.factorization.record.starts] == ["given"]


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """Let the rows of a table of 120 occur: 20 never, 20 rarely, 40 now and then, 40 often."""
    found = torch.tensor([0.0] * 20 + [0.5] * 20 + [50.0] * 40 + [5000.0] * 40).double()
    monkeypatch.setattr(
        row_use, "table_token_counts", lambda table, source: found[: len(table.tokens)]
    )
    return found


def weighted_share(rows: torch.Tensor, rebuilt: torch.Tensor, weights: torch.Tensor) -> float:
    lost = (rows - rebuilt).square().sum(dim=1)
    return float((weights * lost).sum() / (weights * rows.square().sum(dim=1)).sum())


def test_weights_bring_the_weighted_error_and_the_weighted_svd(counts: torch.Tensor) -> None:
    matrix = gaussian(120, 10)
    found = compress(matrix, k=3, rate=0.5, weights="en", weight_power=1.0, weight_floor=4.0)
    rows, weights = matrix.double(), counts + 4
    ours, plain, rival = found.figures, found.svd, found.weighted_svd
    assert rival is not None
    assert ours.weighted_error == pytest.approx(
        weighted_share(rows, found.factorization.reconstruct().double(), weights), abs=ENERGY
    )
    assert plain.weighted_error == pytest.approx(
        weighted_share(rows, truncated_svd(matrix, 5), weights), abs=ENERGY
    )
    # By the definition: the rows scaled by √w, decomposed, and scaled back.
    scale = weights.sqrt()[:, None]
    best = truncated_svd(rows * scale, 5) / scale
    assert rival.weighted_error == pytest.approx(weighted_share(rows, best, weights), abs=ENERGY)
    assert (rival.dimensions, rival.parameters) == (plain.dimensions, plain.parameters)
    assert rival.weighted_error <= plain.weighted_error
    assert plain.relative_error <= rival.relative_error
    assert rival.neighbours_kept is not None


def test_errors_are_told_by_how_often_tokens_occur(counts: torch.Tensor) -> None:
    matrix = gaussian(120, 10)
    found = compress(matrix, k=3, rate=0.5, weights="en", neighbours=0)
    for plan, rebuilt in (
        (found.figures, found.factorization.reconstruct()),
        (found.svd, truncated_svd(matrix, 5)),
    ):
        assert plan.bands is not None
        assert [(band.name, band.rows) for band in plan.bands] == [
            ("never", 20), ("rare", 20), ("medium", 40), ("frequent", 40),
        ]  # fmt: skip
        shares = [0, 10 / 202_010, 2_000 / 202_010, 200_000 / 202_010]
        assert [band.share_of_text for band in plan.bands] == pytest.approx(shares)
        lost = (matrix.double() - rebuilt).square().sum(dim=1) / matrix.double().square().sum(dim=1)
        expected = [float(part.mean()) for part in lost.split([20, 20, 40, 40])]
        assert [band.error for band in plan.bands] == pytest.approx(expected, abs=1e-5)


@pytest.mark.usefixtures("counts")
def test_verdict_compares_by_the_error_that_was_fitted() -> None:
    found = compress(lines()[:120], k=3, j=1, n_init=6, neighbours=0, weights="en")
    rival = found.weighted_svd
    assert rival is not None
    assert found.beats_svd
    ours, theirs = found.figures.weighted_error, rival.weighted_error
    assert ours is not None
    assert theirs is not None
    assert found.verdict == (
        f"3 subspaces of dimension 1 lose {1 - ours / theirs:.0%} less than one of rank 2 fitted "
        f"with the same weights: {ours:.2%} of the energy weighted by use against {theirs:.2%}, "
        "with no more parameters."
    )
    lost = compress(one_flat_shape(120), k=10, rate=0.2, neighbours=0, weights="en")
    assert not lost.beats_svd
    assert lost.verdict.startswith("The weighted SVD wins here: one subspace of rank ")
    one = compress(gaussian(40, 6), k=1, j=3, weights="en", neighbours=0)
    assert one.verdict == "One subspace: this is the weighted SVD of rank 3."


@pytest.mark.usefixtures("counts")
def test_a_win_by_weights_alone_is_said() -> None:
    matrix = gaussian(120, 10)
    along = gaussian(3, 10, seed=5)[torch.arange(40) % 3]
    matrix[80:] = gaussian(40, 1, seed=3) * along / 2  # what occurs often lies on three lines
    plan = {"k": 3, "j": 1, "n_init": 6, "neighbours": 0, "weight_power": 1.0, "weight_floor": 0.0}
    found = compress(matrix, weights="en", **plan)
    ours, svd = found.figures.relative_error, found.svd.relative_error
    assert found.beats_svd
    assert found.verdict.endswith(
        " With every row counted alike, the plain SVD is closer, though: "
        f"{svd:.2%} lost against {ours:.2%}."
    )


def test_without_weights_there_is_no_weighted_figure() -> None:
    found = compress(gaussian(40, 6), k=2, j=2, neighbours=0)
    assert found.weighted_svd is None
    assert (found.figures.weighted_error, found.figures.bands) == (None, None)
    values = found.as_dict()
    for name in ("weighted_svd", "weights", "weighted_error", "bands"):
        assert values[name] is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"weights": "xx"}, "expected a language or a text file, got 'xx'"),
        ({"weights": "en", "weight_power": -1.0}, "power must be 0 or more"),
        ({"weights": "en", "weight_floor": float("nan")}, "floor must be 0 or more"),
    ],
)
def test_weights_that_make_no_sense_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        compress(gaussian(20, 4), k=2, j=1, **wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"allocation": "fair"}, "allocation must be one of"),
        ({"loss": "soft"}, "soft"),
        ({"moves": -1}, "moves must not be negative"),
        ({"rate": 0.4}, "are both given, and each is a size"),
        ({"j": None}, "no size is given"),
        ({"j": None, "bits": 3}, "bits must be 8 or 4, got 3"),
    ],
)
def test_plans_that_make_no_sense_are_refused_without_a_table(
    wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        CompressionConfig(**{"k": 2, "j": 2, **wrong})


def test_dimensions_that_differ_are_told_as_a_range() -> None:
    found = compress(lines(), k=3, j=[1, 2, 1], neighbours=0)
    assert found.figures.dimensions == (1, 2, 1)
    assert "3 subspaces of dimensions 1 to 2 lose" in found.verdict
    assert found.svd.parameters >= found.figures.parameters


def test_best_dimensions_stay_within_the_rate() -> None:
    found = compress(lines(), k=3, rate=0.6, allocation="optimal", neighbours=0)
    assert found.figures.rate >= 0.6
    assert sum(found.figures.dimensions) > 0


def test_affine_offsets_are_counted_against_the_svd() -> None:
    found = compress(lines() + 5, k=3, j=1, affine=True, n_init=6, neighbours=0)
    assert found.figures.parameters == 180 + 3 * 8 + 3 * 8
    assert found.svd.parameters >= found.figures.parameters
    assert found.verdict.startswith("3 affine subspaces of dimension 1 lose ")


def test_one_affine_subspace_is_no_svd() -> None:
    found = compress(gaussian(60, 6) + 5, k=1, j=2, affine=True, neighbours=0)
    assert not found.beats_svd  # an SVD of one rank more holds the offset as well
    assert "one affine subspace of dimension 2 loses" in found.verdict
    assert found.verdict.endswith("The offset costs more than it saves.")


def test_another_loss_is_named_where_the_svd_wins() -> None:
    found = compress(one_flat_shape(), k=10, rate=0.2, loss="l1", neighbours=0)
    assert not found.beats_svd
    assert "The fit was after another loss (l1)" in found.verdict


def test_k_found_by_itself_is_noted() -> None:
    found = compress(lines(), k="auto", rate=0.6, neighbours=0)
    assert found.figures.k > 1
    assert found.notes[0].startswith(f"k = {found.figures.k} was chosen")
    assert found.as_dict()["notes"] == list(found.notes)


@pytest.mark.usefixtures("counts")
def test_weighted_figures_are_json() -> None:
    found = compress(gaussian(60, 6), k=3, j=2, weights="en")
    values = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert values["weights"] == {"source": "en", "power": 0.5, "floor": 16.0}
    assert values["weighted_svd"]["weighted_error"] == found.weighted_svd.weighted_error  # pyright: ignore[reportOptionalMemberAccess]
    assert values["bands"][0]["name"] == "never"


@pytest.mark.usefixtures("counts")
@pytest.mark.parametrize(
    "phase", ["Counting", "Fitting the weighted", "Neighbours in the weighted"]
)
def test_weighted_work_can_be_cancelled(phase: str) -> None:
    def cancel(progress: Progress) -> None:
        if progress.phase.startswith(phase):
            raise Cancelled(f"in {progress.phase}")

    config = CompressionConfig(k=2, j=2, n_init=1, weights="en")
    with pytest.raises(Cancelled, match=f"in {phase}"):
        compress_table(make_table(gaussian(60, 6)), config, progress=cancel)


@pytest.mark.parametrize("phase", ["Start", "Fitting the SVD", "Neighbours in the SVD"])
def test_it_can_be_cancelled_in_every_phase(phase: str) -> None:
    def cancel(progress: Progress) -> None:
        if progress.phase.startswith(phase):
            raise Cancelled(f"in {progress.phase}")

    with pytest.raises(Cancelled, match=f"in {phase}"):
        compress_table(
            make_table(gaussian(60, 6)), CompressionConfig(k=2, j=2, n_init=1), progress=cancel
        )


@pytest.mark.parametrize("seed", [0, 2**64])
def test_large_seeds_last_to_the_end(seed: int) -> None:
    one, same = (compress(gaussian(60, 6), k=2, j=2, queries=20, seed=seed) for _ in range(2))
    assert one.figures == same.figures


@pytest.mark.parametrize(("bits", "basis_bits"), [(8, 16), (4, 8)])
def test_a_verdict_on_fewer_bits_says_what_the_svd_has(bits: int, basis_bits: int) -> None:
    found = compress(lines(), k=3, j=1, n_init=6, neighbours=0, bits=bits, basis_bits=basis_bits)
    assert found.factorization.coding is not None
    assert found.beats_svd
    ours, svd = found.figures.stored_bytes, found.svd.stored_bytes
    assert ours == found.factorization.stored_bytes < svd
    assert found.svd.parameters >= found.figures.parameters
    assert found.verdict.endswith(
        f", with no more parameters. Coordinates are stored at {bits} bits and bases at "
        f"{basis_bits}, the SVD's numbers at 32: {ours:,} bytes against {svd:,}."
    )
    assert any(note.startswith(f"Coordinates are stored at {bits}") for note in found.notes)


def test_where_the_svd_wins_over_fewer_bits_rounding_is_named() -> None:
    found = compress(one_flat_shape(), k=10, rate=0.2, neighbours=0, bits=4)
    assert found.verdict.startswith("SVD wins here: one subspace of rank 17 loses ")
    assert "Part of that is lost by rounding. Coordinates are stored at 4 bits" in found.verdict
    assert "try a smaller k" not in found.verdict


def test_an_svd_of_fewer_bits_stands_beside_itself() -> None:
    found = compress(gaussian(40, 6), k=1, j=3, neighbours=0, bits=4)
    assert not found.beats_svd
    lost, before = found.figures.relative_error, found.svd.relative_error
    assert lost > before
    assert found.verdict.startswith(
        f"One subspace: this is the truncated SVD of rank 3, rounded: it loses {lost:.2%} of the "
        f"energy, {before:.2%} before. Coordinates are stored at 4 bits and bases at 16, "
    )


@pytest.mark.parametrize("wrong", [{"bits": 5}, {"bits": 4, "basis_bits": 4}, {"basis_bits": 8}])
def test_a_config_of_other_bits_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match="bits"):
        CompressionConfig(k=2, j=2, **wrong)
