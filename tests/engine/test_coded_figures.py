"""A coded plan is judged, written down and shown by its bytes, not by how many numbers it has."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.budget import SvdSize, svd_beside
from engine.compression import Compression, CompressionConfig, compress_table
from engine.errors import FormatError, ShapeError
from engine.factorization import Factorization
from engine.figures import PlanFigures, compare_plans
from engine.recording import check_artefacts, read_compression_figures, record_compression
from engine.report.headline import headline_figures
from engine.runs import RunStore
from tests.engine.coded_plans import RECORD, coded_plan
from tests.engine.tables import make_table

PLAN = coded_plan(90, 12, (6, 0, 3, 12), seed=1)
TABLE = make_table(PLAN.reconstruct() + 0.01)


@pytest.fixture
def compression(monkeypatch: pytest.MonkeyPatch) -> Compression:
    """Of a table that the plan is close to."""
    monkeypatch.setattr("engine.compression.fit_plan", lambda *_, **__: PLAN)
    return compress_table(TABLE, CompressionConfig(k=4, j=3, neighbours=4))


def test_its_numbers_are_not_counted_and_its_bytes_are() -> None:
    assert PLAN.coded
    assert (PLAN.parameters, PLAN.rate) == (None, None)
    stored = [part for parts in (PLAN.coordinates, PLAN.bases) for part in parts]
    assert PLAN.stored_bytes == PLAN.label_bytes + sum(part.stored_bytes for part in stored)
    assert repr(PLAN) == (
        f"<Factorization of 90 × 12: k = 4, j = 0 to 12, {PLAN.stored_bytes} bytes>"
    )


def test_rows_and_blocks_are_those_of_the_definition() -> None:
    plan = coded_plan(40, 7, (5, 0, 7, 1), affine=True)
    rows = torch.empty(40, 7)
    for c in range(plan.k):
        block, basis = plan.coordinates[c].decode(), plan.bases[c].decode()  # type: ignore[union-attr]
        rows[plan.labels == c] = block @ basis + plan.offsets[c].float()  # type: ignore[index]
    # Sums of at most seven products in another order.
    torch.testing.assert_close(plan.reconstruct(), rows)
    torch.testing.assert_close(torch.cat([part for _, part in plan.blocks(7)]), rows)
    some = torch.tensor([31, 2, 2, 17])
    torch.testing.assert_close(plan.reconstruct(some), rows[some])
    assert plan.relative_error(rows) < 1e-10
    assert plan.dtype == torch.float32


def test_the_svd_beside_it_takes_as_many_bytes(compression: Compression) -> None:
    ours, svd = compression.figures, compression.svd
    size = SvdSize.of(*svd.dimensions, bits=svd.bits)
    assert size == svd_beside(90, 12, None, ours.stored_bytes)
    assert svd.stored_bytes >= ours.stored_bytes
    assert compression.beats_svd
    assert "with no more bytes" in compression.verdict
    assert "stored at 1 to 5 bits and bases at 1 to 8, the SVD's" in compression.verdict


def test_one_coded_subspace_is_not_called_the_svd_it_is_beside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = coded_plan(90, 12, (9,), seed=1)
    monkeypatch.setattr("engine.compression.fit_plan", lambda *_, **__: plan)
    table = make_table(plan.reconstruct())
    found = compress_table(table, CompressionConfig(k=1, j=9, neighbours=0))
    assert found.beats_svd
    assert found.verdict.startswith("One subspace of dimension 9 loses over 99% less than one of")


def test_where_nothing_is_lost_fewer_bytes_are_the_advice() -> None:
    figures = PlanFigures(
        k=2,
        dimensions=(3, 3),
        bits=None,
        parameters=None,
        stored_bytes=400,
        rate=None,
        relative_error=0.0,
        weighted_error=None,
        bands=None,
        neighbours_kept=None,
    )
    svd = replace(figures, k=1, dimensions=(3,), parameters=100, rate=0.5)
    assert "Try fewer bytes." in compare_plans(figures, svd, affine=False, loss="squared")
    plain = replace(figures, parameters=100, rate=0.5)
    assert "Try a higher rate." in compare_plans(plain, svd, affine=False, loss="squared")


def test_a_run_of_it_is_kept_and_checked(compression: Compression, tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    record, write = record_compression(TABLE, compression.config, compression)
    run = store.load(store.create(record, write).id)
    assert run.record.name.endswith(f", coded to {PLAN.stored_bytes} bytes")
    figures = read_compression_figures(run.record.figures)
    assert (figures["parameters"], figures["rate"]) == (None, None)
    check_artefacts(run.folder, run.record)
    assert torch.equal(Factorization.load(run.folder).reconstruct(), PLAN.reconstruct())


@pytest.mark.parametrize("changed", [{"rate": 0.4}, {"parameters": 3}])
def test_figures_count_both_or_neither(compression: Compression, changed: dict[str, Any]) -> None:
    figures = json.loads(json.dumps(compression.as_dict()))
    read_compression_figures(figures)
    with pytest.raises(FormatError, match="rate must be there where parameters are"):
        read_compression_figures(figures | changed)
    figures["svd"]["parameters"] = None
    with pytest.raises(FormatError, match=r"svd\.parameters must be a whole number"):
        read_compression_figures(figures)


def test_headline_leads_with_its_share_of_the_bytes(compression: Compression) -> None:
    figures = headline_figures(compression.as_dict(), PLAN.coding)
    assert [figure.label for figure in figures] == ["Bytes stored", "Error", "Neighbours kept"]
    share = PLAN.stored_bytes / TABLE.dense_bytes
    assert figures[0].beside == f"{share:.1%} of {TABLE.dense_bytes / 1e3:.1f} kB"
    assert figures[0].meaning.endswith("; 1 to 5 bits a coordinate, 1 to 8 a number of a basis.")
    assert "stores at least as many bytes" in figures[1].meaning


def changed_parts(**changes: object) -> dict[str, Any]:
    names = ("labels", "bases", "coordinates", "record", "offsets")
    return {name: getattr(PLAN, name) for name in names} | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bases": PLAN.coordinates}, r"bases: columns of their own bits, with steps in torch\.fl"),
        ({"coordinates": PLAN.bases}, r"coordinates: columns of their own bits, turned, with"),
        (
            {"bases": tuple(basis.decode() for basis in PLAN.bases)},  # type: ignore[union-attr]
            r"or all MixedMatrix, the bases turned; got bases: torch\.float32",
        ),
        (
            {"coordinates": (torch.ones(23, 6), *PLAN.coordinates[1:])},
            r"coordinates: columns of their own bits, .*, torch\.float32 of 2 dim",
        ),
        ({"offsets": (torch.zeros(12),) * 4}, r"need 4 offsets of shape \(12,\) in torch\.float16"),
        ({"bases": PLAN.bases[::-1]}, "subspace 0: .* rows need coordinates"),
    ],
)
def test_parts_of_other_plans_are_refused(changes: dict[str, object], message: str) -> None:
    assert changed_parts()["record"] is RECORD
    Factorization(**changed_parts())
    with pytest.raises(ShapeError, match=message):
        Factorization(**changed_parts(**changes))
