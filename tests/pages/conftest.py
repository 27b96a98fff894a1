"""What tests of pages share: a queue that does no work, and a home of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from pages.parts import jobs
from tests.pages.fake_queue import FakeQueue


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeQueue:
    """Stands in for the worker process; runs and uploads go to an empty home."""
    fake = FakeQueue()
    monkeypatch.setattr(jobs, "job_queue", lambda: fake)
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path / "home"))
    return fake
