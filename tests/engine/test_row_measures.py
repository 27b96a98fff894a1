"""What is measured of every row: by its definitions, kept in parts, shipped in few bytes."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import engine
from engine import library, load_table, row_measures, trust
from engine.errors import Cancelled, EngineError, FormatError, ParameterError
from engine.factorization import Factorization
from engine.frequencies import table_token_counts
from engine.layout import pca_layout
from engine.library import (
    MEASURES_FOLDER,
    MeasuredPart,
    RowMeasures,
    find_measured_part,
    find_starter,
    keep_measured_part,
    keep_umap_layout,
)
from engine.measures import nearest_neighbours
from engine.paths import assets_folder
from engine.progress import Progress
from engine.row_measures import find_row_measures, measure_rows, ship_row_measures
from engine.table import EmbeddingTable
from engine.trust import false_neighbours, kept_neighbours, map_trust, neighbour_table
from tests.engine.tables import gaussian, make_table

TABLE = make_table(gaussian(60, 6))
PLAN = engine.factorize(TABLE.matrix, k=2, j=2, n_init=1)
WORDS = EmbeddingTable(
    name="words",
    spec="",
    tokens=["the", "of", "dog", "cat", "Xqzv", "house", "green", "run"],
    matrix=gaussian(8, 4),
)


@pytest.fixture(autouse=True)
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of assets; the user's folder is a temporary one, too."""
    folder = tmp_path / "assets"
    folder.mkdir()
    monkeypatch.setattr(library, "assets_folder", lambda: folder)
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path / "home"))
    return folder


def measured(
    table: EmbeddingTable, plan: Factorization | None = None, layout: str = "PCA"
) -> RowMeasures:
    measure_rows(table, "run-1" if plan else None, layout, read_plan=lambda: plan)
    found = find_row_measures(table.fingerprint, "run-1" if plan else None, layout)
    assert found is not None
    return found


def equal(one: Tensor | None, other: Tensor) -> bool:
    assert one is not None
    torch.testing.assert_close(one, other.float(), rtol=0, atol=1e-6)  # float32 shares
    return True


def test_they_are_what_the_parts_below_say() -> None:
    found = measured(TABLE, PLAN)
    neighbours, layout = neighbour_table(TABLE.matrix), pca_layout(TABLE.matrix)
    assert equal(found.kept, kept_neighbours(neighbours, PLAN))
    assert equal(found.false, false_neighbours(neighbours, layout))
    assert found.trust == map_trust(TABLE.matrix, layout)
    assert found.neighbours == 15
    # The tokens are numbered, so English cannot tell how often they occur.
    assert found.frequency is None
    assert len(found.notes) == 1
    assert found.notes[0].startswith("No frequencies: ")


def test_frequencies_are_those_of_english_to_a_hundredth() -> None:
    found = measured(WORDS).frequency
    assert found is not None
    torch.testing.assert_close(found.double(), table_token_counts(WORDS), rtol=0.01, atol=0)
    assert float(found[4]) == 0.0
    assert bool(torch.isfinite(found).all())


def test_without_a_plan_the_map_alone_is_measured() -> None:
    found = measured(TABLE)
    assert found.kept is None
    assert found.false is not None


def test_what_is_there_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    measured(TABLE, PLAN)
    keep_umap_layout(TABLE.fingerprint, gaussian(60, 2))
    for name in ("neighbour_table", "kept_neighbours", "table_token_counts"):
        monkeypatch.setattr(row_measures, name, None)
    found = measured(TABLE, PLAN, "UMAP")  # a new map, and nothing else
    expected = false_neighbours(neighbour_table(TABLE.matrix), gaussian(60, 2))
    assert equal(found.false, expected)
    assert find_row_measures(WORDS.fingerprint, "run-1", "UMAP") is None


def test_what_is_known_is_shown_whatever_else_is_missing() -> None:
    keep_umap_layout(TABLE.fingerprint, gaussian(60, 2))
    whole = measured(TABLE, PLAN)
    assert whole.missing == ()
    for run_id, layout, missing in (
        ("run-2", "PCA", ("plan",)),
        ("run-1", "UMAP", ("map",)),
        ("run-2", "UMAP", ("plan", "map")),
    ):
        found = find_row_measures(TABLE.fingerprint, run_id, layout)
        assert found is not None
        assert found.missing == missing
        assert (found.kept is None) is ("plan" in missing)
        assert (found.false is None) is (found.trust is None) is ("map" in missing)
        assert found.neighbours == (0 if len(missing) == 2 else 15)
        assert found.notes == whole.notes


def test_map_that_is_not_on_a_plane_is_left_out() -> None:
    keep_umap_layout(TABLE.fingerprint, gaussian(60, 3))
    found = measured(TABLE, PLAN, "UMAP")
    assert found.kept is not None
    assert (found.trust, found.false) == (None, None)
    assert found.missing == (), "measuring again would add nothing"
    assert "There is no UMAP map on a plane yet" in found.notes[-1]
    keep_umap_layout(TABLE.fingerprint, gaussian(60, 2))
    again = find_row_measures(TABLE.fingerprint, "run-1", "UMAP")
    assert again is not None
    assert again.missing == ("map",)
    assert measured(TABLE, PLAN, "UMAP").trust is not None


@pytest.mark.parametrize(
    ("part", "name", "values"),
    [
        ("table", "table", {}),
        ("plan", "plan-run-1", {"note": ""}),
        ("map", "map-PCA", {"note": "", "neighbours": 15, "trust": {"another": 1}}),
    ],
)
def test_parts_of_another_version_are_measured_again(
    part: str, name: str, values: dict[str, Any]
) -> None:
    whole = measured(TABLE, PLAN)
    odd = {"kept": torch.zeros(1)} if part == "plan" else {}
    keep_measured_part(TABLE.fingerprint, name, MeasuredPart(tensors=odd, values=values))
    found = find_row_measures(TABLE.fingerprint, "run-1", "PCA")
    assert found is not None
    assert found.missing == (part,)
    again = measured(TABLE, PLAN)
    assert again.missing == ()
    assert again.trust == whole.trust
    assert again.notes == whole.notes


def test_large_tables_get_what_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "MOST_ROWS", 59)
    monkeypatch.setattr(row_measures, "MOST_ROWS", 59)
    found = measured(TABLE, PLAN)
    assert (found.kept, found.false) == (None, None)
    assert found.trust is not None
    assert found.trust.queries == 60
    assert "Neighbours of every row are sought in tables of up to 59 rows only." in found.notes


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ParameterError, match="must be one of UMAP, PCA, got 'tsne'"):
        measure_rows(TABLE, None, "tsne", read_plan=lambda: None)
    with pytest.raises(ParameterError, match="at least 3 rows, tiny has 2"):
        measure_rows(make_table(gaussian(2, 3)), None, "PCA", read_plan=lambda: None)
    assert measured(make_table(gaussian(3, 3))).neighbours == 2


def test_a_cancel_is_heard_while_tokens_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    hold = threading.Event()

    def hold_up(table: EmbeddingTable, source: str) -> None:
        hold.wait(60)

    monkeypatch.setattr(row_measures, "table_token_counts", hold_up)
    began = time.perf_counter()

    def cancel(step: Progress) -> None:
        if step.phase == "Counting tokens in English" and time.perf_counter() - began > 0.2:
            raise Cancelled("enough")

    try:
        with pytest.raises(Cancelled, match="enough"):
            measure_rows(TABLE, None, "PCA", read_plan=lambda: None, progress=cancel)
    finally:
        hold.set()
    assert find_measured_part(TABLE.fingerprint, "table") is None


def test_damaged_parts_are_measured_again(tmp_path: Path) -> None:
    measured(TABLE, PLAN)
    for path in (tmp_path / "home" / "measures").rglob("map-*"):
        path.write_bytes(b"no tensors")
    found = find_row_measures(TABLE.fingerprint, "run-1", "PCA")
    assert found is not None
    assert found.missing == ("map",)
    assert measured(TABLE, PLAN).false is not None


def test_a_disk_that_refuses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path / "file"))
    with pytest.raises(EngineError, match=r"could not keep the measures in .*SUBSPACE_ATLAS_HOME"):
        measured(TABLE)


def test_shipped_parts_come_first_and_for_their_own_rows_only(assets: Path) -> None:
    folder = assets / "tiny" / MEASURES_FOLDER
    ship_row_measures(TABLE, PLAN, {"PCA": pca_layout(TABLE.matrix)}, folder)
    found = find_row_measures(TABLE.fingerprint, None, "PCA")
    assert found is not None
    assert equal(found.kept, kept_neighbours(neighbour_table(TABLE.matrix), PLAN))
    assert find_row_measures(WORDS.fingerprint, None, "PCA") is None
    (folder / "plan-shipped.safetensors").write_bytes(b"no tensors")
    with pytest.raises(FormatError, match=r"measures is damaged: .*; install again"):
        find_row_measures(TABLE.fingerprint, None, "PCA")


@pytest.mark.parametrize("layout", row_measures.LAYOUTS)
def test_what_ships_is_that_of_the_bundled_model(
    layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "assets_folder", assets_folder)
    table = load_table("bundled:minilm")
    starter = find_starter(table.fingerprint)
    found = find_row_measures(table.fingerprint, None, layout)
    assert starter is not None
    assert found is not None
    places = starter.layout if layout == "UMAP" else pca_layout(table.matrix)
    assert found.frequency is not None
    assert table.tokens[int(found.frequency.argmax())] in (".", "the", ",", "[CLS]", "[SEP]")
    for shares in (found.kept, found.false):
        assert shares is not None
        assert shares.shape == (30522,)
        assert 0 <= float(shares.min()) < float(shares.max()) <= 1
    # A few rows by the definition: their true nearest against all rows on the map.
    rows = torch.arange(0, 30522, 3000)
    true = nearest_neighbours(table.matrix, rows, count=15)
    distances = torch.cdist(places[rows].double(), places.double())
    distances[torch.arange(len(rows)), rows] = torch.inf
    drawn = distances.topk(15, largest=False).indices
    share = 1 - (drawn[:, :, None] == true[:, None, :]).any(dim=2).float().mean(dim=1)
    assert found.false is not None
    # another BLAS may put one of fifteen elsewhere where two are as far
    assert float((found.false[rows] - share).abs().max()) <= 1 / 15 + 1e-6
    again = map_trust(table.matrix, places, queries=100)  # of other rows: a tenth of the sample
    assert found.trust is not None
    assert found.trust.trustworthiness == pytest.approx(again.trustworthiness, abs=0.05)


def test_what_ships_of_rows_is_small() -> None:
    folder = assets_folder() / "minilm" / MEASURES_FOLDER
    sizes = [path.stat().st_size for path in folder.iterdir()]
    assert len(sizes) == 4
    assert sum(sizes) < 150_000
