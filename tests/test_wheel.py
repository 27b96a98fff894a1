"""The wheel carries the app and nothing of the workshop, and works away from the checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path
from zipfile import ZipFile

import pytest

import engine
from tests.browser.server import free_port, serve
from tests.wheel_install import REPOSITORY, WheelInstall

pytestmark = pytest.mark.slow


def shipped_files() -> set[str]:
    """What the app consists of beside the package, as paths from the top of the repository."""
    folders = (
        REPOSITORY / name for name in ("pages", "assets/brand", "assets/minilm", ".streamlit")
    )
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    files += (REPOSITORY / "assets/results/glue").glob("*/summary.json")  # of results no more
    kept = [path for path in files if "__pycache__" not in path.parts]
    return {"app.py", *(path.relative_to(REPOSITORY).as_posix() for path in kept)}


@pytest.fixture
def names(wheel_install: WheelInstall) -> set[str]:
    with ZipFile(wheel_install.wheel) as archive:
        return set(archive.namelist())


def test_wheel_carries_app_pages_assets_and_theme(names: set[str]) -> None:
    prefix = "engine/_app/"
    carried = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
    assert carried == shipped_files()
    assert {".streamlit/config.toml", "pages/explore.py", "pages/compare.py"} <= carried
    assert any(name.startswith("assets/minilm/") for name in carried)


def test_wheel_carries_the_whole_package_and_no_more(names: set[str]) -> None:
    metadata = f"subspace_atlas-{engine.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"engine", metadata}
    package = {
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "engine").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {
        name for name in names if name.startswith("engine/") and "/_app/" not in name
    } == package
    assert "engine/py.typed" in package
    assert not [name for name in names if "tests" in name.split("/") or name.endswith(".pyc")]
    assert f"{metadata}/licenses/LICENSE" in names


def test_installed_wheel_finds_its_own_app(wheel_install: WheelInstall, tmp_path: Path) -> None:
    script = (
        "from engine.paths import app_folder, assets_folder; print(app_folder()); assets_folder()"
    )
    result = subprocess.run(
        [wheel_install.python, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    folder = Path(result.stdout.strip())
    assert folder.parts[-2:] == ("engine", "_app")
    assert wheel_install.python.parents[1] in folder.parents


def test_command_serves_the_app_from_an_empty_folder(
    wheel_install: WheelInstall, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    port = free_port()
    command = (str(wheel_install.command), "app", "--port", str(port), "--no-browser")
    with serve(command, port=port, home=tmp_path, folder=empty) as server:
        pass
    assert not list(empty.iterdir())
    assert "Traceback" not in server.log.read_text(encoding="utf-8")
