"""`compress --max-drop`: the size is found, told of, and kept with the run."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from engine.evaluation.sizes import SIZES
from engine.reproducing import command_line
from engine.runs import RunStore, read_run
from tests.engine.cli.conftest import Shell
from tests.engine.evaluation.small import make_model

ASKED = ("--max-drop", 5, "--check", "valence", "--neighbours", 0)


@pytest.fixture
def model(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small model in the working directory."""
    monkeypatch.delenv("SUBSPACE_ATLAS_DATA", raising=False)
    return make_model(Path("model"))


def test_a_smaller_model_of_the_size_that_was_found(shell: Shell, model: Path) -> None:
    found = shell("compress", model, *ASKED, "-o", "small")
    assert (found.code, found.err) == (0, "")
    record = read_run(Path("small")).record
    size = record.config["max_bytes"]
    assert size in SIZES
    for shown in (
        "Sizes of model tried on valence: accuracy, %, 120 items",
        f"{size}*",
        "* taken: the smallest that loses at most 5",
        "Note: Tokens were weighed by how often English text uses them",
        "Model: small",
    ):
        assert shown in found.out
    assert record.figures["search"]["max_bytes"] == size
    repeated = shlex.split(command_line(record))
    assert f"--max-bytes={size}" in repeated
    assert "--max-drop" not in " ".join(repeated)
    again = shell(*repeated[1:], "-o", "again")
    assert (again.code, again.err) == (0, "")
    weights = [Path(folder, "model.safetensors").read_bytes() for folder in ("small", "again")]
    assert weights[0] == weights[1]


def test_json_has_every_size_that_was_tried(shell: Shell, model: Path) -> None:
    tensor = ("--tensor", "bert.embeddings.word_embeddings.weight")
    found = shell("compress", model, *ASKED, *tensor, "-k", 2, "--json")
    assert (found.code, found.err) == (0, "")
    values = json.loads(found.out)
    (run,) = RunStore().list().runs
    assert values["search"] == run.record.figures["search"]
    tried = {trial["max_bytes"]: trial for trial in values["search"]["trials"]}
    assert 1 <= len(tried) <= 4
    chosen = tried[values["search"]["max_bytes"]]
    assert chosen["drop"]["value"] <= 5
    assert chosen["stored_bytes"] == values["stored_bytes"]
    assert values["notes"][0].startswith(f"{chosen['max_bytes']} of the bytes is the smallest of")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--check", "valence", "--rate", 0.4), "--check says how --max-drop is measured, and"),
        (("--data", "x", "--rate", 0.4), "--data says how --max-drop is measured, and"),
        (("--max-drop", 1), "--max-drop 1 needs a check to be measured by; name one with --check"),
        ((*ASKED, "--max-bytes", "2%"), "size of coded subspaces by itself, got --max-bytes"),
        ((*ASKED, "-j", 4), "by itself, got -j as well; leave one of the two out"),
        ((*ASKED, "--rate", 0.4), "by itself, got --rate as well"),
        ((*ASKED, "--bits", 8), "by itself, got --bits as well"),
        ((*ASKED, "--method", "svd"), "by itself, got --method svd as well"),
        ((*ASKED, "--max-drop", -2), "at least 0 points, got -2"),
        ((*ASKED, "--check", "xyz"), "the checks are valence, words"),
        ((*ASKED, "--check", "words"), "words cannot be run: the word sets are not here"),
        ((*ASKED, "--check", "fidelity", "--text", "no.txt"), "found none at no.txt"),
        ((*ASKED, "-k", "two"), "-k takes a whole number or auto"),
    ],
)
def test_what_is_refused(
    arguments: tuple[object, ...], message: str, shell: Shell, model: Path
) -> None:
    found = shell("compress", model, *arguments, "-o", "small")  # type: ignore[arg-type]
    assert (found.code, found.out) == (2, "")
    assert found.err.count("\n") == 1
    assert message in found.err
    assert not Path("small").exists()
