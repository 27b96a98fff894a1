"""What `save_pretrained` writes of a smaller model, `from_pretrained` gives, or says why not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.errors import EngineError, FormatError
from engine.network.persistence import SubspaceConfig
from engine.network.replacement import replace_embedding
from tests.engine.network.models import (
    HEADS,
    ROWS,
    Bits,
    Model,
    assert_close,
    case_of,
    inputs_of,
    outputs_of,
)


def save_compressed(folder: Path, name: str, *, bits: Bits = None) -> Model:
    """A compressed model of a case, and its folder."""
    case = case_of(name)
    model = case.copy()
    replace_embedding(model, case.stored(bits))
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("bits", [8, 4, "coded"])
@pytest.mark.parametrize("name", HEADS)
def test_quantised_factors_are_saved_and_loaded(tmp_path: Path, name: str, bits: Bits) -> None:
    model = save_compressed(tmp_path, name, bits=bits)
    loaded = type(model).from_pretrained(tmp_path)
    assert torch.equal(outputs_of(loaded), outputs_of(model))


@pytest.mark.parametrize("name", HEADS)
def test_a_model_without_head_is_loaded_from_one_with(tmp_path: Path, name: str) -> None:
    model = save_compressed(tmp_path, name)
    loaded = tf.AutoModel.from_pretrained(tmp_path)
    assert type(loaded) is case_of(name).family.base
    with torch.no_grad():
        whole = model(**inputs_of(model), output_hidden_states=True)
    states = whole.get("decoder_hidden_states", whole.get("hidden_states"))
    assert torch.equal(outputs_of(loaded), states[-1])


@pytest.mark.parametrize("name", HEADS)
def test_a_model_with_head_is_loaded_from_one_without(tmp_path: Path, name: str) -> None:
    """A new head is made ready as transformers does it for a dense one, not left undefined."""
    model = save_compressed(tmp_path / "compressed", f"{name}, no head")
    model.dequantize()
    model.save_pretrained(tmp_path / "dense")
    kind = case_of(name).family.head
    found, expected = (
        seeded(lambda folder=folder: kind.from_pretrained(tmp_path / folder))
        for folder in ("compressed", "dense")
    )
    assert found.base_model.get_input_embeddings().shape.k == 4
    if case_of(name).family.tied:
        assert_close(outputs_of(found), outputs_of(expected))
    assert all(bool(number.isfinite().all()) for number in found.parameters())


def seeded(make: Callable[[], Model]) -> Model:
    """A model whose new parts are drawn from the same seed, on memory that is not all zero."""
    junk = [torch.full((size,), torch.nan) for size in (ROWS, ROWS, 32, 64)]
    del junk
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("bert", tf.BertForSequenceClassification),
        ("distilbert", tf.DistilBertForTokenClassification),
        ("deberta-v2", tf.DebertaV2ForSequenceClassification),
        ("t5", tf.T5EncoderModel),
        ("llama", tf.LlamaForSequenceClassification),
    ],
)
@pytest.mark.parametrize("part", ["", ", no head"])
def test_a_head_for_a_task_is_put_on(tmp_path: Path, name: str, kind: Model, part: str) -> None:
    model = save_compressed(tmp_path / "first", name + part)
    loaded = kind.from_pretrained(tmp_path / "first").eval()
    loaded.save_pretrained(tmp_path / "second")
    again = kind.from_pretrained(tmp_path / "second")
    ids = torch.arange(12).view(2, 6) + 3
    with torch.no_grad():
        assert torch.equal(loaded(ids)[0], again(ids)[0])
        own = loaded.get_input_embeddings()(ids)
        assert torch.equal(own, model.get_input_embeddings()(ids))


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("bits", [None, 4, "coded"])
def test_loading_in_another_dtype_is_moving_to_it(tmp_path: Path, name: str, bits: Bits) -> None:
    model = save_compressed(tmp_path, name, bits=bits)
    loaded = type(model).from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert {number.dtype for number in loaded.parameters()} == {torch.bfloat16}
    assert loaded.get_input_embeddings().dtype == torch.bfloat16
    moved = model.to(torch.bfloat16).state_dict()
    assert all(torch.equal(moved[name], part) for name, part in loaded.state_dict().items())
    ids = torch.arange(ROWS)
    assert torch.equal(loaded.get_input_embeddings()(ids), model.get_input_embeddings()(ids))
    for dtype, move in ((torch.float32, loaded.float), (torch.float16, loaded.half)):
        assert outputs_of(move()).dtype == dtype
    loaded.dequantize()  # its config.json still says another dtype
    assert {number.dtype for number in loaded.parameters()} == {torch.float16}


@pytest.mark.parametrize("name", HEADS)
def test_a_loaded_model_is_saved_again_and_made_dense(tmp_path: Path, name: str) -> None:
    model = save_compressed(tmp_path / "first", name)
    kind = type(model)
    loaded = kind.from_pretrained(tmp_path / "first")
    loaded.save_pretrained(tmp_path / "second")
    assert torch.equal(outputs_of(kind.from_pretrained(tmp_path / "second")), outputs_of(model))
    loaded.dequantize()
    assert_close(outputs_of(loaded), outputs_of(model))
    loaded.save_pretrained(tmp_path / "dense")
    settings = json.loads((tmp_path / "dense" / "config.json").read_text())
    assert "quantization_config" not in settings
    dense = kind.from_pretrained(tmp_path / "dense")
    assert torch.equal(outputs_of(dense), outputs_of(loaded))
    assert {key: part.shape for key, part in dense.state_dict().items()} == {
        key: part.shape for key, part in case_of(name).model.state_dict().items()
    }


@pytest.mark.parametrize("name", ["bert", "t5", "llama"])
def test_a_model_of_many_files(tmp_path: Path, name: str) -> None:
    case = case_of(name)
    model = case.copy()
    replace_embedding(model, case.lossy)
    model.save_pretrained(tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    assert torch.equal(outputs_of(type(model).from_pretrained(tmp_path)), outputs_of(model))


@pytest.mark.parametrize("bits", [None, 8, 4, "coded"])
@pytest.mark.parametrize("name", HEADS)
def test_the_file_is_smaller_by_what_is_counted(tmp_path: Path, name: str, bits: Bits) -> None:
    case = case_of(name)
    case.model.save_pretrained(tmp_path / "dense")
    save_compressed(tmp_path / "small", name, bits=bits)
    plan = case.stored(bits)
    before, after = (
        sum(part.nbytes for part in load_file(tmp_path / folder / "model.safetensors").values())
        for folder in ("dense", "small")
    )
    n, d = plan.shape
    assert before - after == n * d * 4 - plan.stored_bytes


def test_only_safe_files_are_written(tmp_path: Path) -> None:
    save_compressed(tmp_path, "llama")
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_config_json_says_what_is_there(tmp_path: Path) -> None:
    save_compressed(tmp_path, "bert", bits=4)
    plan = case_of("bert").lossy
    assert json.loads((tmp_path / "config.json").read_text())["quantization_config"] == {
        "quant_method": "subspace_atlas",
        "format_version": 1,
        "layer": {
            "rows": ROWS,
            "columns": 32,
            "sizes": list(plan.sizes),
            "dimensions": [16, 0, 10, 2],
            "affine": False,
            "coding": {"bits": 4, "basis_bits": 8},
        },
    }


def test_config_json_of_a_coded_plan_is_of_a_format_of_its_own(tmp_path: Path) -> None:
    """Older versions say that they are too old for it, and not that it is damaged."""
    save_compressed(tmp_path, "bert", bits="coded")
    plan = case_of("bert").stored("coded")
    settings = json.loads((tmp_path / "config.json").read_text())["quantization_config"]
    assert settings["format_version"] == 4
    assert plan.coding is not None
    assert settings["layer"]["coding"] == json.loads(json.dumps(asdict(plan.coding)))


# -- damaged folders -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of BERT with a tied head; copied before it is damaged."""
    folder = tmp_path_factory.mktemp("saved") / "bert"
    save_compressed(folder, "bert", bits=4)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved, tmp_path / "bert")


def change_settings(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "config.json"
    settings = json.loads(path.read_text())
    change(settings["quantization_config"])
    path.write_text(json.dumps(settings))


def change_tensors(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


PLACE = "bert.embeddings.word_embeddings"


@pytest.mark.parametrize("kind", [tf.AutoModel, tf.AutoModelForMaskedLM])
@pytest.mark.parametrize("name", ["weight", "bases", "steps", "basis_steps", "labels"])
def test_a_missing_tensor_is_refused(folder: Path, name: str, kind: Model) -> None:
    """transformers only warns of it, and leaves whatever was in that memory."""
    change_tensors(folder, lambda tensors: tensors.pop(f"{PLACE}.{name}"))
    with pytest.raises(FormatError, match=f"lacks {name}, .* the file is damaged"):
        kind.from_pretrained(folder)


@pytest.mark.parametrize("name", ["weight", "bases", "steps", "basis_steps", "labels"])
def test_a_tensor_of_another_size_is_refused(folder: Path, name: str) -> None:
    def shorten(tensors: dict[str, Tensor]) -> None:
        tensors[f"{PLACE}.{name}"] = tensors[f"{PLACE}.{name}"][:-1].clone()

    change_tensors(folder, shorten)
    with pytest.raises(RuntimeError, match="size"):
        tf.AutoModel.from_pretrained(folder)
    with pytest.raises(FormatError, match=f"lacks {name}, or has other sizes"):
        tf.AutoModel.from_pretrained(folder, ignore_mismatched_sizes=True)


def test_labels_of_another_layer_are_refused(folder: Path) -> None:
    def clear(tensors: dict[str, Tensor]) -> None:
        tensors[f"{PLACE}.labels"].zero_()

    change_tensors(folder, clear)
    with pytest.raises(FormatError, match=r"the labels put .* rows into the subspaces"):
        tf.AutoModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 5}, "written in format 5, .* reads up to 4; update"),
        ({"format_version": 2}, "of a development version .*; compress the model"),
        ({"format_version": 4}, "says format 4, and describes a layer of format 1"),
        ({"layer": None}, "a layer's sizes need exactly .* got None"),
        ({"layer": []}, r"a layer's sizes need exactly .* got \[\]"),
        ({"layer": {"rows": 97}}, "a layer's sizes need exactly"),
        ({"surprise": 1}, r"needs exactly .* 'surprise'\]; the file is damaged"),
    ],
)
def test_a_damaged_configuration_is_refused(
    folder: Path, change: dict[str, Any], message: str
) -> None:
    change_settings(folder, lambda settings: settings.update(change))
    with pytest.raises(FormatError, match=message):
        tf.AutoModel.from_pretrained(folder)


@pytest.mark.parametrize("key", ["layer", "format_version"])
def test_a_configuration_that_lacks_a_key_is_refused(folder: Path, key: str) -> None:
    change_settings(folder, lambda settings: settings.pop(key))
    with pytest.raises(FormatError, match=r"needs exactly .* the file is damaged"):
        tf.AutoModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": 96}, "cannot lie in subspaces"),
        ({"rows": "97"}, "cannot lie in subspaces"),
        ({"columns": 31}, r"an embedding \(97, 32\), and subspaces for \(97, 31\)"),
        ({"sizes": [97]}, "cannot lie in subspaces"),
        ({"sizes": 97}, "a layer's sizes cannot be read"),
        ({"sizes": [-1, 98, 0, 0]}, "cannot lie in subspaces"),
        ({"dimensions": [33, 0, 10, 2]}, "cannot lie in subspaces"),
        ({"dimensions": [1.5, 0, 10, 2]}, "cannot lie in subspaces"),
        ({"affine": True}, "lacks offsets"),
        ({"coding": 4}, "a layer's sizes cannot be read"),
        ({"coding": "row_bytes"}, "a coding must be a mapping, got 'row_bytes'"),
        ({"coding": ["row_bytes"]}, r"a coding must be a mapping, got \['row_bytes'\]"),
        ({"coding": {"bits": 5, "basis_bits": 16}}, "bits must be 8 or 4, got 5"),
        ({"coding": {"bytes": 5}}, "a layer's sizes cannot be read"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(
    folder: Path, change: dict[str, Any], message: str
) -> None:
    change_settings(folder, lambda settings: settings["layer"].update(change))
    with pytest.raises(FormatError, match=message):
        tf.AutoModel.from_pretrained(folder)


CODED_PARTS = ["weight", "bases", "steps", "basis_steps", "bits", "basis_bits", "labels"]


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a coded plan."""
    folder = tmp_path_factory.mktemp("saved") / "coded"
    save_compressed(folder, "bert", bits="coded")
    return folder


@pytest.mark.parametrize("name", CODED_PARTS)
def test_a_missing_tensor_of_a_coded_plan_is_refused(
    coded: Path, tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(coded, tmp_path / "bert")
    change_tensors(folder, lambda tensors: tensors.pop(f"{PLACE}.{name}"))
    with pytest.raises(FormatError, match=f"lacks {name}, .* the file is damaged"):
        tf.AutoModel.from_pretrained(folder)


@pytest.mark.parametrize("name", ["bits", "basis_bits"])
def test_bits_that_are_not_those_of_the_codes_are_refused(
    coded: Path, tmp_path: Path, name: str
) -> None:
    folder = shutil.copytree(coded, tmp_path / "bert")
    change_tensors(folder, lambda tensors: tensors[f"{PLACE}.{name}"].fill_(12))
    with pytest.raises(FormatError, match=r"bits of the columns make rows of .* damaged"):
        tf.AutoModel.from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"row_bytes": [3, 0, 1]}, "each subspace needs the bytes of a row"),
        ({"row_bytes": [99, 0, 3, 1]}, "cannot lie in subspaces"),
        ({"row_bytes": [1, 0, 1, 1]}, "cannot lie in subspaces"),
        ({"basis_row_bytes": [9, 1, 3, 1]}, "cannot lie in subspaces"),
        ({"basis_row_bytes": [-9, 0, 3, 1]}, "each subspace needs the bytes of a row"),
        ({"bits": [1, 2, 3]}, "each kind of number its least and most bits"),
        ({"bits": 3}, "a layer's sizes cannot be read"),
        ({"color": [3]}, "a layer's sizes cannot be read"),
    ],
)
def test_a_damaged_coding_is_refused(
    coded: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = shutil.copytree(coded, tmp_path / "bert")
    change_settings(folder, lambda settings: settings["layer"]["coding"].update(change))
    with pytest.raises(EngineError, match=message):
        tf.AutoModel.from_pretrained(folder)


def test_settings_make_the_trip_through_json() -> None:
    config = SubspaceConfig({"rows": 3}, 1)
    again, rest = SubspaceConfig.from_dict(config.to_dict(), return_unused_kwargs=True, other=1)
    assert (again.to_dict(), rest) == (config.to_dict(), {"other": 1})


# -- sentence-transformers -------------------------------------------------------------------------


def test_a_sentence_transformers_model(tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    model = library.SentenceTransformer(str(sentence_folder(tmp_path / "dense")), device="cpu")
    texts = ["a b", "c", "d d e a", ""]
    dense = model.encode(texts, convert_to_tensor=True)
    case = case_of("bert, no head")
    handle = replace_embedding(model, case.exact)
    assert_close(model.encode(texts, convert_to_tensor=True), dense)
    handle.undo()
    assert torch.equal(model.encode(texts, convert_to_tensor=True), dense)
    replace_embedding(model, case.lossy)
    expected = model.encode(texts, convert_to_tensor=True)
    assert float((expected - dense).abs().max()) > 1e-2
    model.save_pretrained(str(tmp_path / "small"))
    loaded = library.SentenceTransformer(str(tmp_path / "small"), device="cpu")
    assert torch.equal(loaded.encode(texts, convert_to_tensor=True), expected)


def sentence_folder(folder: Path) -> Path:
    """The BERT without a head, and a tokenizer whose words are letters."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcde"]
    vocabulary += [f"[unused{number}]" for number in range(ROWS - len(vocabulary))]
    tf.BertTokenizerFast(vocab={word: row for row, word in enumerate(vocabulary)}).save_pretrained(
        folder
    )
    case_of("bert, no head").copy().save_pretrained(folder)
    return folder
