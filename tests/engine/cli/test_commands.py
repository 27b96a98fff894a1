"""Every command where all goes well: what it prints, and what it leaves on the disk."""

from __future__ import annotations

import csv
import html
import io
import json
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

import engine
from engine.cell_points import read_size_curves
from engine.cli import commands
from engine.coding.codes import Coding
from engine.factorization import Factorization
from engine.frequencies import DEFAULT_FLOOR, DEFAULT_POWER
from engine.grid import CODED_SHARES
from engine.journal import Journal
from engine.methods import factorize
from engine.paths import app_folder
from engine.runs import RunStore, read_run
from engine.sweep import SweepResult
from tests.engine.cli.conftest import Shell
from tests.engine.coded_plans import fit_coded
from tests.engine.tables import lines, one_flat_shape, write_npy

COMMANDS = ("app", "compress", "sweep", "info", "report", "restore", "runs")


def test_a_sweep_asks_for_the_sizes_of_coded_subspaces_that_the_app_asks_for() -> None:
    default = next(option.default for option in commands.sweep.params if option.name == "shares")
    assert tuple(map(float, str(default).split(","))) == CODED_SHARES


def test_help_names_every_command(shell: Shell) -> None:
    found = shell("--help")
    assert (found.code, found.err) == (0, "")
    for command in COMMANDS:
        assert f"\n  {command} " in found.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, shell: Shell) -> None:
    found = shell(command, "--help")
    assert (found.code, found.err) == (0, "")
    assert found.out.startswith(f"Usage: subspace-atlas {command} ")


def test_without_arguments_the_help_is_shown(shell: Shell) -> None:
    found = shell()
    assert found.code == 2
    assert "Usage: subspace-atlas" in found.out
    assert "compress" in found.out
    assert found.err == ""


def test_version_is_that_of_the_package(shell: Shell) -> None:
    assert shell("--version").out == f"{engine.__version__}\n"


def test_thirty_two_bits_are_what_is_usual(shell: Shell, table: Path) -> None:
    plan = ("compress", table, "-k", 3, "-j", 1, "--json")
    given, usual = (json.loads(shell(*plan, *more).out) for more in (("--bits", 32), ()))
    assert given["stored_bytes"] == usual["stored_bytes"]
    assert given["relative_error"] == usual["relative_error"]


def test_compress_stores_factors_in_fewer_bits(shell: Shell, table: Path) -> None:
    plan = ("compress", table, "-k", 3, "-j", 1, "--bits", 4, "--basis-bits", 8, "-o", "out")
    found = shell(*plan)
    assert (found.code, found.err) == (0, "")
    text = " ".join(found.out.split())  # as wide as the terminal
    assert "Coordinates are stored at 4 bits and bases at 8, the SVD's numbers at 32:" in text
    stored = Factorization.load(Path("out"))
    assert stored.coding == Coding(bits=4, basis_bits=8)
    assert f"{stored.stored_bytes:,}" in found.out
    values = json.loads(shell(*plan, "--json").out)
    assert values["stored_bytes"] == stored.stored_bytes
    config = read_run(Path("out")).record.config
    assert (config["bits"], config["basis_bits"]) == (4, 8)
    assert "bits=4" in " ".join(shell("info", "out").out.split())


def test_compress_writes_where_it_is_told(shell: Shell, table: Path, home: Path) -> None:
    found = shell("compress", table, "-k", 3, "-j", 1, "-o", "out/run")
    assert (found.code, found.err) == (0, "")
    assert "lines: 180 × 8" in found.out
    assert "3 subspaces of dimension 1 lose" in found.out
    assert "Run: out/run" in found.out
    assert "directions" in found.out  # the table of starts
    assert Factorization.load(Path("out/run")).dimensions == (1, 1, 1)
    assert not home.exists()


def test_compress_writes_to_the_store(shell: Shell, table: Path) -> None:
    found = shell("compress", table, "--rate", 0.4, "-k", 3)
    assert found.code == 0
    (run,) = RunStore().list().runs
    assert f"Run: {run.folder}" in found.out
    assert run.record.name == "lines, k = 3, j = 4"


def test_compress_prints_json(shell: Shell, table: Path) -> None:
    found = shell(
        "compress", table, "-k", 3, "-j", 1, "--seeding", "directions=1,random=2", "--json"
    )
    assert (found.code, found.err) == (0, "")
    values = json.loads(found.out)
    factorization = Factorization.load(values["run"])
    assert values["relative_error"] == factorization.relative_error(lines())
    assert values["relative_error"] < values["svd"]["relative_error"]
    assert values["svd"]["parameters"] >= values["parameters"] == factorization.parameters
    assert [start["seeding"] for start in values["starts"]] == ["directions", "random", "random"]
    assert values["beats_svd"] is True
    assert values["source"] == "lines"


def test_same_seed_same_figures(shell: Shell, table: Path) -> None:
    plan = ("-k", 3, "-j", 2, "--starts", 1, "--json")
    one, same = (json.loads(shell("compress", table, *plan, "--seed", 3).out) for _ in range(2))
    for values in (one, same):
        del values["run"], values["wall_seconds"], values["starts"][0]["wall_seconds"]
    assert one == same


def test_compress_says_where_the_svd_wins(shell: Shell, tmp_path: Path) -> None:
    flat = write_npy(tmp_path / "flat.npy", one_flat_shape())
    found = shell("compress", flat, "-k", 10, "--rate", 0.2)
    assert found.code == 0
    assert "SVD wins here" in found.out


@pytest.fixture
def words(tmp_path: Path, home: Path) -> Path:
    """180 rows close to three lines of R^8, named by words of a text beside them."""
    common = ["the", "of", "water", "house", "green"]
    tokens = common + [f"seldom{row}" for row in range(len(common), 180)]
    path = write_npy(tmp_path / "words.npy", lines())
    path.with_suffix(".tokens.txt").write_text("\n".join(tokens), encoding="utf-8")
    (tmp_path / "text.txt").write_text("the house of the green water\n" * 9, encoding="utf-8")
    return path


def test_compress_with_weights_shows_the_weighted_svd(shell: Shell, words: Path) -> None:
    plan = ("compress", words, "-k", 3, "-j", 1, "--weights", "text.txt", "--weight-floor", 4)
    found = shell(*plan, "-o", "run")
    assert (found.code, found.err) == (0, "")
    for shown in ("weighted SVD", "weighted error", "error, never", "error, frequent"):
        assert shown in found.out
    values = json.loads(shell(*plan, "--weight-power", 1, "--json").out)
    text = str(Path("text.txt").absolute())
    assert values["weights"] == {"source": text, "power": 1.0, "floor": 4.0}
    assert values["weighted_svd"]["weighted_error"] > values["weighted_error"]
    shown = shell("info", "run").out
    assert "weighted error" in shown
    assert read_run(Path("run")).record.config["weights"] == text


def test_compress_takes_a_dimension_for_each(shell: Shell, table: Path) -> None:
    found = shell("compress", table, "-k", 3, "-j", "1,2,1", "-o", "run")
    assert found.code == 0
    assert "Dimensions: 1, 2, 1" in found.out
    assert "1 to 2" in found.out
    assert Factorization.load(Path("run")).dimensions == (1, 2, 1)
    assert read_run(Path("run")).record.config["j"] == [1, 2, 1]


def test_compress_finds_k_and_dimensions(shell: Shell, table: Path) -> None:
    plan = ("-k", "auto", "--rate", 0.6, "--allocation", "optimal", "--starts", 2)
    ways = ("--affine", "--loss", "huber", "--moves", 1)
    found = shell("compress", table, *plan, *ways, "-o", "run")
    assert found.code == 0
    assert "was chosen" in found.out
    factorization = Factorization.load(Path("run"))
    assert factorization.affine
    assert factorization.rate >= 0.6
    config = read_run(Path("run")).record.config
    assert (config["k"], config["loss"], config["moves"]) == (factorization.k, "huber", 1)


def test_sweep_with_weights_shows_the_weighted_errors(shell: Shell, words: Path) -> None:
    grid = ("--rates", "0.5", "-k", "3", "--weights", "text.txt", "--allocation", "optimal")
    found = shell("sweep", words, *grid, "-o", "sweep.json")
    assert (found.code, found.err) == (0, "")
    assert "mean weighted error" in found.out
    saved = SweepResult.load("sweep.json")
    fits = [cell for cell in saved.cells if cell.bits == 32]
    assert [cell.method for cell in fits] == ["svd", "weighted svd", "messi"]
    for cell in fits:
        assert f"{cell.weighted_error:.4f}" in found.out
    assert saved.config.allocation == "optimal"


@pytest.mark.parametrize("command", ["compress", "sweep"])
def test_help_says_what_is_taken_when_left_out(command: str, shell: Shell) -> None:
    shown = " ".join(shell(command, "--help").out.split())
    assert f"{DEFAULT_POWER:g} when left out" in shown
    assert f"{DEFAULT_FLOOR:g} when left out" in shown


@pytest.mark.parametrize("plan", [("--method", "svd"), ("-k", 1), ("--method", "svd", "-k", 1)])
def test_compress_by_svd_alone(plan: tuple[str, ...], shell: Shell, table: Path) -> None:
    found = shell("compress", table, *plan, "-j", 2)
    assert found.code == 0
    assert "this is the truncated SVD of rank 2" in found.out
    assert "Starts" not in found.out


def test_sweep_to_csv_and_json(shell: Shell, table: Path, home: Path) -> None:
    grid = ("--rates", "0.3,0.6", "-k", "2,3", "--seeds", "0,1")
    assert shell("sweep", table, *grid, "-o", "sweep.csv").code == 0
    with Path("sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    fits = [row["k"] for row in rows if row["bits"] == "32"]
    assert fits == ["1", "1", *["2"] * 4, *["3"] * 4]
    assert [row["method"] for row in rows[-4:]] == ["rounding"] * 4
    found = shell("sweep", table, *grid, "-o", "sweep.json")
    assert (found.code, found.err) == (0, "")
    saved = SweepResult.load("sweep.json")
    assert [str(cell.relative_error) for cell in saved.cells] == [
        row["relative_error"] for row in rows
    ]
    assert "Written: sweep.json" in found.out
    for k in ("SVD", "k = 2", "k = 3"):
        assert k in found.out
    svd = saved.cells[0]
    assert (svd.k, svd.asked_rate) == (1, 0.3)
    assert f"{svd.relative_error:.4f}" in found.out
    assert not home.exists()


def test_sweep_says_what_is_best_within_bytes(shell: Shell, table: Path) -> None:
    grid = ("--rates", "0.5", "-k", "3", "-o", "sweep.json")
    found = shell("sweep", table, *grid, "--bits", "4")
    assert (found.code, found.err) == (0, "")
    saved = SweepResult.load("sweep.json")
    fitted = [cell.bits for cell in saved.cells if cell.method != "coded"]
    assert fitted == [32, 4, 32, 4, 8, 4, 3, 2]
    assert any(cell.method == "coded" for cell in saved.cells)
    text = " ".join(found.out.split())
    weighed = read_size_curves(saved)
    assert weighed.choices()
    for choice in weighed.choices():
        assert f"{choice.budget:,}" in text
        assert choice.best.name in text
    assert weighed.verdict() in text
    plain = shell("sweep", table, *grid, "--bits", "32", "--shares", "")
    assert {cell.bits for cell in SweepResult.load("sweep.json").cells} == {32}
    assert "rounding" not in plain.out.lower()
    refused = shell("sweep", table, *grid, "--bits", "8,5")
    assert (refused.code, refused.out) == (2, "")
    assert "at 32, 8 and 4 bits, got 8, 5" in refused.err


def test_sweep_keeps_its_fits_in_a_file_until_it_is_done(shell: Shell, table: Path) -> None:
    grid = ("--rates", "0.3", "-k", "2,3", "-o", "sweep.json")
    assert shell("sweep", table, *grid).code == 0
    assert not Path("sweep.json.partial").exists()

    saved = SweepResult.load("sweep.json")
    decides = {
        name: value
        for name, value in asdict(saved.config).items()
        if name not in ("bits", "basis_bits", "shares")
    }
    header = {"sweep": 1, "source": saved.source, "config": decides}
    journal = Journal(Path("sweep.json.partial"), header)
    first = [asdict(cell) for cell in saved.cells[:3]]  # a fit in all its bits
    journal.append({**first[0], "relative_error": 0.125}, *first[1:])
    assert shell("sweep", table, *grid).code == 0
    assert SweepResult.load("sweep.json").cells[0].relative_error == 0.125
    assert not Path("sweep.json.partial").exists()

    journal = Journal(Path("sweep.json.partial"), {**header, "source": "another"})
    journal.append(asdict(saved.cells[0]))
    found = shell("sweep", table, *grid)
    assert found.code == 2
    assert "what remains of a run on another table" in found.err


def test_sweep_to_the_store_and_as_json(shell: Shell, table: Path) -> None:
    found = shell("sweep", table, "--rates", "0.3,0.99", "-k", "2", "--json")
    assert (found.code, found.err) == (0, "")
    values = json.loads(found.out)
    (run,) = RunStore().list().runs
    assert values["written"] == str(run.folder)
    assert [cell["k"] for cell in values["cells"] if cell["bits"] == 32] == [1, 2]
    assert len(values["notes"]) == 3  # no room at 0.99, nor in the smallest shares


def test_info_of_a_compression(shell: Shell, table: Path) -> None:
    shell("compress", table, "-k", 3, "-j", 1, "-o", "run")
    found = shell("info", "run")
    assert (found.code, found.err) == (0, "")
    for text in ("lines, k = 3, j = 1", "compress", "180 × 8", "relative error", "--starts=10"):
        assert text in found.out
    assert "None" not in found.out
    values = json.loads(shell("info", "run", "--json").out)
    assert values["run"] == "run"
    assert values["figures"] == read_run(Path("run")).record.figures


def test_a_coded_plan_is_told_by_its_bytes(
    shell: Shell, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.compression.fit_plan", fit_coded)
    made = shell("compress", table, "-k", 3, "--rate", 0.4, "-o", tmp_path / "run")
    assert made.code == 0
    rows = {line.split("│")[1].strip(): line for line in made.out.splitlines() if "│" in line}
    assert rows["parameters"].split("│")[-2].strip() == "–"
    assert rows["compression rate"].split("│")[-2].strip() == "–"
    plan = engine.Factorization.load(tmp_path / "run")
    plan.save(tmp_path / "plan")
    values = json.loads(shell("info", tmp_path / "plan", "--json").out)
    assert (values["parameters"], values["rate"], values["bits"]) == (None, None, [2, 5])
    assert values["stored_bytes"] == plan.stored_bytes
    shown = shell("info", tmp_path / "plan").out
    assert "2 to 5" in shown
    assert "None" not in shown
    assert "None" not in shell("info", tmp_path / "run").out


def test_info_takes_the_id_of_a_run(shell: Shell, table: Path) -> None:
    shell("compress", table, "-k", 3, "-j", 1)
    (run,) = RunStore().list().runs
    found = shell("info", run.id)
    assert (found.code, found.err) == (0, "")
    assert found.out == shell("info", run.folder).out
    assert json.loads(shell("info", run.id, "--json").out)["run"] == str(run.folder)


def test_info_of_a_sweep(shell: Shell, table: Path) -> None:
    shell("sweep", table, "--rates", "0.3", "-k", "2,3", "--shares", "")
    (run,) = RunStore().list().runs
    found = shell("info", run.folder)
    assert found.code == 0
    for text in ("lines, 3 fits", "sweep", "cells", "180 × 8"):
        assert text in found.out


def test_names_are_printed_as_they_are(shell: Shell, tmp_path: Path) -> None:
    name = "[bold]x[-1] :cat: [red]"
    path = write_npy(tmp_path / f"{name}.npy", lines())
    for arguments in (
        ("compress", path, "-k", 3, "-j", 1, "-o", "run"),
        ("sweep", path, "--rates", "0.5", "-k", "2", "-o", "sweep.json"),
        ("info", "run"),
    ):
        found = shell(*arguments)
        assert found.code == 0
        assert name in found.out


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_any_terminal_can_show_any_name(
    encoding: str, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_npy(tmp_path / "naïve \udce9.npy", lines())  # a file name that is no UTF-8
    strict = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    monkeypatch.setattr(sys, "stdout", strict)
    assert shell("compress", path, "-k", 3, "-j", 1, "-o", "run").code == 0
    assert shell("info", "run", "--json").code == 0
    strict.flush()
    shown = strict.buffer.getvalue().decode(encoding)  # pyright: ignore[reportAttributeAccessIssue]
    assert "\\udce9: 180" in shown
    record = json.loads(shown[shown.index("{") :])
    assert record["source"]["name"] == "naïve \udce9"


def test_progress_is_drawn_on_a_terminal_only(
    shell: Shell, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as many a CI sets it: that is about colours
    assert shell("compress", table, "-k", 3, "-j", 1).err == ""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert "Start 1 of 10" in shell("compress", table, "-k", 3, "-j", 1).err


@pytest.mark.parametrize(
    ("options", "tail"),
    [
        ((), ["--server.port", "8501", "--server.headless", "false"]),
        (
            ("--port", "9000", "--no-browser"),
            ["--server.port", "9000", "--server.headless", "true"],
        ),
    ],
)
def test_app_hands_over_to_streamlit(
    options: tuple[str, ...], tail: list[str], shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(os, "execv", lambda *arguments: calls.append(arguments))
    # Any of these ports may be taken on the machine that tests.
    monkeypatch.setattr(socket.socket, "bind", lambda *_: None)
    assert shell("app", *options).code == 0
    script = str(app_folder() / "app.py")
    command = [sys.executable, "-P", "-m", "streamlit", "run", script, *tail]
    assert calls == [(sys.executable, command)]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that is in use."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_app_takes_the_next_free_port(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, command: calls.append(command))
    monkeypatch.setattr(commands, "_FIRST_PORT", taken)
    assert shell("app").code == 0
    assert int(calls[0][calls[0].index("--server.port") + 1]) > taken


def test_app_refuses_a_taken_port(shell: Shell, taken: int) -> None:
    found = shell("app", "--port", str(taken))
    assert found.code == 2
    assert found.err == (
        f"error: port {taken} is in use or not allowed; name a free one with --port\n"
    )


def test_info_reads_a_saved_factorization(shell: Shell, tmp_path: Path) -> None:
    factorize(torch.randn(20, 4), k=2, j=1).save(tmp_path / "saved")
    assert "factorization in" in shell("info", str(tmp_path / "saved")).out
    figures = json.loads(shell("info", str(tmp_path / "saved"), "--json").out)
    assert (figures["rows"], figures["k"], figures["dimensions"]) == (20, 2, [1, 1])


def test_replacing_a_run_is_said(shell: Shell, table: Path, tmp_path: Path) -> None:
    plan = ("compress", str(table), "-k", "2", "-j", "1", "-o", str(tmp_path / "run"))
    assert shell(*plan).err == ""
    again = shell(*plan, "--json")
    assert again.err == f"Note: replaced the run that was in {tmp_path / 'run'}.\n"
    assert json.loads(again.out)["run"] == str(tmp_path / "run")


def test_replacing_a_file_is_said(shell: Shell, table: Path) -> None:
    shell("compress", table, "-k", 2, "-j", 1)
    (run,) = RunStore().list().runs
    for command in (
        ("report", run.id, "-o", "x.html"),
        ("sweep", table, "--rates", 0.5, "-k", 2, "--shares", "", "-o", "x.csv"),
        ("runs", "export", run.id, "-o", "x.zip"),
    ):
        assert (shell(*command).err, Path(command[-1]).is_file()) == ("", True)
        again = shell(*command, "--json")
        assert (again.code, again.err) == (0, f"Note: replaced the file {command[-1]}.\n")
        assert isinstance(json.loads(again.out), dict)


def test_report_is_one_file(shell: Shell, table: Path, home: Path) -> None:
    shell("compress", table, "-k", 3, "-j", 1, "-o", "run")
    found = shell("report", "run", "-o", "out/lines.html")
    assert (found.code, found.err) == (0, "")
    assert " ".join(found.out.split()) == "Report: out/lines.html"
    report = Path("out/lines.html").read_text(encoding="utf-8")
    assert read_run(Path("run")).record.figures["verdict"] in html.unescape(report)
    shell("compress", table, "-k", 2, "-j", 1)
    (run,) = RunStore().list().runs
    assert json.loads(shell("report", run.id, "--json").out) == {"report": "report.html"}
    assert Path("report.html").is_file()
