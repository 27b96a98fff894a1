"""Results as runs: written, listed and opened again."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from engine.compression import CompressionConfig, compress_table
from engine.errors import Cancelled, FormatError
from engine.factorization import Factorization
from engine.frequencies import row_use
from engine.recording import (
    SWEEP_FILE,
    read_compression_figures,
    record_compression,
    record_sweep,
)
from engine.runs import RunStore
from engine.sweep import SweepConfig, SweepResult, run_sweep
from tests.engine.tables import gaussian, make_table

TABLE = make_table(gaussian(40, 6), source_dtype="float16")


def test_compression_comes_back_from_the_store(tmp_path: Path) -> None:
    config = CompressionConfig(k=3, rate=0.4, seeding={"norms": 1, "random": 1}, neighbours=4)
    compression = compress_table(TABLE, config)
    store = RunStore(tmp_path)
    made = store.create(*record_compression(TABLE, config, compression))
    run = store.load(made.id)
    record = run.record
    assert (record.kind, record.name) == ("compress", "tiny, k = 3, j = 2")
    assert record.source == {
        "spec": "tiny.npy",
        "name": "tiny",
        "fingerprint": TABLE.fingerprint,
        "rows": 40,
        "columns": 6,
        "dtype": "float16",
    }
    assert CompressionConfig(**record.config) == config
    assert record.figures["relative_error"] == compression.figures.relative_error
    assert record.figures["svd"]["parameters"] == compression.svd.parameters
    assert record.wall_seconds == compression.wall_seconds
    assert record.versions["torch"] == torch.__version__
    opened = Factorization.load(run.folder)
    assert torch.equal(opened.labels, compression.factorization.labels)
    assert torch.equal(opened.reconstruct(), compression.factorization.reconstruct())


def test_weighted_compression_comes_back_from_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = torch.arange(40).double()
    monkeypatch.setattr(row_use, "table_token_counts", lambda *_: counts)
    config = CompressionConfig(
        k=2, j=[3, 1], weights="en", weight_floor=2.0, affine=True, loss="tukey", moves=1
    )
    compression = compress_table(TABLE, config)
    store = RunStore(tmp_path)
    run = store.load(store.create(*record_compression(TABLE, config, compression)).id)
    assert run.record.name == "tiny, k = 2, j = 1 to 3, weighted"
    assert CompressionConfig(**run.record.config) == config
    figures = read_compression_figures(run.record.figures)
    assert figures == run.record.figures
    assert figures["weights"] == {"source": "en", "power": 0.5, "floor": 2.0}
    assert figures["weighted_error"] == compression.figures.weighted_error
    opened = Factorization.load(run.folder)
    assert opened.affine
    assert torch.equal(opened.reconstruct(), compression.factorization.reconstruct())


def test_a_run_of_fewer_bits_says_so_and_comes_back(tmp_path: Path) -> None:
    config = CompressionConfig(k=2, j=2, n_init=1, neighbours=0, bits=4, basis_bits=8)
    compression = compress_table(TABLE, config)
    store = RunStore(tmp_path)
    run = store.load(store.create(*record_compression(TABLE, config, compression)).id)
    assert run.record.name == "tiny, k = 2, j = 2, 4 bits"
    assert CompressionConfig(**run.record.config) == config
    opened = Factorization.load(run.folder)
    assert opened.stored_bytes == run.record.figures["stored_bytes"]
    assert torch.equal(opened.reconstruct(), compression.factorization.reconstruct())


def test_the_config_of_an_older_version_opens() -> None:
    config = CompressionConfig(k=2, j=2)
    old = {name: value for name, value in asdict(config).items() if "bits" not in name}
    assert CompressionConfig(**old) == config


def test_figures_of_an_older_version_are_completed() -> None:
    config = CompressionConfig(k=2, j=2, n_init=1)
    figures = json.loads(json.dumps(compress_table(TABLE, config).as_dict()))
    later = ("weighted_error", "bands", "weighted_svd", "weights")
    old = {name: value for name, value in figures.items() if name not in later}
    old["svd"] = {name: value for name, value in figures["svd"].items() if name not in later}
    before = json.dumps(old)
    assert read_compression_figures(old) == figures
    assert json.dumps(old) == before, "the record stays as it was written"


@pytest.mark.parametrize("name", ["relative_error", "svd", "verdict", "starts", "beats_svd"])
def test_figures_that_lack_one_are_refused(name: str) -> None:
    figures = compress_table(TABLE, CompressionConfig(k=2, j=2, n_init=1)).as_dict()
    del figures[name]
    with pytest.raises(FormatError, match=f"the run lacks {name}; it was not made by us"):
        read_compression_figures(figures)


def test_an_affine_plane_is_not_called_an_svd() -> None:
    config = CompressionConfig(k=1, j=2, affine=True, neighbours=0)
    record, _ = record_compression(TABLE, config, compress_table(TABLE, config))
    assert record.name == "tiny, k = 1, j = 2"


@pytest.mark.parametrize(("plan", "name", "k"), [
    ({"method": "svd", "j": 3}, "tiny, SVD, j = 3", 1),
    ({"k": 1, "j": 2}, "tiny, SVD, j = 2", 1),
    ({"j": 1}, "tiny, k = 5, j = 1", 5),
])  # fmt: skip
def test_run_is_named_by_its_plan_and_records_the_k_it_had(
    plan: dict[str, int], name: str, k: int
) -> None:
    config = CompressionConfig(**{"n_init": 1, "neighbours": 0, **plan})
    record, _ = record_compression(TABLE, config, compress_table(TABLE, config))
    assert (record.name, record.config["k"]) == (name, k)


def test_sweep_comes_back_from_the_store(tmp_path: Path) -> None:
    result = run_sweep(TABLE, SweepConfig(rates=(0.3, 0.9), ks=(2,), seeds=(0, 1)))
    store = RunStore(tmp_path)
    run = store.load(store.create(*record_sweep(TABLE, result)).id)
    assert (run.record.kind, run.record.name) == ("sweep", "tiny, 3 fits")
    cells = 3 * 3 + 4  # at three codings, and four ways to round a narrow table
    assert len(result.cells) == cells
    assert run.record.figures == {"cells": cells, "notes": list(result.notes)}
    assert len(result.notes) == 2
    assert run.record.config["rates"] == [0.3, 0.9]
    assert SweepResult.load(run.folder / SWEEP_FILE) == result


def test_a_write_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    result = run_sweep(TABLE, SweepConfig(rates=(0.3,), ks=(2,), seeds=(0,)))
    record, write = record_sweep(TABLE, result)

    def write_half(folder: Path) -> None:
        write(folder)
        raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        RunStore(tmp_path).create(record, write_half)
    assert list(tmp_path.iterdir()) == []
