"""The deployment page cannot rot: its variables, options and folders are those of the code."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from streamlit import config

from engine.cli.commands import group
from engine.library import MEASURES_FOLDER

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "assets" / "deployment.md").read_text(encoding="utf-8")
VARIABLE = re.compile(r"SUBSPACE_ATLAS_[A-Z]+")
SOURCES = [REPOSITORY / "app.py", *(REPOSITORY / "engine").rglob("*.py")]
SOURCES += [*(REPOSITORY / "pages").rglob("*.py")]


def block(language: str) -> str:
    """The first code block in a language."""
    found = re.search(rf"```{language}\n(.+?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def test_variables_of_the_page_are_those_the_code_reads() -> None:
    read = {name for path in SOURCES for name in VARIABLE.findall(path.read_text("utf-8"))}
    table = set(re.findall(r"^\| `(SUBSPACE_ATLAS_[A-Z]+)` \|", PAGE, re.MULTILINE))
    assert set(VARIABLE.findall(PAGE)) == table == read


def test_streamlits_options_of_the_page_exist() -> None:
    options = config.get_config_options()
    by_variable = {
        f"STREAMLIT_{re.sub(r'(?<=[a-z])(?=[A-Z])', '_', name).replace('.', '_').upper()}"
        for name in options
    }
    named = set(re.findall(r"STREAMLIT_[A-Z_]+", PAGE))
    assert named
    assert named <= by_variable
    assert set(re.findall(r"`((?:server|browser)\.\w+)`", PAGE)) <= set(options)


def test_upload_limit_of_the_page_is_the_default() -> None:
    limit = re.search(r"maxUploadSize` \(([\d,]+) MB", PAGE)
    assert limit is not None
    assert int(limit[1].replace(",", "")) == config.get_option("server.maxUploadSize")


def test_every_start_of_the_app_uses_options_it_has() -> None:
    known = {name for option in group.commands["app"].params for name in option.opts}
    starts = re.findall(r"(?:subspace-atlas app|\"app\",)(.*)", PAGE)
    assert len(starts) == 3
    for start in starts:
        assert set(re.findall(r"--[a-z-]+", start)) <= known


def test_folders_of_the_page_are_those_that_are_written() -> None:
    told = set(re.findall(r"^\| `(\w+)` \| ", PAGE.partition("## What is kept")[2], re.MULTILINE))
    written = {
        name
        for path in SOURCES
        for name in re.findall(r'user_data_folder\(\) / (\w+|"\w+")', path.read_text("utf-8"))
    }
    constants = {"MEASURES_FOLDER": MEASURES_FOLDER}
    assert told == {constants.get(name) or name.strip('"') for name in written}


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE)
    assert [link for link in links if not (REPOSITORY / "assets" / link).exists()] == []


def test_docker_installs_what_is_there() -> None:
    text = block("dockerfile")
    assert "-c constraints.txt" in text
    assert (REPOSITORY / "constraints.txt").is_file()
    assert "SUBSPACE_ATLAS_ROOTS" in text, "a container is open to others"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "atlas.service"
    unit.write_text(block("ini").replace("/opt/atlas/bin/subspace-atlas", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if "atlas.service" in line]
    assert complaints == []
