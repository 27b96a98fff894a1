"""What holds for every test: nothing is loaded from the model hub unless asked for."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests.wheel_install import WheelInstall, build_wheel, install_wheel

# Before any test module can import huggingface_hub, which reads it once.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# How long an example takes is the machine's doing: a busy one must not fail a property.
settings.register_profile("atlas", deadline=None)
settings.load_profile("atlas")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests that need the hub, saying how to run them."""
    if os.environ["HF_HUB_OFFLINE"] == "0":
        return
    skip = pytest.mark.skip(reason="needs the model hub: HF_HUB_OFFLINE=0 pytest -m network")
    for item in items:
        if item.get_closest_marker("network") is not None:  # keywords hold the folder as well
            item.add_marker(skip)


@pytest.fixture(scope="session")
def wheel_install(tmp_path_factory: pytest.TempPathFactory) -> WheelInstall:
    """The wheel of this checkout, built and installed once for all tests that look at it."""
    wheel = build_wheel(tmp_path_factory.mktemp("wheel"))
    return install_wheel(wheel, tmp_path_factory.mktemp("environment"))
