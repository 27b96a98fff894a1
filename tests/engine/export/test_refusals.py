"""What `engine.compress_model` refuses before long work, and what it leaves when it is stopped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.errors import EngineError, ModelError, ParameterError, ShapeError, SourceError
from engine.export import compressing
from engine.plans import CompressionConfig
from engine.progress import Progress
from tests.engine.export.conftest import COLUMNS, PLAN, ROWS
from tests.engine.tables import gaussian, write_npy


def change_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def make_deberta(folder: Path) -> None:
    import transformers

    config = transformers.DebertaV2Config(
        vocab_size=ROWS,
        hidden_size=COLUMNS,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        legacy=False,
    )
    shutil.rmtree(folder)
    transformers.DebertaV2ForMaskedLM(config).save_pretrained(folder)


def pickle_a_module(folder: Path) -> None:
    modules = [{"idx": 0, "name": "0", "path": ""}, {"idx": 1, "name": "1", "path": "2_Dense"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "pytorch_model.bin").touch()


UNFIT: dict[str, tuple[Any, type[EngineError], str]] = {
    "unknown kind": (
        lambda folder: change_config(folder, model_type="novel"),
        ModelError,
        "cannot build a model from its config.json.*name of its array",
    ),
    "quantised": (
        lambda folder: change_config(folder, quantization_config={"quant_method": "gptq"}),
        ModelError,
        r"quantised already \(gptq\)",
    ),
    "other sizes": (
        lambda folder: change_config(folder, vocab_size=ROWS + 1),
        ShapeError,
        rf"shape \({ROWS}, {COLUMNS}\), and its config.json calls for \({ROWS + 1}, {COLUMNS}\)",
    ),
    "a head that reads the table": (
        make_deberta,
        ModelError,
        "multiplies with the embedding's dense",
    ),
    "a pickled module": (
        pickle_a_module,
        ModelError,
        "2_Dense has its weights only as pytorch_model",
    ),
    "a module elsewhere": (
        lambda folder: (folder / "modules.json").write_text('[{"path": "../../etc"}]'),
        SourceError,
        "should name folders beside it, got '../../etc'",
    ),
    "damaged modules": (
        lambda folder: (folder / "modules.json").write_text("[{}]"),
        SourceError,
        "should list modules with their “path”",
    ),
    "no weights": (
        lambda folder: (folder / "model.safetensors").unlink(),
        SourceError,
        "expected model.safetensors",
    ),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_is_unfit_is_refused_before_the_fit(
    name: str, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage, kind, message = UNFIT[name]
    damage(bert)
    monkeypatch.setattr(compressing, "compress_table", lambda *_, **__: pytest.fail("fitted"))
    with pytest.raises(kind, match=message):
        engine.compress_model(bert, output=tmp_path / "out", **PLAN)
    assert not (tmp_path / "out").exists()


def test_a_place_is_refused_before_the_fit(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compressing, "compress_table", lambda *_, **__: pytest.fail("fitted"))
    with pytest.raises(ParameterError, match="is not a run"):
        engine.compress_model(bert, output=bert, **PLAN)
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(EngineError, match="free some space"):
        engine.compress_model(bert, output=tmp_path / "a" / "b", **PLAN)


def test_a_plan_is_given_once(bert: Path) -> None:
    with pytest.raises(ParameterError, match=r"a plan takes .*, got kk as well; leave that out"):
        engine.compress_model("bundled:minilm", kk=5)
    with pytest.raises(ParameterError, match="given twice, as config and as k, rate"):
        engine.compress_model(bert, config=CompressionConfig(k=2, j=4), rate=0.4, k=2)
    with pytest.raises(ParameterError, match="no size is given; give j"):
        engine.compress_model(bert, k=2)


def test_a_table_is_no_model(tmp_path: Path) -> None:
    path = write_npy(tmp_path / "rows.npy", gaussian(40, 6))
    with pytest.raises(ModelError, match="is a table and no model"):
        engine.compress_model(path, **PLAN)


def test_a_compressed_model_is_no_table(bert: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    engine.compress_model(bert, output=out, **PLAN)
    message = "is a compressed model: its embedding.*subspace-atlas restore FOLDER -o OUT"
    with pytest.raises(SourceError, match=message):
        engine.load_table(out)
    with pytest.raises(SourceError, match=message):
        engine.compress_model(out, **PLAN)


@pytest.mark.parametrize("phase", ["Loading the model", "Timing the model", "Fitting the SVD"])
def test_a_cancelled_one_leaves_nothing(phase: str, bert: Path, tmp_path: Path) -> None:
    def stop(step: Progress) -> None:
        if step.phase.startswith(phase):
            raise engine.Cancelled

    (tmp_path / "place").mkdir()
    with pytest.raises(engine.Cancelled):
        engine.compress_model(bert, output=tmp_path / "place" / "out", progress=stop, **PLAN)
    assert list((tmp_path / "place").iterdir()) == []


def test_a_write_that_fails_leaves_nothing(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smaller = engine.compress_model(bert, **PLAN)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "place").mkdir()
    monkeypatch.setattr(shutil, "copyfile", refuse)
    with pytest.raises(EngineError, match="No space left"):
        smaller.save(tmp_path / "place" / "out")
    assert list((tmp_path / "place").iterdir()) == []


def test_an_unknown_head_is_left_out_aloud(bert: Path) -> None:
    change_config(bert, architectures=["BertForPoetry"])
    smaller = engine.compress_model(bert, **PLAN)
    assert type(smaller.model).__name__ == "BertModel"
    assert "no BertForPoetry" in smaller.notes[0]
