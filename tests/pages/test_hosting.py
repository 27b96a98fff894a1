"""Who counts as a visitor from elsewhere, and what such a one cannot do."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from engine import EngineError
from engine.access import ROOTS_VARIABLE
from pages.parts import hosting, jobs
from tests.pages.fake_queue import FakeQueue

APP = Path(__file__).resolve().parents[2] / "app.py"
OPTION = hosting.st.get_option


def set_up(
    monkeypatch: pytest.MonkeyPatch,
    *,
    headers: dict[str, str] | None = None,
    **options: Any,  # noqa: ANN401 - values of options
) -> None:
    """A server with these options, visited with these headers."""
    known = {name.replace("_", "."): value for name, value in options.items()}
    monkeypatch.setattr(
        hosting.st, "get_option", lambda name: known[name] if name in known else OPTION(name)
    )
    if headers is not None:
        monkeypatch.setattr(hosting.st, "context", SimpleNamespace(headers=headers))


@pytest.mark.parametrize(
    ("address", "headers", "hosted"),
    [
        ("localhost", {}, False),
        ("localhost", {"Host": "localhost:8501"}, False),
        ("127.0.0.1", {"Host": "127.0.0.1:8501"}, False),
        ("::1", {"Host": "[::1]:8501"}, False),
        ("0.0.0.0", {"Host": "localhost:8501"}, True),
        (None, {"Host": "localhost:8501"}, True),
        ("192.168.1.7", {}, True),
        ("localhost", {"Host": "atlas.example.org"}, True),
        ("localhost", {"Host": "127.0.0.1.example.org:8501"}, True),
        ("localhost", {"Host": "localhost", "X-Forwarded-For": "10.0.0.9"}, True),
        ("localhost", {"Host": "localhost", "Forwarded": "for=10.0.0.9"}, True),
        # nginx's bare proxy_pass: the server's own name, and where the browser found the page
        ("localhost", {"Host": "127.0.0.1:8501", "Origin": "https://atlas.example.org"}, True),
        ("localhost", {"Host": "localhost:8501", "Origin": "null"}, True),
        ("localhost", {"Host": "localhost:8501", "Origin": "http://[::1"}, True),
        ("localhost", {"Host": "localhost:8501", "Origin": "http://localhost:8501"}, False),
        ("localhost", {"Host": "[::1]:8501", "Origin": "http://[::1]:8501"}, False),
    ],
)
def test_who_is_from_elsewhere(
    monkeypatch: pytest.MonkeyPatch, address: str | None, headers: dict[str, str], hosted: bool
) -> None:
    set_up(monkeypatch, headers=headers, server_address=address)
    assert hosting.is_hosted() is hosted


@pytest.mark.parametrize(
    ("told", "hosted"), [("localhost", False), (None, False), ("atlas.example.org", True)]
)
def test_a_server_that_is_told_its_public_name_is_hosted(
    monkeypatch: pytest.MonkeyPatch, told: str | None, hosted: bool
) -> None:
    set_up(monkeypatch, headers={}, server_address="localhost", browser_serverAddress=told)
    assert hosting.is_hosted() is hosted


def test_upload_above_the_limit_is_refused_in_python_too(monkeypatch: pytest.MonkeyPatch) -> None:
    set_up(monkeypatch, server_maxUploadSize=1)
    hosting.check_upload("a.npy", 2**20)
    with pytest.raises(EngineError, match=r"a.npy has 1\.0 MB, .* at most 1\.0 MB; store fewer"):
        hosting.check_upload("a.npy", 2**20 + 1)


@pytest.mark.parametrize("page", ["explore", "compare", "accuracy", "learn"])
def test_deep_link_to_a_local_file_is_refused_on_every_page(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeQueue()
    monkeypatch.setattr(jobs, "job_queue", lambda: fake)
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(ROOTS_VARIABLE, str(tmp_path / "open"))
    path = tmp_path / "secret.npy"
    np.save(path, np.eye(8, dtype=np.float32))
    app = AppTest.from_file(str(APP), default_timeout=120)
    app.query_params["source"], app.query_params["spec"] = "File or folder", str(path)
    app.switch_page(f"pages/{page}.py").run()
    assert not app.exception
    (error,) = app.error
    assert "may not be opened here" in error.value
    assert fake.submitted == []


def test_own_glue_run_is_a_path_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pages.parts import state

    monkeypatch.setenv(ROOTS_VARIABLE, "")
    with pytest.raises(EngineError, match="may not be opened here"):
        state.load_glue_run(str(tmp_path))


def test_defaults_are_those_of_one_persons_machine() -> None:
    assert OPTION("server.address") == "localhost"
    assert OPTION("server.enableXsrfProtection") is True
    assert OPTION("server.enableCORS") is True
    assert OPTION("client.showErrorDetails") in ("none", False)
