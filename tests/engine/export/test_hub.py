"""A model of the hub, out of its cache."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest
import torch

import engine
from engine.errors import SourceError
from tests.engine.export.conftest import PLAN, make_model
from tests.engine.export.test_compressing import load, outputs

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model in several files that was downloaded as ``org/tiny`` before."""
    place = tmp_path / "hub" / "models--org--tiny"
    folder = make_model(place / "snapshots" / COMMIT, "LlamaForCausalLM")
    (folder / "model.safetensors").unlink()
    again = make_model(tmp_path / "whole", "LlamaForCausalLM")
    load(again, "LlamaForCausalLM").save_pretrained(folder, max_shard_size="3KB")
    absent = place / ".no_exist" / COMMIT / "model.safetensors"  # as it is remembered
    absent.parent.mkdir(parents=True)
    absent.touch()
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return folder


def test_a_model_id_is_enough(cached: Path, tmp_path: Path) -> None:
    assert len(list(cached.glob("model-*.safetensors"))) > 1
    smaller = engine.compress_model("org/tiny", output=tmp_path / "out", **PLAN)
    assert smaller.notes == ()
    loaded = load(tmp_path / "out", "LlamaForCausalLM")
    assert torch.equal(outputs(loaded), outputs(smaller.model))
    assert (tmp_path / "out" / "tokenizer.json").is_file()
    card = (tmp_path / "out" / "README.md").read_text()
    assert "base_model: org/tiny\n" in card
    assert "[org/tiny](https://huggingface.co/org/tiny)" in card


@pytest.mark.usefixtures("cached")
def test_a_broken_line_is_no_missing_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "is_offline_mode", lambda: False)
    with pytest.raises(SourceError, match="the Hugging Face hub cannot be reached to download"):
        engine.compress_model("org/tiny", **PLAN)


def test_a_missing_shard_is_told_before_the_fit(cached: Path) -> None:
    sorted(cached.glob("model-*.safetensors"))[-1].unlink()
    with pytest.raises(SourceError, match="cannot be reached to download model-0000"):
        engine.compress_model("org/tiny", **PLAN)
