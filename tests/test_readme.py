"""The README cannot rot: what it names exists, what exists is named, its example runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import engine
from engine.cli.commands import group
from engine.evaluation.glue.summary import AVERAGE, stored_glue
from engine.sources import SOURCE_KINDS

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"\d[\d,]*\.?\d*")


def test_every_public_name_is_documented() -> None:
    missing = [name for name in engine.__all__ if f"engine.{name}" not in README]
    assert missing == []


def test_every_command_is_documented() -> None:
    missing = [name for name in group.commands if f"subspace-atlas {name}" not in README]
    assert missing == []


@pytest.mark.parametrize("name", ["compress", "evaluate", "sweep"])
def test_every_option_is_documented(name: str) -> None:
    options = {max(option.opts, key=len) for option in group.commands[name].params}
    missing = {option for option in options if option.startswith("-")} - {"--output"}
    assert sorted(option for option in missing if option not in README) == []


def test_every_kind_of_source_is_documented() -> None:
    missing = [kind for kind in SOURCE_KINDS if kind not in README]
    assert missing == []


def test_every_linked_file_is_there() -> None:
    links = re.findall(r"""(?:\]\(|src(?:set)?=")(?!https?:)([^)#"]+)""", README)
    assert links
    assert [link for link in links if not (REPOSITORY / link).exists()] == []


PLANS = ("svd", "svd-weighted", "k5", "best")
GLUE_ROW = re.compile(r"^\| (.+?), .+, (\d+)%, (before|after) \| (.+) \|$", re.MULTILINE)
GLUE_MODELS = {"all-MiniLM-L6-v2": "bundled:minilm", "2-layer BERT": "bert-2x128"}


def test_glue_figures_are_those_of_the_stored_results() -> None:
    summaries = {summary.model: summary for summary in stored_glue()}
    rows = GLUE_ROW.findall(README)
    assert {row[0] for row in rows} == set(GLUE_MODELS)
    for model, rate, when, cells in rows:
        summary = summaries[GLUE_MODELS[model]]
        stage = "compressed" if when == "before" else "retrained"
        drops = [
            point.drop
            for plan in PLANS
            for point in summary.points
            if (point.task, point.stage, point.plan) == (AVERAGE, stage, plan)
            and point.rate == pytest.approx(int(rate) / 100)
        ]
        shown = [float(figure.replace("−", "-")) for figure in re.findall(r"−?\d+\.\d", cells)]
        wanted = [figure for drop in drops for figure in (drop.value, drop.low, drop.high)]
        assert shown == pytest.approx(wanted, abs=0.0501), "a figure is shown to one decimal"


@pytest.mark.slow
def test_the_example_prints_what_it_says(tmp_path: Path) -> None:
    code, output = re.search(
        r"```python\n(.+?)```\n\n```text\n(.+?)```", README, re.DOTALL
    ).groups()
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert NUMBER.sub("#", finished.stdout) == NUMBER.sub("#", output)
    # EM may settle in another optimum with another BLAS or thread count; 2 % tells them apart
    # from a wrong number.
    said, printed = (
        [float(figure.replace(",", "")) for figure in NUMBER.findall(text)]
        for text in (output, finished.stdout)
    )
    assert printed == pytest.approx(said, rel=0.02)
