"""What holds for the tests of the network: transformers keeps quiet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from transformers.utils import logging


@pytest.fixture(autouse=True, scope="package")
def quiet_transformers() -> Iterator[None]:
    """No bars, and no reports of what naive ways of saving do."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    yield
    logging.enable_progress_bar()
    logging.set_verbosity(before)
