"""`compress -o` on a model, `info` and `restore` on what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import engine
from engine.factorization import Factorization
from engine.runs import RunStore, read_run
from tests.engine.cli.conftest import Shell
from tests.engine.export.conftest import make_model
from tests.engine.export.test_compressing import load

PLAN = ("-k", 2, "-j", 4, "--starts", 1)


@pytest.fixture
def model(home: Path) -> Path:
    """A masked language model in the working directory."""
    return make_model(Path("bert"), "BertForMaskedLM")


def test_compress_writes_a_model(shell: Shell, model: Path, home: Path) -> None:
    found = shell("compress", model, *PLAN, "-o", "out")
    assert (found.code, found.err) == (0, "")
    loaded = load(Path("out"), "BertForMaskedLM")
    layer = loaded.get_input_embeddings()
    assert layer.shape.dimensions == (4, 4)
    figures = read_run(Path("out")).record.figures["model"]
    for shown in (
        "bert: 48 × 16",
        "2 subspaces of dimension 4",
        "The whole model",
        f"{figures['before']['file_bytes']:,}",
        f"{figures['after']['file_bytes']:,}",
        "forward, 8 × 18 tokens, 1 thread, ms",
        "Model: out",
    ):
        assert shown in found.out
    assert not home.exists()
    again = shell("compress", model, *PLAN, "-o", "out")
    assert again.err == "Note: replaced the compressed model that was in out.\n"
    Path("out/notes.txt").write_text("mine", encoding="utf-8")
    found = shell("compress", model, *PLAN, "-o", "out")
    assert (found.code, Path("out/notes.txt").is_file()) == (2, True)
    assert "notes.txt came into it" in found.err


def test_compress_prints_json_of_a_model(shell: Shell, model: Path) -> None:
    found = shell("compress", model, *PLAN, "--bits", 8, "-o", "out", "--json")
    assert (found.code, found.err) == (0, "")
    values = json.loads(found.out)
    assert values["run"] == "out"
    assert {"run": "out", "source": "bert", **read_run(Path("out")).record.figures} == values
    assert values["model"]["after"]["embedding_file_bytes"] == values["stored_bytes"]


@pytest.mark.parametrize(
    "how", [(), ("--tensor", "bert.embeddings.word_embeddings.weight", "-o", "out")]
)
def test_a_factorization_is_still_to_be_had(
    how: tuple[str, ...], shell: Shell, model: Path
) -> None:
    found = shell("compress", model, *PLAN, *how)
    assert (found.code, found.err) == (0, "")
    folder = Path("out") if how else RunStore().list().runs[0].folder
    assert Factorization.load(folder).dimensions == (4, 4)
    assert f"Run: {folder}" in found.out
    assert "The whole model" not in found.out
    assert "a factorization" in shell("info", folder).out


def test_a_table_in_a_folder_with_a_config_is_no_model(shell: Shell, model: Path) -> None:
    from safetensors.torch import save_file

    Path("static").mkdir()
    Path("static/config.json").write_text('{"kind": "static"}')
    matrix = engine.load_table(model).matrix.clone()
    save_file({"embeddings": matrix}, "static/model.safetensors")
    found = shell("compress", "static", *PLAN, "-o", "out")
    assert (found.code, found.err) == (0, "")
    assert Factorization.load(Path("out")).shape == (48, 16)


def test_info_of_a_compressed_model(shell: Shell, model: Path) -> None:
    shell("compress", model, *PLAN, "-o", "out")
    found = shell("info", "out")
    assert (found.code, found.err) == (0, "")
    for shown in ("bert, k = 2, j = 4", "a compressed model", "model: file bytes"):
        assert shown in found.out
    values = json.loads(shell("info", "out", "--json").out)
    assert values["holds"] == "a compressed model"
    assert values["figures"] == read_run(Path("out")).record.figures

    Path("out/run.json").unlink()  # as `save_pretrained` leaves a folder
    found = shell("info", "out")
    assert (found.code, found.err) == (0, "")
    assert "compressed model in out" in found.out
    values = json.loads(shell("info", "out", "--json").out)
    assert values["compressed_model"] == "out"
    assert (values["rows"], values["k"], values["dimensions"]) == (48, 2, [4, 4])
    assert values["architecture"] == "BertForMaskedLM"


def test_restore_makes_it_dense(shell: Shell, model: Path) -> None:
    shell("compress", model, *PLAN, "-o", "out")
    found = shell("restore", "out", "-o", "dense")
    assert (found.code, found.out, found.err) == (0, "Model: dense\n", "")
    assert load(Path("dense"), "BertForMaskedLM").get_input_embeddings().weight.shape == (48, 16)
    assert json.loads(shell("restore", "out", "-o", "more", "--json").out) == {"model": "more"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("restore", "bert", "-o", "dense"), "bert holds no compressed model"),
        (("restore", "none", "-o", "dense"), "expected a model folder, found none at none"),
        (("restore", "out", "-o", "bert"), "would be lost"),
        (("restore", "out"), "Missing option '-o'"),
        (("compress", "out", *PLAN), "out is a compressed model"),
        (("compress", "bert", *PLAN, "-o", "bert"), "is not a run"),
    ],
)
def test_what_is_refused(
    arguments: tuple[str, ...], message: str, shell: Shell, model: Path
) -> None:
    shell("compress", model, *PLAN, "-o", "out")
    found = shell(*arguments)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith("error: ")
    assert found.err.count("\n") == 1
    assert message in found.err
