"""Where the files are that come with the package: the app, its pages and its assets.

A wheel carries them inside the package (``engine/_app``); in a checkout, editable installs
included, they lie beside the package, at the top of the repository.
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from engine.errors import FormatError

_PACKAGE = Path(__file__).resolve().parent


def app_folder() -> Path:
    """Find the folder that holds ``app.py``, ``pages/``, ``assets/`` and ``.streamlit/``.

    Returns:
        ``engine/_app`` of an installed wheel, the top of the repository in a checkout.

    Raises:
        FormatError: If neither holds an ``app.py``: the installation is incomplete.
    """
    candidates = (_PACKAGE / "_app", _PACKAGE.parent)
    for folder in candidates:
        if (folder / "app.py").is_file():
            return folder
    raise FormatError(
        f"expected app.py in {candidates[0]} (an installed package) or in {candidates[1]} "
        "(a checkout), found neither; install subspace-atlas again"
    )


def assets_folder() -> Path:
    """Find the folder of what the app ships: layouts made beforehand, images, result tables.

    Returns:
        The folder ``assets`` beside ``app.py``. In a wheel it holds only what the app itself reads.

    Raises:
        FormatError: If the app or its assets are not there: the installation is incomplete.
    """
    folder = app_folder() / "assets"
    if not folder.is_dir():
        raise FormatError(
            f"expected the folder {folder} beside app.py, found none; install subspace-atlas again"
        )
    return folder


def user_data_folder() -> Path:
    """Find the folder for what the user makes: runs, layouts, uploads.

    Returns:
        ``SUBSPACE_ATLAS_HOME`` when that is set, else the platform's own place for user data.
        It may not exist yet.
    """
    home = os.environ.get("SUBSPACE_ATLAS_HOME")
    return Path(home) if home else platformdirs.user_data_path("subspace-atlas")


def uploads_folder() -> Path:
    """Find the folder for the files that visitors of the app upload; it may not exist yet."""
    return user_data_folder() / "uploads"
