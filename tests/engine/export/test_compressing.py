"""`engine.compress_model` from end to end: the folder it writes, and what it says of it."""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import nn

import engine
from engine.errors import Cancelled, ModelError, ParameterError
from engine.network.embedding import SubspaceEmbedding
from engine.progress import Progress
from engine.runs import read_run
from tests.engine.export.conftest import COLUMNS, PLAN, ROWS, make_model

IDS = torch.arange(2, 14).view(2, 6)


def outputs(model: Any) -> torch.Tensor:  # noqa: ANN401
    """Logits, or the last states of a model without a head."""
    inputs = {"input_ids": IDS}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = IDS
    with torch.inference_mode():
        return model(**inputs)[0]


def load(folder: Path, family: str) -> Any:  # noqa: ANN401
    import transformers

    return getattr(transformers, family).from_pretrained(folder)


def bytes_in_file(folder: Path, ending: str = "") -> int:
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        return sum(file.get_tensor(name).nbytes for name in file.keys() if re.search(ending, name))


def embedding_keys(model: nn.Module) -> str:
    """A pattern of the embedding's keys in a file."""
    (path,) = (
        path for path, module in model.named_modules() if isinstance(module, SubspaceEmbedding)
    )
    return f"^{re.escape(path)}\\."


@pytest.mark.parametrize("bits", [None, 8, 4])
def test_the_folder_holds_what_was_measured(family: str, bits: int | None, tmp_path: Path) -> None:
    source = make_model(tmp_path / "source", family)
    smaller = engine.compress_model(source, output=tmp_path / "out", bits=bits, **PLAN)
    loaded = load(tmp_path / "out", family)
    assert type(loaded).__name__ == type(smaller.model).__name__ == family
    assert torch.equal(outputs(loaded), outputs(smaller.model))

    before, after = smaller.cost.before, smaller.cost.after
    assert before.file_bytes == bytes_in_file(source)
    assert after.file_bytes == bytes_in_file(tmp_path / "out")
    assert after.embedding_file_bytes == bytes_in_file(tmp_path / "out", embedding_keys(loaded))
    assert before.embedding_file_bytes == ROWS * COLUMNS * 4
    saved = before.embedding_file_bytes - after.embedding_file_bytes
    assert saved == before.file_bytes - after.file_bytes

    factorization = smaller.factorization
    assert after.embedding_file_bytes == factorization.stored_bytes
    original: Any = load(source, family)
    assert before.parameters == original.num_parameters()
    assert after.parameters == before.parameters - ROWS * COLUMNS + factorization.parameters
    assert after.embedding_parameters == factorization.parameters
    for model, size in ((original, before), (loaded, after)):
        tensors = {id(t): t.nbytes for t in (*model.parameters(), *model.buffers())}
        assert size.memory_bytes == sum(tensors.values())

    matrix = original.get_input_embeddings().weight.detach()
    # float32 sums in another order
    assert smaller.cost.relative_error == pytest.approx(
        factorization.relative_error(matrix), rel=1e-5
    )


def test_nothing_but_the_embedding_changes(family: str, tmp_path: Path) -> None:
    source = make_model(tmp_path / "source", family)
    engine.compress_model(source, output=tmp_path / "out", **PLAN)
    original, smaller = load(source, family), load(tmp_path / "out", family)
    others = set(original.state_dict()) & set(smaller.state_dict())
    for name in others:
        before, after = original.state_dict()[name], smaller.state_dict()[name]
        assert before.shape != after.shape or torch.equal(before, after)
    assert not torch.equal(outputs(original), outputs(smaller))  # or there is nothing to see

    exact = engine.compress_model(source, k=1, j=COLUMNS, method="svd", neighbours=0)
    # a full basis gives the rows back up to rounding
    torch.testing.assert_close(outputs(exact.model), outputs(original), atol=1e-5, rtol=1e-4)


def test_what_lies_beside_the_weights_comes_along(bert: Path, tmp_path: Path) -> None:
    import transformers

    for name in ("pytorch_model.bin", "training_args.bin", "modeling_bert.py", "notes.txt"):
        (bert / name).write_text("not ours")
    out = tmp_path / "out"
    engine.compress_model(bert, output=out, **PLAN)
    for name in ("tokenizer.json", "tokenizer_config.json", "LICENSE"):
        assert (out / name).read_bytes() == (bert / name).read_bytes()
    assert {path.suffix for path in out.iterdir()} <= {".json", ".safetensors", ".md", ""}
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)
    assert tokenizer("word3 word4")["input_ids"] == [3, 4]


def test_a_sentence_model_stays_one(sentence_model: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    out = tmp_path / "out"
    engine.compress_model(sentence_model, output=out, **PLAN)
    texts = ["word3 word9", "word4"]
    before = SentenceTransformer(str(sentence_model), device="cpu")
    loaded = SentenceTransformer(str(out), device="cpu")
    assert loaded.encode(texts).shape == (2, 5)
    assert torch.equal(loaded[2].linear.weight, before[2].linear.weight)

    in_memory = engine.compress_model(before, output=tmp_path / "memory", **PLAN)
    assert in_memory.model is before
    assert (before.encode(texts) == loaded.encode(texts)).all()
    again = SentenceTransformer(str(tmp_path / "memory"), device="cpu")
    assert (again.encode(texts) == loaded.encode(texts)).all()
    for folder in (out, tmp_path / "memory"):
        card = (folder / "README.md").read_text()
        assert "library_name: sentence-transformers" in card
        assert 'SentenceTransformer("FOLDER")' in card


def test_a_model_in_memory_is_changed_in_place(bert: Path, tmp_path: Path) -> None:
    model = load(bert, "BertForMaskedLM").train()
    before = outputs(model.eval())
    model.train()
    smaller = engine.compress_model(model, output=tmp_path / "out", **PLAN)
    assert smaller.model is model
    assert model.training
    named = engine.compress_model(bert, **PLAN)
    assert torch.equal(outputs(named.model), outputs(model.eval()))
    assert not torch.equal(outputs(model), before)
    assert torch.equal(outputs(load(tmp_path / "out", "BertForMaskedLM")), outputs(model))
    assert named.cost.before.parameters == smaller.cost.before.parameters
    assert read_run(tmp_path / "out").record.source["spec"] == ""
    assert "was in memory" in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(ModelError, match="kept as subspaces already"):
        engine.compress_model(model, **PLAN)


def test_the_dense_weight_is_let_go(bert: Path) -> None:
    import gc
    import weakref

    model = load(bert, "BertForMaskedLM")
    weight = weakref.ref(model.get_input_embeddings().weight)
    smaller = engine.compress_model(model, **PLAN)
    gc.collect()
    assert weight() is None
    smaller.model.dequantize()
    assert model.get_input_embeddings().weight.shape == (ROWS, COLUMNS)


def test_a_model_keeps_its_dtype(tmp_path: Path) -> None:
    source = make_model(tmp_path / "half", "LlamaForCausalLM", dtype=torch.bfloat16)
    smaller = engine.compress_model(source, output=tmp_path / "out", **PLAN)
    loaded = load(tmp_path / "out", "LlamaForCausalLM")
    assert loaded.dtype == torch.bfloat16
    assert smaller.cost.dtype == "bfloat16"
    assert torch.equal(outputs(loaded), outputs(smaller.model))
    assert smaller.cost.after.embedding_file_bytes == bytes_in_file(
        tmp_path / "out", embedding_keys(loaded)
    )
    matrix = engine.load_table(source).matrix
    layer = loaded.get_input_embeddings()
    lost = (layer.to_dense().float() - matrix).square().sum() / matrix.square().sum()
    assert smaller.cost.relative_error == pytest.approx(float(lost), rel=1e-4)  # summed in float32


def test_the_record_has_the_figures(bert: Path, tmp_path: Path) -> None:
    smaller = engine.compress_model(bert, output=tmp_path / "out", **PLAN)
    record = read_run(tmp_path / "out").record
    assert record == replace(smaller.record, config=record.config, figures=record.figures)
    assert record.kind == "compress"
    told = record.figures["model"]
    assert told["after"]["file_bytes"] == bytes_in_file(tmp_path / "out")
    assert told["times"]["batch"] == 8
    assert told["times"]["length"] == 18  # of 20 positions
    assert told["before"]["forward_seconds"] > 0
    assert told["notes"] == []
    assert record.figures["relative_error"] == smaller.factorization.relative_error(
        engine.load_table(bert).matrix
    )


def test_what_cannot_be_timed_is_said(tmp_path: Path) -> None:
    source = make_model(tmp_path / "source", "BertForMaskedLM")
    model = load(source, "BertForMaskedLM")

    def demand(*_: object, **__: object) -> None:
        raise ValueError("You have to specify pixel_values")

    model.forward = demand
    smaller = engine.compress_model(model, **PLAN)
    assert smaller.cost.times is None
    assert smaller.cost.after.forward_seconds is None
    assert "not timed: the model needs more than token ids (You have to" in smaller.notes[0]


def change_weights(folder: Path, change: Any) -> None:  # noqa: ANN401
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, {"format": "pt"})


def test_weights_that_have_no_place_are_told(bert: Path, tmp_path: Path) -> None:
    change_weights(bert, lambda tensors: {**tensors, "extra.weight": torch.ones(2)})
    smaller = engine.compress_model(bert, output=tmp_path / "out", **PLAN)
    (unexpected,) = smaller.notes
    assert "bert also holds extra.weight, which its class has no place for" in unexpected
    assert f"- {unexpected}\n" in (tmp_path / "out" / "README.md").read_text()


def test_a_model_that_lacks_weights_is_refused(bert: Path, tmp_path: Path) -> None:
    def drop(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {key: value for key, value in tensors.items() if not key.endswith("dense.bias")}

    change_weights(bert, drop)
    with pytest.raises(ModelError, match=r"bert lacks .*dense\.bias.* random numbers"):
        engine.compress_model(bert, output=tmp_path / "out", **PLAN)
    assert not (tmp_path / "out").exists()


def test_a_head_without_its_pooler_is_refused(tmp_path: Path) -> None:
    source = make_model(tmp_path / "source", "BertForSequenceClassification")
    change_weights(
        source,
        lambda tensors: {key: value for key, value in tensors.items() if "pooler" not in key},
    )
    with pytest.raises(ModelError, match=r"lacks bert\.pooler\.dense.*random numbers"):
        engine.compress_model(source, **PLAN)


def test_an_old_file_that_was_moved_in_is_not_lost(bert: Path, tmp_path: Path) -> None:
    out, mine = tmp_path / "out", tmp_path / "mine.txt"
    mine.write_text("of years")
    os.utime(mine, (1e9, 1e9))
    engine.compress_model(bert, output=out, **PLAN)
    time.sleep(2.5)  # past what counts as one writing
    mine.rename(out / "mine.txt")
    with pytest.raises(ParameterError, match=r"mine\.txt came into it"):
        engine.compress_model(bert, output=out, **PLAN)
    assert (out / "mine.txt").read_text() == "of years"


def test_a_head_that_is_named_but_not_there_is_left_out(bert: Path, tmp_path: Path) -> None:
    def behead(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {key: value for key, value in tensors.items() if not key.startswith("cls.")}

    change_weights(bert, behead)
    smaller = engine.compress_model(bert, output=tmp_path / "out", **PLAN)
    assert type(smaller.model).__name__ == "BertModel"
    assert any("lacks the head that its config.json names" in note for note in smaller.notes)


def test_a_model_in_memory_is_as_it_was_when_it_is_cancelled(bert: Path) -> None:
    import transformers

    model = transformers.AutoModelForMaskedLM.from_pretrained(bert)
    table = model.get_input_embeddings()
    weight = table.weight

    def stop(step: Progress) -> None:
        if step.phase == "Timing the model":
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        engine.compress_model(model, progress=stop, **PLAN)
    assert model.get_input_embeddings() is table
    assert table.weight is weight
    assert model.cls.predictions.decoder.weight is weight


def test_a_folder_that_was_worked_in_is_not_replaced(bert: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    engine.compress_model(bert, output=out, **PLAN)
    mine = out / "checkpoint-1" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("of days")  # at once: a script may copy something beside a model
    with pytest.raises(ParameterError, match=r"mine\.txt came into it or was changed since"):
        engine.compress_model(bert, output=out, **PLAN)
    assert mine.read_text() == "of days"


def test_a_compressed_model_is_replaced_and_nothing_else(bert: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    engine.compress_model(bert, output=out, **PLAN)
    again = engine.compress_model(bert, output=out, **{**PLAN, "j": 3})
    assert read_run(out).record == replace(
        again.record, config=read_run(out).record.config, figures=read_run(out).record.figures
    )
    assert load(out, "BertForMaskedLM").get_input_embeddings().shape.dimensions == (3, 3)
    (out / "run.json").unlink()
    with pytest.raises(ParameterError, match="holds files and is not a run"):
        again.save(out)


def test_transformers_is_left_as_talkative_as_it_was(
    bert: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub.utils import are_progress_bars_disabled
    from transformers.utils import logging

    logging.enable_progress_bar()
    level = logging.get_verbosity()
    capfd.readouterr()
    try:
        engine.compress_model(bert, **PLAN)
        assert capfd.readouterr() == ("", "")
        assert logging.is_progress_bar_enabled()
        assert not are_progress_bars_disabled()
        assert logging.get_verbosity() == level
    finally:
        logging.disable_progress_bar()
