"""Models on the hub, with the download itself replaced: files land in a cache folder."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import errors as hub_errors

from engine.errors import SourceError
from engine.sources import load_table

from .conftest import LLAMA, SaveModel

# the HTTP library of the installed huggingface_hub: it has changed twice
http = importlib.import_module(hub_errors.HfHubHTTPError.__bases__[0].__module__.split(".")[0])
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """Serves one folder as a repository and records what is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.downloaded: list[tuple[str, str | None]] = []

    def download(self, repo_id: str, file_name: str, *, revision: str | None = None) -> str:
        self.downloaded.append((file_name, revision))
        path = self.folder / file_name
        if not path.exists():
            raise hub_errors.RemoteEntryNotFoundError("404", response=answer(404))
        return str(path)


def answer(status: int) -> Any:  # noqa: ANN401 - of the library above
    return http.Response(status, request=http.Request("GET", "https://huggingface.co/x"))


@pytest.fixture
def fake_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    hub = FakeHub(tmp_path / "snapshots" / COMMIT)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a, **k: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub.download)
    return hub


def test_a_model_id_downloads_only_what_is_needed(fake_hub: FakeHub, save_model: SaveModel) -> None:
    folder, expected = save_model(
        fake_hub.folder, "LlamaForCausalLM", "LlamaConfig", LLAMA, max_shard_size="3KB"
    )
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    shard = index["weight_map"]["model.embed_tokens.weight"]

    table = load_table("org/tiny-llama")

    assert torch.equal(table.matrix, expected)
    assert table.name == table.spec == "org/tiny-llama"
    names = [name for name, _ in fake_hub.downloaded]
    assert {name for name in names if name.startswith("model-")} == {shard}
    # everything after config.json is pinned to the commit that config.json came from
    assert {revision for _, revision in fake_hub.downloaded[1:]} == {COMMIT}


def test_what_is_cached_needs_no_download(
    tiny_bert: tuple[Path, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, expected = tiny_bert

    def cached(repo_id: str, file_name: str, *, revision: str | None = None) -> object:
        path = folder / file_name
        return str(path) if path.exists() else object()  # the mark for "known not to exist"

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", None)  # calling it fails

    assert torch.equal(load_table("org/tiny").matrix, expected)


FAILURES = [
    (
        hub_errors.GatedRepoError("403", response=answer(403)),
        r"^org/name is gated: accept its terms on huggingface.co, then log in",
    ),
    (
        hub_errors.RepositoryNotFoundError("404", response=answer(404)),
        r"no such model on the Hugging Face hub; check the spelling",
    ),
    (
        hub_errors.LocalEntryNotFoundError("offline"),
        r"hub cannot be reached to download config.json; check the connection",
    ),
    (
        hub_errors.RemoteEntryNotFoundError("404", response=answer(404)),
        r"has no config.json, so it is no model",
    ),
    (
        hub_errors.HfHubHTTPError("500 Server Error\nRequest ID: 7", response=answer(500)),
        r"could not be downloaded from the Hugging Face hub \(500 Server Error\); try again",
    ),
    (http.ConnectError("connection reset"), r"could not be downloaded .*connection reset"),
    (hub_errors.OfflineModeIsEnabled("offline mode"), r"could not be downloaded .*offline mode"),
    (OSError(28, "No space left on device"), r"could not be downloaded .*No space left"),
]


@pytest.mark.parametrize(("error", "message"), FAILURES, ids=lambda v: type(v).__name__)
def test_each_failure_of_the_hub_is_one_clear_sentence(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def fail(*args: object, **kwargs: object) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a, **k: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)

    with pytest.raises(SourceError, match=message) as caught:
        load_table("org/name")
    assert "\n" not in str(caught.value)


def test_offline_with_the_real_library() -> None:
    """The suite runs with HF_HUB_OFFLINE=1, so this is the real way without a network."""
    with pytest.raises(SourceError, match=r"surely-not/a-model: no file or folder .* HF_HUB_OFFL"):
        load_table("surely-not/a-model")


@pytest.mark.parametrize("spec", ["a/b/c", "what is this?", "", "-bad", "org/na--me"])
def test_what_is_no_model_id(spec: str) -> None:
    with pytest.raises(SourceError, match=r"is no file, no folder and no Hugging Face id"):
        load_table(spec)


@pytest.mark.network
def test_a_real_model_from_the_hub() -> None:
    table = load_table("prajjwal1/bert-tiny")
    assert table.matrix.shape == (30522, 128)
    assert table.tokens[101] == "[CLS]"
