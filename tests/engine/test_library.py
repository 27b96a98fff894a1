"""What is there beforehand: shipped starters and kept layouts, found by content alone."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from engine import factorize, library, load_table
from engine.compression import CompressionConfig, compress_table
from engine.errors import EngineError, FormatError
from engine.frontier import BytePoint, SizeCurves
from engine.library import (
    ACCURACY_FILE,
    STARTER_FIGURES_FILE,
    STARTER_FILE,
    SWEEP_FILE,
    MeasuredPart,
    Starter,
    find_starter,
    find_umap_layout,
    forget_measured_plan,
    keep_measured_part,
    keep_umap_layout,
    save_accuracy,
    save_starter,
)
from engine.paths import assets_folder
from engine.sweep import SweepConfig, run_sweep
from tests.engine.tables import gaussian, make_table

TABLE = make_table(gaussian(40, 6))
OTHER = make_table(gaussian(40, 6, seed=1))
SHIPPED = assets_folder() / "minilm"
OF_TABLE = f'{{"source": "{TABLE.fingerprint}", %s}}'


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of assets; the user's folder is a temporary one, too."""
    folder = tmp_path / "assets"
    folder.mkdir()
    monkeypatch.setattr(library, "assets_folder", lambda: folder)
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path / "home"))
    return folder


@pytest.fixture(scope="module")
def starter() -> Starter:
    config = CompressionConfig(k=3, rate=0.4, n_init=1)
    compression = compress_table(TABLE, config)
    return Starter(
        labels=compression.factorization.labels,
        layout=gaussian(40, 2),
        config=asdict(config),
        figures=json.loads(json.dumps(compression.as_dict())),
        sweep=run_sweep(TABLE, SweepConfig(rates=(0.3,), ks=(2,), seeds=(0,))),
    )


def test_starter_is_found_for_its_own_rows_only(assets: Path, starter: Starter) -> None:
    assert find_starter(TABLE.fingerprint) is None
    save_starter(assets / "tiny", TABLE.fingerprint, starter)
    found = find_starter(TABLE.fingerprint)
    assert found is not None
    assert found.labels.dtype == torch.int64
    assert torch.equal(found.labels, starter.labels)
    assert found.layout.dtype == torch.float32
    torch.testing.assert_close(found.layout, starter.layout, rtol=1e-3, atol=1e-3)  # float16
    assert CompressionConfig(**found.config) == CompressionConfig(k=3, rate=0.4, n_init=1)  # pyright: ignore[reportArgumentType]
    assert (found.figures, found.sweep) == (starter.figures, starter.sweep)
    assert find_starter(OTHER.fingerprint) is None
    assert find_umap_layout(OTHER.fingerprint) is None


def test_measured_accuracy_comes_with_the_starter(assets: Path, starter: Starter) -> None:
    point = BytePoint(
        family="messi", line="k = 10", k=10, bits=4, rate=0.5, stored_bytes=900, value=85.5,
        lowest=85.4, highest=85.6,
    )  # fmt: skip
    accuracy = SizeCurves(
        measure="STS-B", points=(point,), dense_bytes=960, higher_is_better=True, whole=86.7
    )
    save_starter(assets / "tiny", TABLE.fingerprint, replace(starter, accuracy=accuracy))
    found = find_starter(TABLE.fingerprint)
    assert found is not None
    assert found.accuracy == accuracy
    save_accuracy(assets / "tiny", OTHER.fingerprint, accuracy)
    found = find_starter(TABLE.fingerprint)
    assert found is not None
    assert found.accuracy is None
    (assets / "tiny" / ACCURACY_FILE).unlink()
    found = find_starter(TABLE.fingerprint)
    assert found is not None
    assert found.accuracy is None


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (ACCURACY_FILE, "{"),
        (ACCURACY_FILE, "[]"),
        (ACCURACY_FILE, "{}"),
        (ACCURACY_FILE, OF_TABLE % '"points": []'),
        (ACCURACY_FILE, OF_TABLE % '"points": [{}], "measure": "", "dense_bytes": 1'),
        (STARTER_FIGURES_FILE, "{"),
        (STARTER_FIGURES_FILE, "[]"),
        (STARTER_FIGURES_FILE, "{}"),
        (STARTER_FILE, "no tensors"),
        (STARTER_FILE, None),
        (SWEEP_FILE, "{}"),
        (SWEEP_FILE, None),
    ],
)
def test_damaged_starter_is_reported(
    file: str, content: str | None, assets: Path, starter: Starter
) -> None:
    save_starter(assets / "tiny", TABLE.fingerprint, starter)
    path = assets / "tiny" / file
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    with pytest.raises(FormatError, match=r"tiny is damaged: .*; install again"):
        find_starter(TABLE.fingerprint)


def test_kept_layout_is_found_again_for_its_own_rows_only(assets: Path) -> None:
    layout = gaussian(40, 2)
    path = keep_umap_layout(TABLE.fingerprint, layout)
    found = find_umap_layout(TABLE.fingerprint)
    assert found is not None
    assert torch.equal(found, layout)
    assert find_umap_layout(OTHER.fingerprint) is None
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    keep_umap_layout(TABLE.fingerprint, layout.flip(0))
    again = find_umap_layout(TABLE.fingerprint)
    assert again is not None
    assert torch.equal(again, layout.flip(0))


def test_shipped_layout_comes_first(assets: Path, starter: Starter) -> None:
    save_starter(assets / "tiny", TABLE.fingerprint, starter)
    keep_umap_layout(TABLE.fingerprint, torch.zeros(40, 2))
    found = find_umap_layout(TABLE.fingerprint)
    assert found is not None
    torch.testing.assert_close(found, starter.layout, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\0" * 100])
def test_damaged_layout_is_made_again(content: bytes, assets: Path) -> None:
    keep_umap_layout(TABLE.fingerprint, gaussian(40, 2)).write_bytes(content)
    assert find_umap_layout(TABLE.fingerprint) is None


def test_a_disk_that_refuses_is_named(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path / "file"))
    with pytest.raises(EngineError, match=r"could not keep the layout in .*SUBSPACE_ATLAS_HOME"):
        keep_umap_layout(TABLE.fingerprint, gaussian(40, 2))


def test_what_ships_is_that_of_the_bundled_model() -> None:
    table = load_table("bundled:minilm")
    shipped = find_starter(table.fingerprint)
    assert shipped is not None
    config = CompressionConfig(**shipped.config)  # pyright: ignore[reportArgumentType]
    assert (config.k, config.rate) == (5, 0.4)
    assert shipped.layout.shape == (30522, 2)
    assert bool(torch.isfinite(shipped.layout).all())
    assert shipped.labels.shape == (30522,)
    assert shipped.labels.unique().tolist() == list(range(5))
    # As the app opens it: one step from the shipped labels finds their bases again.
    fit = factorize(table.matrix, k=5, rate=0.4, labels=shipped.labels, n_init=0, max_iterations=1)
    assert fit.relative_error(table.matrix) == pytest.approx(
        shipped.figures["relative_error"], abs=1e-4
    )
    assert fit.parameters == shipped.figures["parameters"]
    assert float((fit.labels == shipped.labels).double().mean()) >= 0.999
    assert shipped.sweep.source == table.fingerprint
    fits = {(cell.method, cell.k) for cell in shipped.sweep.cells}
    assert {k for method, k in fits if method == "messi"} == {2, 3, 5, 10}
    assert {k for method, k in fits if method == "coded"} == {1, 4}
    assert {cell.bits for cell in shipped.sweep.cells} == {0, 2, 3, 4, 8, 32}
    if shipped.accuracy is not None:
        assert shipped.accuracy.dense_bytes == 4 * 30522 * 384


def test_what_ships_is_small() -> None:
    sizes = {path.name: path.stat().st_size for path in SHIPPED.iterdir()}
    assert sizes[STARTER_FILE] < 300_000
    assert sum(sizes.values()) < 400_000


def test_only_what_was_kept_of_a_run_is_deleted_with_it(assets: Path) -> None:
    part = MeasuredPart(tensors={"kept": torch.ones(2)}, values={})
    gone, *stay = (
        keep_measured_part(table.fingerprint, name, part)
        for table, name in (
            (TABLE, "plan-a*"),
            (TABLE, "plan-ab"),
            (TABLE, "plan-shipped"),
            (OTHER, "table"),
        )
    )
    forget_measured_plan("a*")
    assert not gone.exists()
    assert all(path.exists() for path in stay)
    forget_measured_plan("never-there")
    assert not list(assets.iterdir())
