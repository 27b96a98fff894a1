"""Languages by name: every one that tokens can be counted in."""

from __future__ import annotations

import pytest

from engine.frequencies.language_names import name_counted, name_language
from engine.frequencies.running_text import languages


def test_every_language_has_a_name() -> None:
    names = [name_language(code) for code in languages()]
    assert len(set(names)) == len(names)
    assert not [name for name in names if not name[0].isupper()]


@pytest.mark.parametrize(
    ("source", "name"),
    [("en", "English text"), ("/data/my notes.txt", "my notes.txt"), ("notes.gz", "notes.gz")],
)
def test_what_was_counted_has_a_name(source: str, name: str) -> None:
    assert name_counted(source) == name
