"""The app's own files are found in a checkout and in a wheel, the user's where they belong."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import paths
from engine.errors import EngineError

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package folder that the module takes for its own."""
    folder = tmp_path / "site-packages" / "engine"
    folder.mkdir(parents=True)
    monkeypatch.setattr(paths, "_PACKAGE", folder)
    return folder


def test_package_is_the_one_under_test() -> None:
    assert paths._PACKAGE == REPOSITORY / "engine"


def test_checkout_serves_the_top_of_the_repository(package: Path) -> None:
    (package.parent / "app.py").touch()
    (package.parent / "assets").mkdir()
    assert paths.app_folder() == package.parent
    assert paths.assets_folder() == package.parent / "assets"


def test_wheel_serves_its_own_copy_even_beside_another_app(package: Path) -> None:
    (package / "_app" / "assets").mkdir(parents=True)
    (package / "_app" / "app.py").touch()
    (package.parent / "app.py").touch()  # another package's, in the same site-packages
    assert paths.app_folder() == package / "_app"
    assert paths.assets_folder() == package / "_app" / "assets"


def test_folder_without_app_does_not_count(package: Path) -> None:
    (package / "_app").mkdir()
    (package.parent / "app.py").touch()
    assert paths.app_folder() == package.parent


def test_missing_app_says_where_it_was_expected(package: Path) -> None:
    with pytest.raises(EngineError, match=r"expected app\.py in .*_app .* install subspace-atlas"):
        paths.app_folder()


def test_missing_assets_say_so(package: Path) -> None:
    (package.parent / "app.py").touch()
    with pytest.raises(EngineError, match=r"expected the folder .*assets beside app\.py"):
        paths.assets_folder()


def test_user_data_goes_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path))
    assert paths.user_data_folder() == tmp_path


@pytest.mark.parametrize("unset", [None, ""])
def test_user_data_goes_to_the_platform_by_default(
    unset: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUBSPACE_ATLAS_HOME", raising=False)
    if unset is not None:
        monkeypatch.setenv("SUBSPACE_ATLAS_HOME", unset)
    folder = paths.user_data_folder()
    assert folder.name == "subspace-atlas"
    assert folder.is_absolute()
