"""What the screen says can be given is what is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import SourceError
from engine.sources import BUNDLED_MODELS, SOURCE_KINDS, load_table


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
