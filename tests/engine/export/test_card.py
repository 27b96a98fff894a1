"""The model card: what the hub reads off it, and the command on it that makes the model again."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import engine
from engine.cli.commands import compress
from engine.export.card import call_of, command_of
from engine.export.companions import find_origin
from engine.plans import CompressionConfig
from engine.sources import BUNDLED_MODELS, find_model
from engine.sources.files import FolderFiles
from tests.engine.export.conftest import PLAN

PLANS = st.fixed_dictionaries(
    {"j": st.one_of(st.integers(1, 9), st.lists(st.integers(1, 9), min_size=3, max_size=3))},
    optional={
        "method": st.just("messi"),
        "k": st.just(3),
        "affine": st.booleans(),
        "loss": st.sampled_from(["squared", "l1.5", "tukey:0.8"]),
        "weights": st.sampled_from(["en", "my text.txt"]),
        "weight_power": st.floats(0, 1),
        "weight_floor": st.floats(0, 100),
        "seed": st.integers(0, 99),
        "n_init": st.integers(1, 20),
        "seeding": st.sampled_from(["random", {"directions": 3, "random": 10}]),
        "moves": st.integers(0, 3),
        "bits": st.sampled_from([8, 4]),
        "basis_bits": st.sampled_from([16, 8]),
        "queries": st.integers(1, 9),
    },
).filter(lambda plan: "bits" in plan or plan.get("basis_bits", 16) == 16)


def config_of(command: str) -> CompressionConfig:
    """The plan that `subspace-atlas compress` makes of a command."""
    found: list[CompressionConfig] = []

    def catch(*_: object, **values: Any) -> None:  # noqa: ANN401
        found.append(CompressionConfig(**values))
        raise engine.Cancelled

    import_module("engine.export.compressing")  # or it would keep what is put in its place here
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.plans.CompressionConfig", catch)
        words = shlex.split(command)
        assert words[:2] == ["subspace-atlas", "compress"]
        ended = CliRunner().invoke(compress, [*words[2:-1], "a/new/place"])
        assert isinstance(ended.exception, engine.Cancelled), ended.output
    return found[0]


@settings(deadline=None, max_examples=60)
@given(plan=PLANS, name=st.sampled_from(["bundled:minilm", "org/name", "my models/it's"]))
def test_the_command_on_the_card_asks_for_the_same(plan: dict[str, Any], name: str) -> None:
    config = CompressionConfig(**plan)
    kept = {item: getattr(config, item) for item in CompressionConfig.__dataclass_fields__}
    command = command_of(name, kept)
    assert shlex.split(command)[2] == name
    asked = config_of(command)
    # `queries` is measured with and changes no model; a command has no option for it
    assert replace(asked, queries=config.queries) == config

    caught: list[dict[str, Any]] = []

    class Double:
        @staticmethod
        def compress_model(spec: str, *, output: str, **plan: Any) -> None:  # noqa: ANN401
            caught.append({"spec": spec, **plan})

    exec(call_of(name, kept), {"engine": Double})
    assert caught[0].pop("spec") == name
    assert CompressionConfig(**caught[0]) == config


def test_the_card_does_not_tell_where_a_text_lay() -> None:
    plan = {"k": 3, "j": 1, "weights": "/home/somebody/my text.txt"}
    assert "--weights 'my text.txt'" in command_of("org/name", plan)
    assert "somebody" not in command_of("org/name", plan) + call_of("org/name", plan)


def test_the_card_says_what_the_hub_reads(bert: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    smaller = engine.compress_model(bert, output=out, **PLAN)
    card = (out / "README.md").read_text()
    head = re.match(r"---\n(.*?)---\n", card, re.DOTALL)
    assert head is not None
    assert head[1].splitlines() == [
        "library_name: transformers",
        "license: mit",
        "pipeline_tag: fill-mask",
        "tags:",
        "- subspace-atlas",
    ]
    for said in (
        "BertForMaskedLM.from_pretrained",
        f"| … of the embedding | {48 * 16:,} | {smaller.factorization.parameters:,} |",
        f"{smaller.cost.relative_error:.4f}",
        smaller.record.figures["verdict"],
        "3 nearest neighbours",
        smaller.record.created[:10],
    ):
        assert said in card


def test_the_card_makes_the_model_again(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = {**PLAN, "seed": 3, "affine": True, "bits": 8}
    engine.compress_model("bert", output="out", **plan)
    card = Path("out/README.md").read_text()
    weights = Path("out/model.safetensors").read_bytes()
    command, call = (
        re.search(pattern, card, re.MULTILINE)[1]  # pyright: ignore[reportOptionalSubscript]
        for pattern in (r"^\$ subspace-atlas compress (.*)$", r"^(engine\.compress_model.*)$")
    )
    ended = CliRunner().invoke(compress, shlex.split(command))
    assert ended.exit_code == 0, ended.output
    assert Path("OUT/model.safetensors").read_bytes() == weights
    exec(call.replace('"OUT"', '"again"'), {"engine": engine})
    assert Path("again/model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        ("---\nlicense: mit\n---\n", {"license": "mit"}),
        ("---\nlicense: mit\n", {}),  # no end
        ("license: mit\n", {}),
        ("---\nlicense:\n- mit\n---\n", {}),
        ("---\nlicense: >\n  mit\n---\n", {}),
        ("---\nlicense: other\nlicense_name: x\nlanguage: en\n---\n", None),
    ],
)
def test_the_licence_comes_along(head: str, kept: dict[str, str] | None, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(head)
    found = find_origin(FolderFiles(tmp_path, name="x"), "x").card
    assert found == ({"license": "other", "license_name": "x"} if kept is None else kept)


def test_the_bundled_model_says_where_it_is_on_the_hub() -> None:
    files = find_model("bundled:minilm")
    assert files is not None
    origin = find_origin(files, "bundled:minilm")
    assert origin.hub_id == BUNDLED_MODELS["minilm"].hub_id
    assert origin.library == "sentence-transformers"
    assert origin.card["license"] == "apache-2.0"
    assert "1_Pooling/config.json" in origin.companions


def test_a_restored_card_says_so(bert: Path, tmp_path: Path) -> None:
    from engine.export.restoring import restore_model

    engine.compress_model(bert, output=tmp_path / "small", **PLAN)
    made = (tmp_path / "small" / "README.md").read_text()
    assert "MESSI" in made
    assert "compression rate of" in made
    card = (restore_model(tmp_path / "small", tmp_path / "dense") / "README.md").read_text()
    assert "license: mit" in card
    assert "the approximations" in card
    assert "subspace-atlas restore small -o OUT" in card
    assert str(tmp_path) not in made + card  # where it lies on a disk is nobody else's business
