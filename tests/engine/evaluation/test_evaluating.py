"""`evaluate` from a name to results: what is compared, what is refused, what is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import engine
from engine.errors import Cancelled, EngineError, ModelError, ParameterError, SourceError
from engine.evaluation.checks import CHECKS
from engine.evaluation.features import KEPT_FEATURES
from engine.evaluation.subject import CheckOptions
from engine.evaluation.variants import fit_variants, read_config
from engine.plans import CompressionConfig
from engine.sources import load_table
from tests.engine.evaluation.small import make_model, make_subject, make_texts, write_data
from tests.engine.tables import gaussian, write_npy

PLAN = {"k": 2, "j": 4, "n_init": 1}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is kept in the user's own folder, and no data are found by themselves."""
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SUBSPACE_ATLAS_DATA", raising=False)
    return tmp_path / "home"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A masked language model that is a sentence encoder as well."""
    return make_model(tmp_path / "model")


def test_without_a_plan_only_the_original_is_measured(model: Path) -> None:
    found = engine.evaluate(model, "valence")
    (result,) = found.results
    assert [score.role for score in result.scores] == ["original"]
    assert result.scores[0].value.value > 95, "the words were laid apart"
    assert found.as_dict()["variants"][0]["relative_error"] == 0


def test_a_plan_is_compared_with_the_svd_of_its_size(model: Path) -> None:
    found = engine.evaluate(model, ["valence", "valence"], **PLAN)
    (result,) = found.results
    original, ours, svd = result.scores
    assert [original.role, ours.role, svd.role] == ["original", "compressed", "svd"]
    assert [ours.variant, svd.variant] == ["k = 2", "SVD"]
    assert ours.parameters <= svd.parameters < ours.parameters + sum(load_table(model).matrix.shape)
    assert original.stored_bytes == 4 * original.parameters
    assert (original.behind, ours.behind) == (None, None)
    assert svd.behind is not None
    assert svd.behind.value == pytest.approx(ours.value.value - svd.value.value)
    assert svd.behind.low <= svd.behind.value <= svd.behind.high


def test_an_object_for_one_half_leaves_the_other_to_names(model: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("\n".join(make_texts(30)) + "\n", encoding="utf-8")
    config = CompressionConfig(k=2, j=4, n_init=1)
    named = engine.evaluate(model, "fidelity", config=config, text=text, data=None)
    assert named.results[0].settings["text"] == str(text)
    planned = engine.evaluate(model, "valence", options=CheckOptions(seed=3), **PLAN)
    assert planned.results[0].settings["seed"] == 3
    assert len(planned.results[0].scores) == 3


def test_a_check_that_fails_does_not_cost_the_others(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise SourceError("the text is gone")

    monkeypatch.setitem(CHECKS, "fidelity", replace(CHECKS["fidelity"], prepare=refuse))
    found = engine.evaluate(model, ["fidelity", "valence"], **PLAN)
    assert [result.check for result in found.results] == ["valence"]
    assert found.failures == {"fidelity": "the text is gone"}
    assert found.as_dict()["failures"] == found.failures
    with pytest.raises(SourceError, match="the text is gone"):
        engine.evaluate(model, "fidelity", **PLAN)

    def cancel(*_: object) -> None:
        raise Cancelled("enough")

    monkeypatch.setitem(CHECKS, "fidelity", replace(CHECKS["fidelity"], prepare=cancel))
    with pytest.raises(Cancelled, match="enough"):
        engine.evaluate(model, ["valence", "fidelity"], **PLAN)


@pytest.mark.parametrize(
    ("plan", "names"),
    [
        ({"k": 2, "j": 4, "bits": 8}, ["k = 2, 8 bits", "SVD, 8 bits"]),
        ({"method": "svd", "j": 4}, ["SVD"]),
        ({"method": "svd", "j": 4, "weights": "en"}, ["weighted SVD", "SVD"]),
        ({"k": 2, "j": 4, "weights": "en"}, ["k = 2", "SVD", "weighted SVD"]),
        ({"k": 1, "j": 4, "affine": True}, ["k = 1", "SVD"]),
    ],
)
def test_rivals_are_of_the_same_kind(
    plan: dict[str, object], names: list[str], model: Path
) -> None:
    config = CompressionConfig(n_init=1, **plan)  # type: ignore[arg-type]
    original, ours, *rivals = fit_variants(load_table(model), config)
    assert [ours.name, *(rival.name for rival in rivals)] == names
    for rival in rivals:
        assert rival.parameters >= ours.parameters
        assert rival.factorization is not None
        assert ours.factorization is not None
        assert rival.factorization.coding == ours.factorization.coding
    assert original.factorization is None


def test_a_compressed_folder_is_compared_with_its_original(model: Path, tmp_path: Path) -> None:
    smaller = engine.compress_model(model, output=tmp_path / "small", neighbours=0, **PLAN)
    checks = ["valence", "fidelity"]
    text = tmp_path / "text.txt"
    text.write_text("\n".join(make_texts(30)) + "\n")
    found = engine.evaluate(tmp_path / "small", checks, text=text)
    same = engine.evaluate(model, checks, text=text, neighbours=0, **PLAN)
    assert [variant["name"] for variant in found.variants] == ["original", "k = 2", "SVD"]
    assert found.variants[1]["stored_bytes"] == smaller.factorization.stored_bytes
    for one, other in zip(found.results, same.results, strict=True):
        values = [score.value.value for score in one.scores]
        # The same seed gives the same plan; what a folder holds and what is swapped in are the
        # same numbers, so that at most the order of sums differs.
        assert values == pytest.approx([score.value.value for score in other.scores], abs=1e-3)


def test_a_run_of_a_table_is_one_as_well(tmp_path: Path, model: Path) -> None:
    from engine.compression import compress_table
    from engine.recording import record_compression
    from engine.runs import write_run

    table, config = load_table(model), CompressionConfig(**PLAN, neighbours=0)  # type: ignore
    write_run(tmp_path / "run", *record_compression(table, config, compress_table(table, config)))
    found = engine.evaluate(tmp_path / "run", "valence")
    assert [variant["name"] for variant in found.variants] == ["original", "k = 2", "SVD"]


def test_compressed_folders_that_cannot_be_compared(tmp_path: Path, model: Path) -> None:
    small = tmp_path / "small"
    engine.compress_model(model, output=small, neighbours=0, **PLAN)
    with pytest.raises(ParameterError, match="compressed already; leave the plan out"):
        engine.evaluate(small, rate=0.4)
    (model / "model.safetensors").rename(tmp_path / "away")
    with pytest.raises(ParameterError, match=r"made from .*model, which cannot be read here"):
        engine.evaluate(small)
    other = make_model(tmp_path / "other")
    from safetensors.torch import load_file, save_file

    weights = load_file(other / "model.safetensors")
    weights["bert.embeddings.word_embeddings.weight"] += 1
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ParameterError, match=r"has changed since .* was made from it"):
        engine.evaluate(small)
    (small / "run.json").unlink()
    with pytest.raises(ParameterError, match=r"no run\.json, which says what it was made from"):
        engine.evaluate(small)


def test_plain_tables_have_their_rows_checked(tmp_path: Path, model: Path) -> None:
    table = load_table(model)
    (result,) = engine.evaluate(table, "valence", **PLAN).results
    assert len(result.scores) == 3
    with pytest.raises(ParameterError, match=r"fidelity cannot be run: .* without a model"):
        engine.evaluate(table, "fidelity")
    with pytest.raises(ParameterError, match="give a table of English words"):
        engine.evaluate(write_npy(tmp_path / "plain.npy", gaussian(40, 6)), "valence")


@pytest.mark.parametrize(
    ("checks", "settings", "message"),
    [
        ("xyz", {}, "the checks are valence, words, fidelity, .*, got xyz"),
        ([], {}, "got none"),
        ("valence", {"config": CompressionConfig(rate=0.5), "k": 2}, "settings were given twice"),
        ("valence", {"options": CheckOptions(), "text": "x"}, "settings were given twice"),
        ("valence", {"config": CompressionConfig(rate=0.5), "seed": 2}, "objects and as seed"),
        ("valence", {"kk": 2}, "a plan takes affine, .*, data, .*, got kk as well; leave that out"),
        ("valence", {"k": 2, "j": 99}, "j must be between 1 and 16"),
        ("fidelity", {"text": "none.txt"}, r"found none at none\.txt"),
    ],
)
def test_what_is_refused(
    checks: str | list[str], settings: dict[str, object], message: str, model: Path
) -> None:
    with pytest.raises(ParameterError, match=message):
        engine.evaluate(model, checks, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no line of text, and at least 20 are needed"),
        (b"happy\n", "holds 1 line of text, and at least 20 are needed"),
        (b"happy\nsad\n", "holds 2 lines of text, and at least 20 are needed"),
        (b"happy\0sad\n" * 30, "expected text, got zero bytes"),
    ],
)
def test_a_text_without_enough_lines_is_refused(
    content: bytes, message: str, model: Path, tmp_path: Path
) -> None:
    text = tmp_path / "short.txt"
    text.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        engine.evaluate(model, "fidelity", text=text)


def test_a_model_that_lost_its_head_is_told(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = make_model(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith("cls.")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="was loaded without its head"):
        engine.evaluate(folder, "language")


def test_features_are_computed_once(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.evaluation import features

    subject = make_subject(tmp_path)
    settings = {"data": subject.options.data, **PLAN}
    first = engine.evaluate(subject.table.spec, "probe", **settings)
    files = sorted((home / "features").iterdir())
    assert len(files) == 6, "two splits of three variants"

    def never(*_: object, **__: object) -> torch.Tensor:
        raise AssertionError("computed again")

    monkeypatch.setattr(features, "pooled_states", never)
    again = engine.evaluate(subject.table.spec, "probe", **settings)
    assert [s.value for s in again.results[0].scores] == [s.value for s in first.results[0].scores]
    files[0].write_bytes(b"damaged")
    with pytest.raises(AssertionError, match="computed again"):
        engine.evaluate(subject.table.spec, "probe", **settings)
    assert len(files) < KEPT_FEATURES


def test_word_sets_are_found_in_the_folder_and_beside_it(tmp_path: Path, model: Path) -> None:
    from engine.evaluation.checks.words import words_folder

    data = write_data(tmp_path / "data", load_table(model))
    for named in (data, data / "words", data / "stsb"):
        assert words_folder(named) == data / "words"
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="word sets are not"):
        words_folder(tmp_path / "empty")
    with pytest.raises(SourceError, match="word sets are not"):
        words_folder(None)


def test_configs_of_other_versions_are_named() -> None:
    with pytest.raises(EngineError, match="made with spin, which this version does not know"):
        read_config({"rate": 0.4, "spin": 1})


def test_left_to_itself_a_plain_table_gets_the_checks_that_it_can_have(tmp_path: Path) -> None:
    table = engine.load_table("bundled:minilm")
    rows = engine.EmbeddingTable(
        name="rows", spec="", tokens=table.tokens, matrix=table.matrix, source_dtype="float32"
    )
    found = engine.evaluate(rows)
    assert [result.check for result in found.results] == ["valence"]
