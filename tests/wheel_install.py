"""Build the wheel of this checkout and install it where nothing of the checkout is seen."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelInstall:
    """An environment of its own that holds the installed wheel.

    Attributes:
        wheel: The built file.
        python: The environment's interpreter.
        command: The environment's ``subspace-atlas``.
    """

    wheel: Path
    python: Path
    command: Path


def build_wheel(folder: Path) -> Path:
    """Build the wheel into an empty folder, fetching nothing."""
    _run("-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(REPOSITORY))
    (wheel,) = folder.glob("*.whl")
    return wheel


def install_wheel(wheel: Path, folder: Path) -> WheelInstall:
    """Install a wheel without its dependencies; those are borrowed from this environment.

    Borrowed by a ``.pth`` line, which puts a folder behind the environment's own on the path and,
    unlike the environment it is taken from, follows no ``.pth`` found in there: an editable
    install of this checkout stays out of sight.
    """
    _run("-m", "venv", "--without-pip", str(folder))
    binaries = folder / "bin"
    python = binaries / "python"
    options = ("--no-deps", "--no-index", "--disable-pip-version-check", "--quiet")
    _run("-m", "pip", "--python", str(python), "install", *options, str(wheel))
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (site_packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return WheelInstall(wheel=wheel, python=python, command=binaries / "subspace-atlas")


def _run(*arguments: str) -> None:
    result = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{arguments}:\n{result.stdout}\n{result.stderr}"
