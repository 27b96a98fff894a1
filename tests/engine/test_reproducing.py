"""A run is made again from its JSON alone: by the command, by the snippet, and by a job."""

from __future__ import annotations

import contextlib
import io
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.cli.commands import group
from engine.cli.options import read_grid, read_plan
from engine.compression import Compression, CompressionConfig, compress_table
from engine.errors import EngineError, FormatError
from engine.grid import SweepConfig
from engine.jobs.tasks import TASKS
from engine.progress import ignore_progress
from engine.provenance import installed_versions
from engine.recording import record_compression
from engine.records import RunRecord
from engine.reproducing import cautions, command_line, job_params, python_snippet, read_config
from engine.runs import RunStore
from engine.sources import load_table
from tests.engine.tables import lines, write_npy
from tests.engine.test_records import SOURCE, make_record

NOT_CONFIG = ("source", "tensor", "tokens", "as_json", "output")
texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
rates = st.floats(0.001, 0.999)
fits: dict[str, st.SearchStrategy[Any]] = {
    "affine": st.booleans(),
    "loss": st.sampled_from(["squared", "l1", "huber", "l1.5", "tukey"]),
    "weights": st.sampled_from(["none", "en", "de"]) | texts,
    "weight_power": st.floats(0, 1),
    "weight_floor": st.floats(0, 1e6),
    "n_init": st.integers(1, 50),
    "moves": st.integers(0, 9),
}


@st.composite
def plans(draw: st.DrawFn) -> CompressionConfig:
    size: dict[str, Any] = draw(
        st.fixed_dictionaries({"rate": rates})
        | st.fixed_dictionaries({"j": st.integers(0, 400)})
        | st.fixed_dictionaries({"j": st.lists(st.integers(0, 400), min_size=1, max_size=4)})
    )
    several = isinstance(size.get("j"), list)
    method = draw(st.sampled_from(["messi"] if several else ["messi", "svd"]))
    ks = st.just(1) if method == "svd" else st.sampled_from([None, 1, 5, 20, "auto"])
    counts = st.dictionaries(
        st.sampled_from(["directions", "norms", "random"]), st.integers(0, 9), min_size=1
    )
    named = st.sampled_from(["auto", "directions", "norms", "random"])
    own = {
        "k": ks,
        "allocation": st.sampled_from(["uniform"] if several else ["uniform", "optimal"]),
        "seed": st.integers(0, 2**40),
        "seeding": named | counts,
        "bits": st.sampled_from([None, 4, 8]),
        "basis_bits": st.sampled_from([8, 16]),
        "neighbours": st.integers(0, 50),
        "queries": st.integers(1, 5000),
    }
    values = {**size, "method": method, **draw(st.fixed_dictionaries({}, optional={**fits, **own}))}
    if values.get("bits") is None:
        values.pop("basis_bits", None)
    return CompressionConfig(**values)


grids = st.fixed_dictionaries(
    {},
    optional={
        **fits,
        "rates": st.lists(rates, min_size=1, max_size=4).map(tuple),
        "ks": st.lists(st.integers(1, 40), min_size=1, max_size=4).map(tuple),
        "seeds": st.lists(st.integers(0, 99), min_size=1, max_size=4).map(tuple),
        "seeding": st.sampled_from(["auto", "norms"]),
        "allocation": st.sampled_from(["uniform", "optimal"]),
        "bits": st.lists(st.sampled_from([4, 8, 32]), max_size=3).map(tuple),
        "shares": st.lists(st.sampled_from([0.024, 0.1, 1.0]), max_size=3).map(tuple),
        "basis_bits": st.sampled_from([8, 16]),
    },
).map(lambda values: SweepConfig(**values))

sources = st.fixed_dictionaries({"spec": texts}, optional={"tensor": texts, "tokens": texts})


def record_of(config: CompressionConfig | SweepConfig, source: dict[str, str]) -> RunRecord:
    """As it is read back from the disk: lists for tuples."""
    kind = "sweep" if isinstance(config, SweepConfig) else "compress"
    made = make_record(kind=kind, config=asdict(config), source={**SOURCE, **source})
    return RunRecord.from_json(made.to_json())


def parse(command: str) -> dict[str, Any]:
    """The options of a command as our own command line takes them."""
    program, name, *words = shlex.split(command)
    assert program == "subspace-atlas"
    return group.commands[name].make_context(name, words).params


@given(plans() | grids, sources)
def test_command_gives_the_same_config_and_source_back(
    config: CompressionConfig | SweepConfig, source: dict[str, str]
) -> None:
    options = parse(command_line(record_of(config, source)))
    told = {name: options.pop(name) for name in NOT_CONFIG}
    read = read_grid if isinstance(config, SweepConfig) else read_plan
    assert read(options) == config
    assert {name: told[name] for name in ("spec", *source) if name in told} == {
        name: value for name, value in source.items() if name != "spec"
    }
    assert told["source"] == source["spec"]
    assert (told["as_json"], told["output"]) == (False, None)


@given(plans() | grids, sources)
def test_snippet_makes_the_same_config(
    config: CompressionConfig | SweepConfig, source: dict[str, str]
) -> None:
    snippet = python_snippet(record_of(config, source))
    table, call = snippet.index("table = "), snippet.index("config = ")
    end = snippet.index("compression = " if "compression = " in snippet else "result = ")
    heard: list[tuple[tuple[str, ...], dict[str, str]]] = []

    class Engine:
        @staticmethod
        def load_table(*arguments: str, **named: str) -> None:
            heard.append((arguments, named))

    scope: dict[str, Any] = {
        "engine": Engine,
        "CompressionConfig": CompressionConfig,
        "SweepConfig": SweepConfig,
    }
    exec(snippet[table:call], scope)
    exec(snippet[call:end], scope)
    assert scope["config"] == config
    beside = {name: value for name, value in source.items() if name != "spec"}
    assert heard == [((source["spec"],), beside)]


@given(plans() | grids)
def test_job_is_given_the_same_config(config: CompressionConfig | SweepConfig) -> None:
    record = record_of(config, {"spec": "a.npy", "tensor": "rows"})
    params = job_params(record)
    assert params["source"] == {"spec": "a.npy", "tensor": "rows", "tokens": None}
    again = make_record(kind=record.kind, config=params["config"])
    assert read_config(RunRecord.from_json(again.to_json())) == config


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path / "home"))
    return write_npy(tmp_path / "it's lines.npy", lines())


def test_snippet_command_and_job_fit_the_same_labels(table: Path) -> None:
    loaded = load_table(table)
    config = CompressionConfig(k=3, rate=0.5, seed=7, n_init=2, loss="l1", neighbours=3)
    first = compress_table(loaded, config)
    run = RunStore().create(*record_compression(loaded, config, first))
    scope: dict[str, Any] = {}
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(python_snippet(run.record), scope)
    second = scope["compression"]
    assert isinstance(second, Compression)
    assert said.getvalue() == f"{first.verdict}\n"
    assert torch.equal(second.factorization.labels, first.factorization.labels)
    assert asdict(second.figures) == asdict(first.figures)
    made = TASKS["compress"](job_params(run.record), ignore_progress)
    again = RunStore().load(str(made["run"])).record
    assert again.config == run.record.config
    assert again.figures["relative_error"] == first.figures.relative_error


def test_tensor_and_tokens_are_written_down(tmp_path: Path) -> None:
    path = write_npy(tmp_path / "rows.npy", lines())
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"n{row}" for row in range(180)), encoding="utf-8")
    loaded = load_table(path, tokens=names)
    config = CompressionConfig(k=3, j=1, n_init=1, neighbours=0)
    record, _ = record_compression(loaded, config, compress_table(loaded, config))
    assert job_params(record)["source"]["tokens"] == str(names)
    assert parse(command_line(record))["tokens"] == str(names)
    plain, _ = record_compression(load_table(path), config, compress_table(loaded, config))
    assert "tokens" not in plain.source, "older versions read it as well"


def test_sweep_of_before_there_were_codings_is_repeated_without() -> None:
    old = asdict(SweepConfig(rates=(0.5,), ks=(2,)))
    del old["bits"], old["basis_bits"]
    record = make_record(kind="sweep", config=old)
    assert read_config(record).bits == (32,)
    assert parse(command_line(record))["bits"] == "32"


CHECKS = {
    "run": None,
    "checks": ["valence", "fidelity"],
    "options": {"data": None, "text": "my text.txt", "probe_task": "sst2", "seed": 4},
    "plan": {"k": 5, "rate": 0.4, "seed": 4},
}


def test_checks_are_run_again_with_their_plan() -> None:
    record = make_record(kind="evaluate", config=CHECKS)
    options = parse(command_line(record))
    assert options["tasks"] == ("valence", "fidelity")
    assert (options["text"], options["probe_task"], options["data"]) == (
        "my text.txt",
        "sst2",
        None,
    )
    plan = {name: options[name] for name in options if name not in {*NOT_CONFIG, "tasks"}}
    for name in ("text", "probe_task", "data", "only_list"):
        del plan[name]
    assert read_plan(plan) == CompressionConfig(k=5, rate=0.4, seed=4)
    compile(python_snippet(record), "snippet", "exec")
    assert job_params(record) == {
        "source": {"spec": "bundled:minilm", "tensor": None, "tokens": None},
        "run": None,
        "checks": ["valence", "fidelity"],
        "options": CHECKS["options"],
    }
    assert not any("seed" in sentence for sentence in cautions(record))
    other = make_record(kind="evaluate", config=CHECKS | {"plan": {"k": 5, "rate": 0.4}})
    assert any("the run had two" in sentence for sentence in cautions(other))


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("compress", {"k": 5, "rate": 0.4, "future": 1}),
        ("compress", {"k": 5}),
        ("compress", {"rate": 0.4, "seed": "x"}),
        ("sweep", {"rates": 5}),
        ("evaluate", {}),
        ("evaluate", CHECKS | {"options": {"x=1)\nimport os  #": 1}}),
        ("evaluate", CHECKS | {"checks": "valence"}),
        ("evaluate", CHECKS | {"plan": 3}),
    ],
)
def test_what_cannot_be_repeated_is_told(kind: str, config: dict[str, Any]) -> None:
    record = make_record(kind=kind, config=config)
    for make in (command_line, python_snippet, job_params, cautions):
        with pytest.raises(FormatError, match="settings that this version cannot repeat"):
            make(record)


json_values = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers())


@given(st.dictionaries(st.sampled_from([*asdict(SweepConfig()), "k", "j", "rate"]), json_values))
def test_any_record_is_repeated_or_refused(config: dict[str, Any]) -> None:
    for kind in ("compress", "sweep"):
        try:
            command_line(make_record(kind=kind, config=config))
            cautions(make_record(kind=kind, config=config))
        except EngineError:
            pass


def test_what_to_mind_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBSPACE_ATLAS_HOME", str(tmp_path))
    config = {"k": 2, "rate": 0.4, "weights": "notes.txt"}
    upload = {**SOURCE, "spec": str(tmp_path / "uploads" / "ab" / "mine.npy")}
    versions = {**installed_versions(), "torch": "0.0.1"}
    said = cautions(make_record(config=config, source=upload, versions=versions))
    assert said[0].startswith("mine.npy was uploaded")
    assert said[1].startswith("notes.txt is seen from the folder")
    assert said[2].startswith(f"Made with torch 0.0.1 (here {torch.__version__})")
    plain = make_record(config={"rate": 0.4, "weights": "en"}, versions=installed_versions())
    assert cautions(plain) == ()


def test_checks_that_read_data_say_where_it_was() -> None:
    def said(checks: list[str], **options: object) -> bool:
        told = CHECKS | {"checks": checks, "options": {"seed": 4, **options}}
        found = cautions(make_record(kind="evaluate", config=told))
        return any("add --data" in sentence for sentence in found)

    assert said(["valence", "stsb"])
    assert not said(["valence", "fidelity"])
    assert not said(["stsb"], data="/somewhere")
