"""Local files open only below the given folders, however a path gets there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.access import HUB_VARIABLE, ROOTS_VARIABLE, Access
from engine.errors import SourceError
from engine.jobs import tasks
from engine.progress import ignore_progress

REFUSED = "may not be opened here"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tables inside the root ``open`` and beside it, in the working directory."""
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path / "home"))
    for folder in ("open/model", "closed", "open-too", "home/uploads/1a", "home/runs"):
        (tmp_path / folder).mkdir(parents=True)
        np.save(tmp_path / folder / "table.npy", np.eye(6, dtype=np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def access(tree: Path) -> Access:
    return Access(roots=(tree / "open",))


@pytest.mark.parametrize(
    "spec",
    [
        "open/table.npy",
        "open",
        "open/missing.npy",
        "open/../open/table.npy",
        "open/table-*.npy",
        "home/uploads/1a/table.npy",
        "bundled:minilm",
        "org/name",
        "bert-base-uncased",
    ],
)
def test_what_lies_below_a_root_may_be_opened(access: Access, spec: str) -> None:
    access.check_source(spec)


@pytest.mark.parametrize(
    "spec",
    [
        "closed/table.npy",
        "closed",  # a name of the hub as well, but there is such a folder
        "open-too/table.npy",
        "open/../closed/table.npy",
        "open/model/../../closed",
        "closed/*.npy",
        "open/../closed/table-*.npy",
        "/etc/passwd",
        "/etc/no-such-file",
        "~/.ssh/id_rsa",
        "../",
        "home/runs",
        "nul\0byte",
        "",
    ],
)
def test_what_lies_elsewhere_may_not(access: Access, spec: str) -> None:
    with pytest.raises(SourceError, match=REFUSED):
        access.check_source(spec)


def test_refusal_does_not_tell_whether_there_is_a_file(tree: Path, access: Access) -> None:
    def refusal(path: Path) -> str:
        with pytest.raises(SourceError, match=REFUSED) as caught:
            access.check_source(str(path))
        return str(caught.value).replace(str(path), "")

    assert refusal(tree / "closed" / "table.npy") == refusal(tree / "closed" / "nothing.npy")


@pytest.mark.parametrize(
    ("link", "spec"),
    [
        ("open/link.npy", "open/link.npy"),
        ("open/folder", "open/folder/table.npy"),
        ("open/model/model.safetensors", "open/model"),
        ("open/deep/1_Pooling/config.json", "open/deep"),
        ("open/table.tokens.txt", "open/table.npy"),
        ("open/part-00001-of-00001.npy", "open/part-*.npy"),
        ("open/x.safetensors", "open/x.safetensors.index.json"),
    ],
)
def test_links_that_lead_outside_are_refused(
    tree: Path, access: Access, link: str, spec: str
) -> None:
    (tree / link).parent.mkdir(parents=True, exist_ok=True)
    target = tree / "closed"
    (tree / link).symlink_to(target if link.endswith("folder") else target / "table.npy")
    (tree / "open/x.safetensors.index.json").write_text("{}")
    with pytest.raises(SourceError, match=REFUSED):
        access.check_source(spec)


def test_links_within_a_root_and_roots_that_are_links_are_fine(tree: Path) -> None:
    (tree / "open/same.npy").symlink_to(tree / "open/table.npy")
    (tree / "alias").symlink_to(tree / "open")
    Access(roots=(tree / "alias",)).check_source("open/same.npy")


def test_links_in_a_circle_are_refused_not_followed(tree: Path, access: Access) -> None:
    (tree / "open/a").symlink_to(tree / "open/b")
    (tree / "open/b").symlink_to(tree / "open/a")
    with pytest.raises(SourceError, match=REFUSED):
        access.check_source("open/a/table.npy")


@given(steps=st.lists(st.sampled_from(["..", ".", "open", "closed", "model"]), max_size=8))
def test_no_way_of_steps_leads_out(
    steps: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    base = tmp_path_factory.getbasetemp()
    root = base / "open"
    path = root.joinpath(*steps, "t.npy")
    inside = Path(os.path.normpath(path)).is_relative_to(root)
    try:
        Access(roots=(root,)).check_path(path)
    except SourceError:
        assert not inside
    else:
        assert inside


def test_without_roots_any_file_may_be_opened_where_nobody_else_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(ROOTS_VARIABLE, raising=False)
    Access.of_environment().check_source("/etc/passwd")
    with pytest.raises(SourceError, match=r"/etc/passwd may not .* upload it instead.*ROOTS"):
        Access.of_environment(hosted=True).check_source("/etc/passwd")


def test_variable_lists_roots_and_an_empty_one_closes_all(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROOTS_VARIABLE, os.pathsep.join([str(tree / "open"), str(tree / "closed")]))
    Access.of_environment(hosted=True).check_source("closed/table.npy")
    with pytest.raises(SourceError, match=r"files below .*open and .*closed only"):
        Access.of_environment().check_source("open-too/table.npy")
    monkeypatch.setenv(ROOTS_VARIABLE, "")
    with pytest.raises(SourceError, match="opens no file by its path"):
        Access.of_environment().check_source("open/table.npy")


@pytest.mark.parametrize("value", ["off", "OFF", "0", "no"])
def test_hub_can_be_closed(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HUB_VARIABLE, value)
    access = Access.of_environment()
    access.check_source("bundled:minilm")
    with pytest.raises(SourceError, match="no models of the Hugging Face hub, so not org/name"):
        access.check_source("org/name")


@pytest.mark.parametrize(
    "given",
    [
        {"source": {"spec": "closed/table.npy"}},
        {"source": {"spec": "open/table.npy", "tokens": "closed/tokens.txt"}},
        {"source": {"spec": "open/table.npy"}, "config": {"k": 2, "weights": "closed/text.txt"}},
        {"source": {"spec": "open/table.npy"}, "options": {"text": "closed/text.txt"}},
        {"source": {"spec": "open/table.npy"}, "options": {"data": "closed"}},
    ],
)
def test_worker_asks_again(
    given: dict[str, object], monkeypatch: pytest.MonkeyPatch, tree: Path
) -> None:
    monkeypatch.setenv(ROOTS_VARIABLE, str(tree / "open"))
    with pytest.raises(SourceError, match=f"closed.*{REFUSED}"):
        tasks._load(given, ignore_progress)


def test_languages_are_no_paths(access: Access) -> None:
    source = {"spec": "open/table.npy", "tensor": None, "tokens": None}
    for weights in ("none", "en"):
        access.check_job({"source": source, "config": {"weights": weights}})
