"""`subspace-atlas glue`: a run, its log, going on with it, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.engine.cli.conftest import Shell
from tests.engine.evaluation.glue.conftest import write_task
from tests.engine.export.conftest import make_model

pytest.importorskip("accelerate", reason="transformers' Trainer needs accelerate")

SMALL = ("--epochs", "1", "--learning-rate", "1e-3", "--longest", "12", "--plans", "svd")


def test_a_run_is_measured_logged_and_taken_up(shell: Shell, tmp_path: Path) -> None:
    bert = make_model(tmp_path / "bert", "BertForMaskedLM")
    write_task(tmp_path / "data", "rte", pair=True)
    command = ("glue", bert, "-o", "run", "--tasks", "rte", "--data", "data", *SMALL)
    first = shell(*command, "--rates", "0.4", "--no-further-training")
    assert first.code == 0, first.err
    assert "2 cells measured: run" in first.out
    assert "0 of 2 cells" in first.err
    more = shell(*command, "--rates", "0.4", "--json")
    assert more.code == 0, more.err
    found = json.loads(more.out)
    assert [cell["key"]["stage"] for cell in found["cells"]] == [
        "compressed", "continued", "retrained", "tuned",
    ]  # fmt: skip
    assert "2 of 4 cells" in more.err, "what was measured is not measured again"
    assert "1 of 4 cells" not in more.err
    assert "4 of 4 cells" in more.err
    assert shell("glue-report", "run", "-o", "report").code == 0
    assert (tmp_path / "report" / "glue.md").is_file()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--tasks", "snli"), "GLUE has the tasks cola, sst2"),
        (("--plans", "k1"), "a plan is svd or k and a number"),
        (("--rates", "40"), "a rate lies between 0 and 1, got 40"),
        (("--shares", "5"), "a share lies between 0 and 1, got 5"),
        (("--plans", "k4-coded", "--rates", "0.4"), "--rates is of plans that are not coded"),
        (("--plans", "k4,svd", "--shares", "0.05"), "--shares is of coded plans"),
        (("--seeds", "one"), "--seeds takes whole numbers"),
        (("--epochs", "0"), "epochs must be at least 1, got 0"),
    ],
)
def test_bad_options_are_told_before_anything_is_made(
    shell: Shell, tmp_path: Path, options: tuple[str, ...], reason: str
) -> None:
    done = shell("glue", tmp_path, "-o", tmp_path / "run", *options)
    assert (done.code, done.out) == (2, "")
    assert reason in done.err
    assert not (tmp_path / "run").exists()


def test_an_interrupt_says_that_measured_cells_are_kept(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("engine.evaluation.glue.running.run_glue", stop)
    done = shell("glue", tmp_path, "-o", "run")
    assert done.code == 130
    assert "what was measured is kept in run, and the same command goes on" in done.err
