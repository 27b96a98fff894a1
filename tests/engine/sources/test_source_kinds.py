"""What the screen says can be given is what is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import SourceError
from engine.sources import BUNDLED_MODELS, SOURCE_KINDS, absolute_spec, load_table


def test_the_listed_endings_are_those_an_error_names(tmp_path: Path) -> None:
    (tmp_path / "table.csv").touch()
    with pytest.raises(SourceError, match=r"expected a file that ends in") as caught:
        load_table(tmp_path / "table.csv")

    named = str(caught.value).split("ends in ")[1].split(", or a model")[0].replace(" or ", ", ")

    assert named.split(", ") == [kind for kind in SOURCE_KINDS if kind.startswith(".")]


def test_every_bundled_model_is_listed_and_loads() -> None:
    listed = [kind for kind in SOURCE_KINDS if kind.startswith("bundled:")]
    assert listed == [f"bundled:{name}" for name in BUNDLED_MODELS]
    for spec in listed:
        assert load_table(spec).matrix.numel() > 0


def test_only_what_lies_on_the_disk_gets_an_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("table.npy", "org/name", "bundled:minilm"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    for spec in ("table.npy", "~/table.npy", "org/name", "*.npy", str(tmp_path / "table.npy")):
        found = Path(absolute_spec(spec))
        assert found.parent in (tmp_path, tmp_path / "org")
        assert found.name == Path(spec).name
    for spec in ("", "bundled:minilm", "org/other", "gone.npy", "gone-*.npy", "a\0b", "x" * 5_000):
        assert absolute_spec(spec) == spec
