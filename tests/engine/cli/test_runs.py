"""`runs`: what is listed, shown, named, carried from one store to another, deleted."""

from __future__ import annotations

import io
import json
import shlex
import sys
from pathlib import Path

import pytest

from engine.labels import RunLabel
from engine.reproducing import cautions, command_line
from engine.runs import RunStore
from engine.sweep import SweepResult
from tests.engine.cli.conftest import Shell
from tests.engine.tables import lines, write_npy


@pytest.fixture
def run_id(shell: Shell, table: Path) -> str:
    """A compression in the store."""
    made = shell("compress", table, "-k", 3, "-j", 1, "--starts", 2, "--neighbours", 0, "--json")
    return Path(json.loads(made.out)["run"]).name


def test_an_empty_store_says_what_makes_runs(shell: Shell) -> None:
    assert "compress and sweep make some" in shell("runs", "list").out
    assert json.loads(shell("runs", "list", "--json").out) == {"runs": [], "damaged": []}


def test_runs_are_listed_with_what_cannot_be_read(shell: Shell, run_id: str) -> None:
    (RunStore().root / "broken").mkdir()
    found = json.loads(shell("runs", "list", "--json").out)
    assert [run["id"] for run in found["runs"]] == [run_id]
    assert [run["id"] for run in found["damaged"]] == ["broken"]
    text = shell("runs", "list").out
    assert "lines, k = 3" in text
    assert "Damaged: broken:" in text
    assert shell("runs", "delete", "broken", "--yes").out == "Deleted: broken\n"


def test_the_command_that_is_shown_makes_the_same_run_again(shell: Shell, run_id: str) -> None:
    shown = json.loads(shell("runs", "show", run_id, "--json").out)
    assert shown["cautions"] == []
    program, *words = shlex.split(shown["command"])
    assert program == "subspace-atlas"
    made = json.loads(shell(*words, "--json").out)
    first = RunStore().load(run_id).record
    second = RunStore().load(Path(made["run"]).name).record
    assert second.config == first.config
    assert second.figures["relative_error"] == first.figures["relative_error"]
    text = shell("runs", "show", run_id).out
    assert shown["command"] in text
    assert shown["python"] in text


@pytest.mark.parametrize(("width", "longer"), [("80", ""), ("40", ""), ("80", "x" * 90)])
def test_an_id_stands_on_one_line_and_names_are_cut(
    shell: Shell, run_id: str, monkeypatch: pytest.MonkeyPatch, width: str, longer: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    store = RunStore()
    run = store.label(run_id, RunLabel(name="a name " * 11))
    folder = run.folder.rename(run.folder.with_name(run.id + longer))
    (line,) = [line for line in shell("runs", "list").out.splitlines() if "compress" in line]
    assert line.split()[:2] == [folder.name, "compress"]
    assert "…" in line
    assert line.rstrip().endswith(f"{run.record.created_at.astimezone():%Y-%m-%d %H:%M}")
    assert len(line) <= 80 or longer


def test_another_program_reads_names_whole(
    shell: Shell, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    RunStore().label(run_id, RunLabel(name="a name " * 11))
    (line,) = [line for line in shell("runs", "list").out.splitlines() if "compress" in line]
    assert ("a name " * 11).strip() in line
    assert len(line) < 300  # no padding to the width a console may have


@pytest.mark.parametrize("spec", ["lines.npy", "./lines.npy", "part-*.npy"])
def test_a_run_of_a_path_from_here_is_made_again_from_anywhere(
    shell: Shell, table: Path, monkeypatch: pytest.MonkeyPatch, spec: str
) -> None:
    write_npy(Path("part-00001-of-00001.npy"), lines())
    Path("names.txt").write_text("\n".join(f"word{row}" for row in range(180)), encoding="utf-8")
    Path("text.txt").write_text("word1 word2 word3\n" * 9, encoding="utf-8")
    files = ("--tokens", "names.txt", "--weights", "text.txt")
    made = shell("compress", spec, "-k", 2, "-j", 1, *files, "--neighbours", 0, "--json")
    assert made.err == ""
    record = RunStore().load(Path(json.loads(made.out)["run"]).name).record
    assert record.source["spec"] == str(Path(spec).absolute())
    assert record.source.get("tokens") == str(Path("names.txt").absolute())
    assert record.config["weights"] == str(Path("text.txt").absolute())
    assert record.figures["weights"]["source"] == record.config["weights"]
    made = shell("sweep", spec, "--rates", 0.5, "-k", 2, *files, "--json")
    assert made.err == ""
    swept = SweepResult.load(Path(json.loads(made.out)["written"]) / "sweep.json")
    assert swept.config.weights == record.config["weights"]
    assert not any("seen from" in sentence for sentence in cautions(record))
    elsewhere = table.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    again = shell(*shlex.split(command_line(record))[1:], "--json")
    assert json.loads(again.out)["relative_error"] == record.figures["relative_error"]


def test_a_run_that_cannot_be_repeated_is_shown_all_the_same(shell: Shell, run_id: str) -> None:
    path = RunStore().root / run_id / "run.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    values["config"]["future"] = 1
    path.write_text(json.dumps(values), encoding="utf-8")
    shown = json.loads(shell("runs", "show", run_id, "--json").out)
    assert shown["command"] is None
    assert "future" in shown["cautions"][0]
    assert "Note: the run" in shell("runs", "show", run_id).out


def test_name_and_note_are_kept(shell: Shell, run_id: str) -> None:
    assert shell("runs", "name", run_id, "mine", "--note", "why").out == f"{run_id}: mine\n"
    assert json.loads(shell("runs", "name", run_id, "other", "--json").out)["title"] == "other"
    assert RunStore().load(run_id).label.note == "why"
    assert "Name: other\nwhy" in shell("runs", "show", run_id).out
    found = shell("runs", "name", run_id, "x" * 81)
    assert (found.code, found.err.startswith("error: the name of a run may have 80")) == (2, True)


def test_runs_go_through_a_file(shell: Shell, run_id: str) -> None:
    record = RunStore().load(run_id).record
    assert shell("runs", "export", run_id, "-o", "out.zip").out == "Written: out.zip\n"
    assert shell("runs", "import", "out.zip").out == f"{run_id} was here already\n"
    assert shell("runs", "delete", run_id, "--yes", "--json").code == 0
    assert RunStore().list().runs == ()
    added = json.loads(shell("runs", "import", "out.zip", "--json").out)["added"]
    assert [run["id"] for run in added] == [run_id]
    assert RunStore().load(run_id).record == record


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "nothing"), "there is no run 'nothing'"),
        (("show", "../x"), "a run id is the plain name of a folder"),
        (("export", "nothing", "-o", "a.zip"), "there is no run 'nothing'"),
        (("export", "nothing", "-o", "a.tar"), r"exported to a .zip file"),
        (("import", "nothing.zip"), "could not be unpacked"),
        (("delete", "nothing", "--yes"), "there is no run 'nothing'"),
    ],
)
def test_bad_input_is_one_line(shell: Shell, words: tuple[str, ...], message: str) -> None:
    found = shell("runs", *words)
    assert (found.code, found.out) == (2, "")
    assert message in found.err
    assert found.err.count("\n") == 1


@pytest.mark.parametrize(
    ("answer", "terminal", "code", "said"),
    [
        ("n\n", True, 130, "Nothing was deleted."),
        ("n\n", False, 130, "Nothing was deleted."),
        ("", True, 130, "Interrupted; nothing was written."),
        ("", False, 2, "error: nobody is there to be asked, and nothing was deleted; give --yes"),
        ("y\n", True, 0, ""),
        ("y\n", False, 0, ""),
    ],
)
def test_delete_asks_first(
    shell: Shell,
    run_id: str,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    terminal: bool,
    code: int,
    said: str,
) -> None:
    stdin = io.StringIO(answer)
    monkeypatch.setattr(stdin, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stdin", stdin)
    found = shell("runs", "delete", run_id, "--json")
    assert found.code == code
    assert found.err.startswith("Delete for good?")
    assert said in found.err
    assert len(RunStore().list().runs) == (1 if code else 0)
