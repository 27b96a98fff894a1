"""From a run's record back to what made it: a command line, a Python snippet, a job.

All three say what the record says and no more, so that a run is made again from its JSON alone.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeGuard, cast

from engine.errors import EngineError, FormatError, ParameterError, check_names
from engine.frequencies.row_use import NO_WEIGHTS
from engine.grid import LISTS, PLAIN_BITS, SweepConfig
from engine.paths import user_data_folder
from engine.plans import CompressionConfig
from engine.provenance import installed_versions
from engine.records import RunRecord, RunSource

_OPTIONS = {"n_init": "starts"}  # named otherwise than their field
_ALWAYS = (
    "k",
    "j",
    "rate",
    "seed",
    "rates",
    "ks",
    "seeds",
    "n_init",
    "shares",
)  # also where left out
_MEASURED = ("neighbours", "queries")  # settings of a plan that checks have no use for
_CHECKED = ("run", "checks", "options")  # what a job that checks a plan is given
_READING = ("words", "stsb", "probe")  # checks whose data are a folder's or the hub's
_TOLD = ("data", "text", "probe_task")
_SUFFIXES = (".npy", ".npz", ".safetensors", ".json", ".vec", ".txt", ".gz", ".tsv", ".tokens")
_LINE = 88


def read_config(record: RunRecord) -> CompressionConfig | SweepConfig:
    """The plan or the grid of a run, also where an older version wrote it.

    Of checks it is the plan that was checked.

    Raises:
        FormatError: If it is none that this version knows.
    """
    kind = SweepConfig if record.kind == "sweep" else CompressionConfig
    try:
        if record.kind == "evaluate":
            _check_checks(record.config)
        values: dict[str, Any] = dict(
            record.config["plan"] if record.kind == "evaluate" else record.config
        )
        check_names("the config of a run", values, [item.name for item in fields(kind)])
        if kind is SweepConfig:
            values = {"bits": [PLAIN_BITS], **values}  # all there was before there were codings
            values |= {name: tuple(values[name]) for name in LISTS if name in values}
        return kind(**values)
    except (EngineError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(
            f"the run {record.name!r} has settings that this version cannot repeat: {error}"
        ) from error


def _check_checks(config: Mapping[str, Any]) -> None:
    """That what is said of checks is of the form that a job takes.

    Raises:
        ParameterError: If a name is unknown, or something is no text.
        KeyError: If something is missing.
    """
    check_names("the config of checks", config, [*_CHECKED, "plan"])
    check_names("the options of checks", config["options"], [*_TOLD, "seed"])
    if not _is_list(config["checks"]) or not all(
        isinstance(name, str) for name in config["checks"]
    ):
        raise ParameterError(f"checks must be a list of names, got {config['checks']!r}")


def job_params(record: RunRecord) -> dict[str, Any]:
    """What the task of the record's kind (`engine.jobs.tasks`) is given to make the run again.

    Raises:
        FormatError: If this version cannot repeat it.
    """
    config = read_config(record)
    source = {"spec": record.source["spec"], "tensor": None, "tokens": None}
    source |= _given(record.source)
    if record.kind != "evaluate":
        return {"source": source, "config": asdict(config)}
    return {"source": source, **{name: record.config[name] for name in _CHECKED}}


def command_line(record: RunRecord) -> str:
    """The command that makes the run again, quoted for a POSIX shell.

    Raises:
        FormatError: If this version cannot repeat it.
    """
    left_out = _MEASURED if record.kind == "evaluate" else ()
    options = _options(read_config(record), left_out)
    own = record.source
    options += [_option(name, value) for name, value in _given(own).items()]
    if record.kind == "evaluate":
        told = {name: record.config["options"].get(name) for name in _TOLD}
        options += [f"--task={name}" for name in record.config["checks"]]
        options += [_option(name, value) for name, value in told.items() if value is not None]
    spec = own["spec"]
    # What begins like an option must stand behind a double dash.
    words = [*options, "--", spec] if spec.startswith("-") else [spec, *options]
    return shlex.join(["subspace-atlas", record.kind, *words])


def python_snippet(record: RunRecord) -> str:
    """A few lines of Python that make the run again and print what came of it.

    Raises:
        FormatError: If this version cannot repeat it.
    """
    config, own = read_config(record), record.source
    given = _given(own)
    spec = repr(own["spec"])
    table = f"engine.load_table({', '.join([spec, *_keywords(given)])})"
    imports, lines = {
        "compress": (
            "from engine.compression import CompressionConfig, compress_table",
            ("compression = compress_table(table, config)", "print(compression.verdict)"),
        ),
        "sweep": (
            "from engine.sweep import SweepConfig",
            ("result = engine.run_sweep(table, config)", "print(result.to_csv())"),
        ),
        "evaluate": (
            "from engine.compression import CompressionConfig\n"
            "from engine.evaluation.subject import CheckOptions",
            (
                _call("options = CheckOptions", record.config.get("options", {})),
                f"checks = {record.config.get('checks')!r}",
                "found = engine.evaluate(table, checks, config=config, options=options)",
                "print(found.as_dict())",
            ),
        ),
    }[record.kind]
    # Checks of a model need more of it than its rows.
    loaded = spec if record.kind == "evaluate" and not given else table
    told = {name: part for name, part in asdict(config).items() if name in ("seed", "seeds")}
    call = _call(f"config = {type(config).__name__}", _changed(config) | told)
    return "\n".join(["import engine", imports, "", f"table = {loaded}", call, *lines, ""])


def cautions(record: RunRecord) -> tuple[str, ...]:
    """What to mind when the run is made again, each a full sentence for the user."""
    found = [_about_path(path) for path in _paths(record)]
    config = read_config(record)
    if (
        isinstance(config, CompressionConfig)
        and record.kind == "evaluate"
        and record.config["options"].get("seed", 0) != config.seed
    ):
        found.append(
            "The command has one seed for the plan and the checks, the run had two; the snippet "
            "has both."
        )
    reading = [name for name in record.config.get("checks", ()) if name in _READING]
    if reading and not record.config["options"].get("data"):
        found.append(
            f"The data of {', '.join(reading)} came from the folder that SUBSPACE_ATLAS_DATA "
            "named, or from the hub; where neither is at hand, add --data FOLDER."
        )
    now = installed_versions()
    other = [
        f"{name} {version} (here {now[name]})"
        for name, version in record.versions.items()
        if now.get(name, version) != version
    ]
    if other:
        found.append(f"Made with {', '.join(other)}: figures may differ in their last digits.")
    return tuple(sentence for sentence in found if sentence)


def _given(source: RunSource) -> dict[str, str]:
    """What the source was given beside its spec."""
    found = {"tensor": source.get("tensor"), "tokens": source.get("tokens")}
    return {name: value for name, value in found.items() if value is not None}


def _paths(record: RunRecord) -> list[str]:
    """What the run read that may be a file."""
    config = read_config(record)
    told = record.config.get("options", {})
    named = [record.source["spec"], record.source.get("tokens"), told.get("text"), told.get("data")]
    weights = "" if config.weights == NO_WEIGHTS else config.weights
    return [str(path) for path in (*named, weights) if path]


def _about_path(path: str) -> str:
    """A sentence where a path is not found from everywhere, else nothing."""
    place = Path(path)
    if user_data_folder() / "uploads" in place.parents:
        return (
            f"{place.name} was uploaded and is kept on this machine; elsewhere, give the path of "
            "your copy."
        )
    if place.is_absolute() or not (place.suffix in _SUFFIXES or path.startswith(".")):
        return ""  # found from anywhere, or the name of a model or a language
    return f"{path} is seen from the folder the run was made in; run it there."


def _options(config: CompressionConfig | SweepConfig, left_out: Iterable[str] = ()) -> list[str]:
    """Options for the size, the seeds, and whatever is not as it is left out."""
    changed = _changed(config)
    words: list[str] = []
    for name, value in asdict(config).items():
        if name in left_out or value is None or not (name in changed or name in _ALWAYS):
            continue
        if name == "n_init" and name not in changed and _is_coded(config):
            continue  # there is one start, however many others take when they are not told
        if name in ("k", "ks", "j"):
            # A comma says that it is one dimension for each, even of one subspace.
            comma = "," if name == "j" and _is_list(value) and len(value) == 1 else ""
            words += [f"-{name[0]}", f"{_text(value)}{comma}"]
        else:
            words.append(f"--{name}" if value is True else _option(name, value))
    return words


def _is_coded(config: CompressionConfig | SweepConfig) -> bool:
    return isinstance(config, CompressionConfig) and config.method == "coded"


def _option(name: str, value: object) -> str:
    return f"--{_OPTIONS.get(name, name.replace('_', '-'))}={_text(value)}"


def _text(value: object) -> str:
    """A setting as the command line reads it."""
    if isinstance(value, Mapping):
        counts = cast("Mapping[str, int]", value)
        return ",".join(f"{name}={count}" for name, count in counts.items())
    return ",".join(map(str, value)) if _is_list(value) else str(value)


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _changed(config: CompressionConfig | SweepConfig) -> dict[str, Any]:
    """The settings that are not the defaults."""
    default = {item.name: item.default for item in fields(config)}
    return {name: value for name, value in asdict(config).items() if value != default[name]}


def _call(name: str, values: Mapping[str, Any]) -> str:
    """A call on one line where it is short, else with a line an argument."""
    whole = f"{name}({', '.join(_keywords(values))})"
    if len(whole) <= _LINE:
        return whole
    return "\n".join([f"{name}(", *(f"    {word}," for word in _keywords(values)), ")"])


def _keywords(values: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value!r}" for name, value in values.items()]
