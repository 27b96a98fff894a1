"""Compressed models as zip files: found again, whole or not there, and never more than a few."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import asdict
from pathlib import Path

import pytest

from engine import EmbeddingTable, RunStore, load_table
from engine.compression import CompressionConfig, compress_table
from engine.errors import Cancelled, EngineError, ModelError, ParameterError
from engine.export import keeping
from engine.export.keeping import KEPT_MODELS, find_kept_model, keep_model
from engine.export.models import is_compressed
from engine.library import Starter
from engine.progress import Progress
from engine.recording import record_compression
from engine.runs import read_run
from engine.sweep import SweepConfig, run_sweep
from tests.engine.export.conftest import PLAN
from tests.engine.tables import gaussian, write_npy


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder."""
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def table(home: Path, bert: Path) -> EmbeddingTable:
    return load_table(bert)


def keep_run(table: EmbeddingTable, **changes: object) -> str:
    config = CompressionConfig(**{**PLAN, **changes})
    record, write = record_compression(table, config, compress_table(table, config))
    return RunStore().create(record, write).id


def left(home: Path) -> list[str]:
    """What lies in the folder of models, hidden or not."""
    folder = home / "models"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_kept_model_is_a_whole_model_folder(table: EmbeddingTable, tmp_path: Path) -> None:
    run_id = keep_run(table, bits=8)
    assert find_kept_model(table, run_id) is None
    kept = keep_model(table, run_id)
    assert find_kept_model(table, run_id) == kept
    assert (kept.path.name, kept.loader) == ("bert-k2-8bit.zip", "BertForMaskedLM.from_pretrained")
    with zipfile.ZipFile(kept.path) as packed:
        packed.extractall(tmp_path / "unpacked")
    (folder,) = (tmp_path / "unpacked").iterdir()
    assert folder.name == kept.path.stem
    assert is_compressed(folder)
    assert read_run(folder).record.figures["model"]["after"] == asdict(kept.cost.after)
    assert (folder / "LICENSE").read_text() == "MIT"


def test_sentence_models_say_how_they_are_loaded(home: Path, sentence_model: Path) -> None:
    table = load_table(sentence_model)
    assert keep_model(table, keep_run(table)).loader == "SentenceTransformer"


def test_plan_that_ships_is_put_into_the_model(
    table: EmbeddingTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CompressionConfig(k=2, rate=0.4, n_init=1)
    compression = compress_table(table, config)
    shipped = Starter(
        labels=compression.factorization.labels,
        layout=gaussian(len(table.tokens), 2),
        config=asdict(config),
        figures=json.loads(json.dumps(compression.as_dict())),
        sweep=run_sweep(table, SweepConfig(rates=(0.3,), ks=(2,), seeds=(0,))),
    )
    found = {table.fingerprint: shipped}
    monkeypatch.setattr(keeping, "find_starter", found.get)
    kept = keep_model(table, None)
    assert kept.cost.after.embedding_parameters == compression.figures.parameters
    # Labels have settled, so that one refit loses as little.
    assert kept.cost.relative_error == pytest.approx(compression.figures.relative_error, rel=1e-4)
    found.clear()
    assert find_kept_model(table, None) == kept
    with pytest.raises(ParameterError, match="no plan ships for bert; compress it first"):
        keep_model(load_table(table.spec + "/."), None)


@pytest.mark.parametrize(
    "phase", ["Loading the model", "Timing the model", "Writing the model", "Packing"]
)
def test_cancelled_work_leaves_nothing(table: EmbeddingTable, home: Path, phase: str) -> None:
    run_id = keep_run(table)

    def cancel(progress: Progress) -> None:
        if progress.phase == phase:
            raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        keep_model(table, run_id, progress=cancel)
    assert left(home) == []
    assert find_kept_model(table, run_id) is None


def test_oldest_models_make_room(table: EmbeddingTable, home: Path) -> None:
    runs = [keep_run(table, seed=seed) for seed in range(KEPT_MODELS + 1)]
    for place, run_id in enumerate(runs):
        folder = keep_model(table, run_id).path.parent
        os.utime(folder, (place, place))  # the clock of a fast disk may not tell them apart
    assert len(left(home)) == KEPT_MODELS
    assert [find_kept_model(table, run_id) is None for run_id in runs] == [
        True,
        *(False for _ in range(KEPT_MODELS)),
    ]


def test_damaged_file_is_made_again(table: EmbeddingTable) -> None:
    run_id = keep_run(table)
    kept = keep_model(table, run_id)
    for spoiled, content in ((kept.path, b"no zip"), (kept.path.with_name("run.json"), b"{")):
        spoiled.write_bytes(content)
        assert find_kept_model(table, run_id) is None
        keep_model(table, run_id)
        assert find_kept_model(table, run_id) is not None


def test_model_that_changed_beside_its_embedding_is_made_again(
    table: EmbeddingTable, bert: Path
) -> None:
    run_id = keep_run(table)
    keep_model(table, run_id)
    (bert / "LICENSE").write_text("Apache-2.0")
    assert find_kept_model(table, run_id) is None


def test_plans_of_other_rows_are_refused(table: EmbeddingTable, tmp_path: Path) -> None:
    plain = load_table(write_npy(tmp_path / "plain.npy", gaussian(40, 6)))
    with pytest.raises(ParameterError, match="not of the input embedding that bert has now"):
        keep_model(table, keep_run(plain))
    with pytest.raises(ModelError, match="plain is a table and no model"):
        keep_model(plain, keep_run(plain))
    with pytest.raises(ParameterError, match="there is no run 'gone'"):
        keep_model(table, "gone")


def test_full_disk_leaves_nothing(
    table: EmbeddingTable, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = keep_run(table)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keeping, "zip_folder", refuse)
    with pytest.raises(EngineError, match="No space left on device; free some space"):
        keep_model(table, run_id)
    assert left(home) == []
