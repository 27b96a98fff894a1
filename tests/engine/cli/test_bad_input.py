"""Whatever is wrong: exit code 2, nothing on stdout, and one line that says what and why."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from engine import cli, compression, sources, sweep
from tests.engine.cli.conftest import Shell

PLAN = ("-k", "3", "-j", "1")
GRID = ("--rates", "0.5", "-k", "2")
BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "no such command": (("shrink",), r"No such command 'shrink'\. See --help\."),
    "no source": (("compress",), r"Missing argument 'SOURCE'\. See --help\."),
    "unknown option": (("compress", "{table}", "--kk", "3"), "No such option"),
    "k is a word": (("compress", "{table}", "-k", "many"), "whole number or auto, got 'many'"),
    "j is a word": (("compress", "{table}", "-j", "two,3"), "-j takes whole numbers"),
    "no j": (("compress", "{table}", "-j", ","), "-j takes a whole number, or one for each"),
    "too few j": (("compress", "{table}", "-k", "3", "-j", "1,2"), "as many dimensions"),
    "j's and a budget": (
        ("compress", "{table}", "-k", "2", "-j", "1,2", "--allocation", "optimal"),
        "chooses the dimensions itself",
    ),
    "unknown allocation": (
        ("compress", "{table}", *PLAN, "--allocation", "fair"),
        "one of uniform",
    ),
    "unknown loss": (("compress", "{table}", *PLAN, "--loss", "soft"), "soft"),
    "bits of no kind": (
        ("compress", "{table}", *PLAN, "--bits", "5"),
        "bits must be 8 or 4, got 5",
    ),
    "bits for bases alone": (("compress", "{table}", *PLAN, "--basis-bits", "8"), "give bits"),
    "negative moves": (("compress", "{table}", *PLAN, "--moves", "-1"), "moves must not be neg"),
    "no such language": (
        ("compress", "{table}", *PLAN, "--weights", "xx"),
        "a language or a text file, got 'xx'",
    ),
    "rows without words": (("compress", "{table}", *PLAN, "--weights", "en"), "error"),
    "a negative floor": (
        ("sweep", "{table}", *GRID, "--weights", "en", "--weight-floor", "-1"),
        "floor must be 0 or more",
    ),
    "sweep by an unknown loss": (("sweep", "{table}", *GRID, "--loss", "soft"), "soft"),
    "port out of range": (("app", "--port", "0"), "0 is not in the range 1<=x<=65535"),
    "no such file": (("compress", "none.npy", *PLAN), r"there is no file none\.npy"),
    "no such bundled model": (("compress", "bundled:none", *PLAN), "no bundled model is named"),
    "a pickle": (("compress", "table.pkl", *PLAN), r"table\.pkl: \.pkl files are pickles"),
    "an empty file": (("compress", "empty.npy", *PLAN), r"empty\.npy"),
    "no tokens file": (("compress", "{table}", *PLAN, "--tokens", "none.txt"), r"none\.txt"),
    "a name for a nameless array": (
        ("compress", "{table}", *PLAN, "--tensor", "weight"),
        "leave the name out",
    ),
    "no size": (
        ("compress", "{table}", "-k", "3"),
        r"no size is given; give one of --rate .*, -j \(.*\) and --max-bytes \(the size of coded",
    ),
    "no size of an evaluated plan": (("evaluate", "{table}", "-k", "3"), "one of --rate"),
    "no size of coded": (
        ("compress", "{table}", "--method", "coded"),
        "no size is given; give --max-bytes",
    ),
    "no size of the svd": (
        ("compress", "{table}", "--method", "svd"),
        r"no size is given; give one of --rate .* and -j \(the dimension\)\n",
    ),
    "both j and rate": (
        ("compress", "{table}", *PLAN, "--rate", "0.4"),
        "--rate and -j are given, and each is a size by itself; give one of --rate",
    ),
    "three sizes": (
        ("compress", "{table}", *PLAN, "--rate", "0.4", "--max-bytes", "3%"),
        "--rate, -j and --max-bytes are given",
    ),
    "bytes and a rate": (
        ("compress", "{table}", "--rate", "0.4", "--max-bytes", "3%"),
        "--rate and --max-bytes are given",
    ),
    "j of coded": (
        ("compress", "{table}", "--method", "coded", "-j", "2"),
        "-j is no size of --method coded; give --max-bytes",
    ),
    "bytes of messi": (
        ("compress", "{table}", "--method", "messi", "--max-bytes", "3%"),
        "--max-bytes is no size of --method messi; give one of --rate",
    ),
    "no source, no size": (("compress", "none.npy", "-o", "out"), r"there is no file none\.npy"),
    "no model, no size": (
        ("compress", "none", "-o", "out"),
        "none: no file or folder of that name",
    ),
    "no place, no size": (
        ("compress", "no where", "-o", "out"),
        "'no where' is no file, no folder",
    ),
    "no shards, no size": (("evaluate", "no-*.npy", "-k", "3"), r"no-\*\.npy"),
    "k 0, no size": (("compress", "{table}", "-k", "0"), r"k must be 1 or more \(.*\), got 0"),
    "bits 3, no size": (("compress", "{table}", "--bits", "3"), "bits must be 8 or 4, got 3"),
    "a bad language, no size": (
        ("compress", "{table}", "--weights", "klingon"),
        "a language or a text file, got 'klingon'",
    ),
    "a bad power, no size": (
        ("compress", "{table}", "--weights", "en", "--weight-power", "-1"),
        "power must be 0 or more",
    ),
    "a bad loss, no size": (("compress", "{table}", "--loss", "soft"), "soft"),
    "rate 1": (("compress", "{table}", "--rate", "1"), "0 to below 1, got 1"),
    "rate NaN": (("compress", "{table}", "--rate", "nan"), "0 to below 1, got nan"),
    "no room": (("compress", "{table}", "--rate", "0.9", "-k", "30"), "leaves no room for k = 30"),
    "k too large": (("compress", "{table}", "-k", "181", "-j", "1"), "between 1 and 180"),
    "k far too large": (("compress", "{table}", "-k", "999999", "--rate", "0.4"), "1 and 180"),
    "j too large": (("compress", "{table}", "-k", "3", "-j", "9"), "between 1 and 8"),
    "no starts": (("compress", "{table}", *PLAN, "--starts", "0"), "at least one start"),
    "seed negative": (("compress", "{table}", *PLAN, "--seed", "-1"), "seed must not be negative"),
    "unknown method": (("compress", "{table}", *PLAN, "--method", "pca"), "one of messi, svd"),
    "svd of three": (
        ("compress", "{table}", *PLAN, "--method", "svd"),
        "an SVD has one subspace, got k = 3",
    ),
    "unknown seeding": (("compress", "{table}", *PLAN, "--seeding", "best"), "unknown seeding"),
    "seeding without a count": (
        ("compress", "{table}", *PLAN, "--seeding", "directions=,random=2"),
        "counts as in directions=3,random=10, got 'directions=,random=2'",
    ),
    "seeding half a plan": (
        ("compress", "{table}", *PLAN, "--seeding", "directions=1,random"),
        "counts as in directions=3,random=10",
    ),
    "seeding twice": (
        ("compress", "{table}", *PLAN, "--seeding", "random=1,random=2"),
        "names one kind twice, got 'random=1,random=2'; add",
    ),
    "output is a file": (("compress", "{table}", *PLAN, "-o", "empty.npy"), "no folder you may"),
    "output holds other things": (("compress", "{table}", *PLAN, "-o", "full"), "would be lost"),
    "sweep to a text": (("sweep", "{table}", *GRID, "-o", "x.txt"), r"a \.csv or \.json file"),
    "sweep to nowhere": (("sweep", "{table}", *GRID, "-o", "no/x.csv"), "no is not a folder"),
    "sweep to a folder": (("sweep", "{table}", *GRID, "-o", "folder.csv"), "is a directory"),
    "rates are words": (
        ("sweep", "{table}", "--rates", "low,high"),
        "--rates takes numbers with commas between, got 'low,high'",
    ),
    "ks are fractions": (("sweep", "{table}", "-k", "2.5"), "-k takes whole numbers"),
    "no rates": (("sweep", "{table}", "--rates", ","), "at least one rate, one k and one seed"),
    "a rate over 1": (("sweep", "{table}", "--rates", "0.5,40"), "below 1, got 40"),
    "a seed below 0": (("sweep", "{table}", *GRID, "--seeds", "0,-1"), "seeds of at least 0"),
    "sweep without starts": (("sweep", "{table}", *GRID, "--starts", "0"), "at least 1 start"),
    "a k over n": (("sweep", "{table}", "-k", "2,181"), "between 1 and 180"),
    "nothing possible": (
        ("sweep", "{table}", "--rates", "0.99", "--shares", ""),
        "no cell of the sweep",
    ),
    "info of nothing": (("info", "none"), "there is no run 'none': neither a folder"),
    "info of a file": (("info", "empty.npy"), r"there is no run 'empty\.npy': neither a folder"),
    "info of a path": (("info", "no/run"), "there is no run 'no/run': neither a folder"),
    "report of nothing": (("report", "none"), "nor an id in .*/home/runs; check the path"),
    "info of no run": (("info", "full"), r"full is not a run: it holds no run\.json"),
    "info of a damaged run": (("info", "damaged"), "expected JSON, could not read it"),
}


@pytest.fixture
def surroundings(table: Path, tmp_path: Path) -> None:
    """The files and folders that the bad inputs name."""
    (tmp_path / "empty.npy").touch()
    (tmp_path / "table.pkl").write_bytes(b"\x80\x04.")
    (tmp_path / "folder.csv").mkdir()
    for folder, file in (("full", "precious.txt"), ("damaged", "run.json")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text("{")


@pytest.mark.usefixtures("surroundings")
@pytest.mark.parametrize("name", BAD)
def test_each_is_refused_in_one_line(name: str, shell: Shell, table: Path, home: Path) -> None:
    arguments, message = BAD[name]
    found = shell(*(argument.format(table=table) for argument in arguments))
    assert found.code == 2
    assert found.out == ""
    assert re.fullmatch(r"error: [^\n]+\n", found.err)
    assert re.search(message, found.err)
    assert not home.exists()


def refuse_work(*_: object, **__: object) -> torch.Tensor:
    """Fail when the table is read or fitted."""
    pytest.fail("worked although there is no place for the result")


@pytest.mark.usefixtures("surroundings")
@pytest.mark.parametrize(
    "arguments",
    [
        ("compress", "{table}", *PLAN, "-o", "full"),
        ("compress", "{table}", *PLAN),
        ("sweep", "{table}", *GRID, "-o", "no/x.csv"),
        ("sweep", "{table}", *GRID),
    ],
)
def test_a_bad_place_is_refused_before_the_work(
    arguments: tuple[str, ...], shell: Shell, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", "empty.npy")  # a file is no place for runs
    monkeypatch.setattr(sources, "load_table", refuse_work)
    monkeypatch.setattr(compression, "compress_table", refuse_work)
    monkeypatch.setattr(sweep, "run_sweep", refuse_work)
    found = shell(*(argument.format(table=table) for argument in arguments))
    assert found.code == 2
    assert re.fullmatch(r"error: [^\n]+\n", found.err)


def test_bugs_are_not_hidden(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(cli.group, "main", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        shell("info", "x")


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, cli.click.Abort])
def test_an_interrupt_is_130(
    interrupt: Callable[[], BaseException], shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(**_: object) -> None:
        raise interrupt()

    monkeypatch.setattr(cli.group, "main", stop)
    found = shell("info", "x")
    assert (found.code, found.out, found.err) == (130, "", "Interrupted; nothing was written.\n")
