"""`evaluate`: tables for people, JSON for machines, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import SourceError
from engine.evaluation.checks import CHECKS
from engine.evaluation.results import CheckResult
from engine.sources import load_table
from tests.engine.cli.conftest import Shell
from tests.engine.evaluation.small import make_model, make_texts, write_data

PLAN = ("-k", 2, "-j", 4, "--starts", 1)


@pytest.fixture
def model(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small model in the working directory."""
    monkeypatch.delenv("SUBSPACE_ATLAS_DATA", raising=False)
    return make_model(Path("model"))


def test_evaluate_shows_a_table_a_check(shell: Shell, model: Path) -> None:
    found = shell("evaluate", model, "--task", "valence", *PLAN)
    assert (found.code, found.err) == (0, "")
    for shown in (
        "Word valence of model: accuracy, %, 120 items",
        "original",
        "k = 2",
        "SVD",
        " kB │",
        "Note: 60 pleasant and 60 unpleasant words are single tokens",
    ):
        assert shown in found.out


def test_a_check_that_fails_is_told_below_the_others(
    shell: Shell, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise SourceError("the text is gone")

    monkeypatch.setitem(CHECKS, "fidelity", replace(CHECKS["fidelity"], prepare=refuse))
    found = shell("evaluate", model, *PLAN)
    assert found.code == 2
    assert "Word valence of model" in found.out
    assert "Ahead of SVD by" in found.out
    assert "fidelity: the text is gone" in " ".join(found.err.split())


def test_evaluate_prints_json(shell: Shell, model: Path) -> None:
    Path("text.txt").write_text("\n".join(make_texts(30)) + "\n")
    found = shell("evaluate", model, "--text", "text.txt", "--seed", 3, "--json")
    assert (found.code, found.err) == (0, "")
    values = json.loads(found.out)
    results = [CheckResult.from_dict(result) for result in values["results"]]
    assert [result.check for result in results] == ["valence", "fidelity"]
    assert [len(result.scores) for result in results] == [1, 1], "a seed alone is no plan"
    assert results[0].settings["seed"] == 3


def test_evaluate_lists_the_checks(shell: Shell, model: Path) -> None:
    found = shell("evaluate", model, "--list", "--json")
    reasons = {check["name"]: check["unavailable"] for check in json.loads(found.out)["checks"]}
    assert list(reasons) == list(CHECKS)
    assert reasons["fidelity"] is None
    assert "the word sets are not here" in reasons["words"]
    data = write_data(Path("data"), load_table(model))
    listed = shell("evaluate", model, "--list", "--data", data)
    assert listed.out.count("can be run\n") == len(CHECKS)
    for check in CHECKS.values():
        assert f"{check.name}: {check.title}" in listed.out


def test_a_compressed_folder_is_evaluated(shell: Shell, model: Path) -> None:
    shell("compress", model, *PLAN, "-o", "small")
    found = shell("evaluate", "small", "--task", "valence")
    assert (found.code, found.err) == (0, "")
    assert "k = 2" in found.out


def test_tables_by_their_tensor_have_rows_only(shell: Shell, model: Path) -> None:
    tensor = ("--tensor", "bert.embeddings.word_embeddings.weight")
    assert "Word valence" in shell("evaluate", model, *tensor, "--task", "valence").out
    found = shell("evaluate", model, *tensor, "--task", "stsb")
    assert found.code == 2
    assert "without a model around it" in found.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--task", "xyz"), "the checks are valence, words"),
        (("--task", "words"), "the check words cannot be run: the word sets are not here"),
        (("--rate", 2), "the rate is the share"),
        (("--text", "none.txt"), "found none at none.txt"),
        (("-k", "two"), "-k takes a whole number or auto"),
    ],
)
def test_what_is_refused(
    arguments: tuple[object, ...], message: str, shell: Shell, model: Path
) -> None:
    found = shell("evaluate", model, *arguments)
    assert (found.code, found.out) == (2, "")
    assert found.err.count("\n") == 1
    assert message in found.err
