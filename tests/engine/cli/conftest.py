"""The command line as the shell sees it, without the cost of a process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.cli import main
from tests.engine.tables import lines, write_npy


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a command left: its exit code and both streams."""

    code: int
    out: str
    err: str


Shell = Callable[..., Outcome]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runs go that are given no place; the working directory is a temporary one, too."""
    folder = tmp_path / "home"
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def table(tmp_path: Path, home: Path) -> Path:
    """180 rows close to three lines of R^8."""
    return write_npy(tmp_path / "lines.npy", lines())


@pytest.fixture
def shell(home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Shell:
    """Run ``subspace-atlas`` with these arguments."""

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["subspace-atlas", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capfd.readouterr()
        return Outcome(code=int(caught.value.code or 0), out=out, err=err)

    return run
