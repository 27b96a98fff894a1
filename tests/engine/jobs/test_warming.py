"""Warming loads what it says, one package after the other, and stops when asked."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from engine.errors import Cancelled
from engine.jobs import warming
from engine.progress import Progress


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was imported, in order; nothing really is."""
    names: list[str] = []
    monkeypatch.setattr(warming, "import_module", names.append)
    return names


def test_every_package_is_loaded_after_a_report(loaded: list[str]) -> None:
    seen: list[tuple[int, int]] = []
    assert warming.warm({}, lambda progress: seen.append((progress.done, len(loaded)))) == {}
    assert seen == [(number, number) for number in range(len(loaded))]
    assert loaded[0] == "torch"  # every job needs it, so that a job that comes then loses nothing
    assert loaded[-1] == "umap"


def test_it_stops_between_two_packages(loaded: list[str]) -> None:
    def report(progress: Progress) -> None:
        if progress.done == 1:
            raise Cancelled("stop")

    with pytest.raises(Cancelled, match="stop"):
        warming.warm({}, report)
    assert loaded == ["torch"]


def test_every_package_is_installed_with_us() -> None:
    assert all(find_spec(name.partition(".")[0]) for name in warming._PACKAGES)
