"""The commands, each a few lines over the engine."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from engine import __version__
from engine.cli.screen import progress_bars, show_compression, show_figures, show_record, show_sweep
from engine.errors import ParameterError

if TYPE_CHECKING:
    from engine.factorization import Factorization
    from engine.recording import FileWriter
    from engine.records import RunRecord
    from engine.runs import Run

_FIRST_PORT = 8501
_Command = TypeVar("_Command", bound=Callable[..., Any])


def _source_options(command: _Command) -> _Command:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON for machines."),
        click.option("--tokens", help="File with one token a line, in row order."),
        click.option("--tensor", help="Name of the array in a .npz or .safetensors file."),
        click.argument("source"),
    ):
        command = option(command)
    return command


@click.group()
@click.version_option(__version__, message="%(version)s")
def group() -> None:
    """Shrink embedding layers with k subspaces instead of one, and see what that does."""


@group.command()
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port to serve on; the first free one from 8501."
)
@click.option("--no-browser", is_flag=True, help="Serve without opening a browser.")
def app(port: int | None, no_browser: bool) -> None:
    """Serve the explorer on this machine and open it in the browser."""
    from engine.paths import app_folder

    command = [sys.executable, "-P", "-m", "streamlit", "run", str(app_folder() / "app.py")]
    port = _free_port(port)
    click.echo(f"Subspace Atlas is at http://localhost:{port} (Ctrl-C stops it)", err=True)
    command += ["--server.port", str(port), "--server.headless", str(no_browser).lower()]
    os.execv(sys.executable, command)


@group.command()
@_source_options
@click.option("--method", default="messi", show_default=True, help="messi or svd.")
@click.option("-k", type=int, help="Number of subspaces; 5 when left out, 1 for the SVD.")
@click.option("-j", type=int, help="Dimension of each subspace; give this or --rate.")
@click.option("--rate", type=float, help="Share of the parameters to remove, 0 to 1.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--starts", type=int, default=3, show_default=True, help="Starts of EM.")
@click.option(
    "--seeding",
    default="auto",
    show_default=True,
    help="auto; directions, norms or random; or how many of each: directions=3,random=10.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Run folder to write.")
def compress(  # noqa: PLR0913 - one parameter an option
    *,
    source: str,
    tensor: str | None,
    tokens: str | None,
    as_json: bool,
    method: str,
    k: int | None,
    j: int | None,
    rate: float | None,
    seed: int,
    starts: int,
    seeding: str,
    output: Path | None,
) -> None:
    """Fit k subspaces to the rows of SOURCE, beside the SVD that stores as much.

    SOURCE is bundled:minilm, a Hugging Face id, a model folder, or a .npy, .npz, .safetensors,
    .vec or .txt file. The run is written to -o, or else to where the app lists it.
    """
    from engine.compression import CompressionConfig, compress_table
    from engine.recording import record_compression
    from engine.sources import load_table

    _check_place(output)
    table = load_table(source, tensor=tensor, tokens=tokens)
    config = CompressionConfig(
        method=method,
        k=k,
        j=j,
        rate=rate,
        seed=seed,
        n_init=starts,
        seeding=_parse_seeding(seeding),
    )
    with progress_bars() as progress:
        compression = compress_table(table, config, progress=progress)
    run = _store(output, *record_compression(table, config, compression))
    if as_json:
        _print_json({"run": str(run.folder), "source": table.name, **compression.as_dict()})
    else:
        show_compression(table.name, compression, run.folder)


@group.command()
@_source_options
@click.option("--rates", default="0.2,0.4,0.6,0.8", show_default=True)
@click.option("-k", "ks", default="2,3,5,10", show_default=True, help="The SVD is always added.")
@click.option("--seeds", default="0", show_default=True)
@click.option("--starts", type=int, default=1, show_default=True, help="Starts of each fit.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A .csv or .json file; else the sweep goes to where the app lists it.",
)
def sweep(  # noqa: PLR0913 - one parameter an option
    *,
    source: str,
    tensor: str | None,
    tokens: str | None,
    as_json: bool,
    rates: str,
    ks: str,
    seeds: str,
    starts: int,
    output: Path | None,
) -> None:
    """Fit every k at every rate to the rows of SOURCE, beside the SVD."""
    from engine.recording import record_sweep
    from engine.sources import load_table
    from engine.sweep import SweepConfig, check_sweep_target, run_sweep

    if output is None:
        _check_place(None)
    else:
        check_sweep_target(output)
    config = SweepConfig(
        rates=tuple(_parse_list("--rates", rates, float)),
        ks=tuple(_parse_list("-k", ks, int)),
        seeds=tuple(_parse_list("--seeds", seeds, int)),
        n_init=starts,
    )
    table = load_table(source, tensor=tensor, tokens=tokens)
    with progress_bars() as progress:
        result = run_sweep(table, config, progress=progress)
    if output is not None:
        result.save(output)
        place = output
    else:
        place = _store(None, *record_sweep(table, result)).folder
    if as_json:
        _print_json({"written": str(place), **asdict(result)})
    else:
        show_sweep(result, place)


@group.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def info(folder: Path, as_json: bool) -> None:
    """Say what is in FOLDER: a run, or what Factorization.save wrote."""
    from engine.factorization import Factorization
    from engine.runs import RECORD_FILE as RUN_FILE
    from engine.runs import read_run
    from engine.storage import RECORD_FILE

    if (folder / RECORD_FILE).is_file() and not (folder / RUN_FILE).is_file():
        figures = _describe(Factorization.load(folder))
        if as_json:
            _print_json({"factorization": str(folder), **figures})
        else:
            show_figures(f"factorization in {folder}", figures)
        return
    run = read_run(folder)
    if as_json:
        _print_json({"run": str(run.folder), **asdict(run.record)})
    else:
        show_record(run)


def _check_place(output: Path | None) -> None:
    from engine.runs import RunStore, check_run_target

    check_run_target(RunStore().root / "new" if output is None else output)


def _describe(factorization: Factorization) -> dict[str, object]:
    record = factorization.record
    return {
        "method": record.method,
        "rows": factorization.shape[0],
        "columns": factorization.shape[1],
        "k": factorization.k,
        "dimensions": list(factorization.dimensions),
        "parameters": factorization.parameters,
        "stored_bytes": factorization.stored_bytes,
        "rate": factorization.rate,
        "config": record.config,
        "source": record.source,
    }


def _free_port(wanted: int | None) -> int:
    for port in range(_FIRST_PORT, _FIRST_PORT + 100) if wanted is None else (wanted,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    taken = f"port {wanted}" if wanted else f"every port from {_FIRST_PORT} on"
    raise ParameterError(f"{taken} is in use or not allowed; name a free one with --port")


def _store(output: Path | None, record: RunRecord, write: FileWriter) -> Run:
    from engine.runs import RECORD_FILE, RunStore, write_run

    if output is None:
        return RunStore().create(record, write)
    if (output / RECORD_FILE).is_file():
        click.echo(f"Replacing the run in {output}", err=True)
    return write_run(output, record, write)


def _parse_list(option: str, text: str, kind: type[Any]) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",") if part.strip()]
    except ValueError:
        noun = "whole numbers" if kind is int else "numbers"
        raise ParameterError(f"{option} takes {noun} with commas between, got {text!r}") from None


def _parse_seeding(text: str) -> str | dict[str, int]:
    if "=" not in text:
        return text
    try:
        pairs = [part.split("=", 1) for part in text.split(",")]
        counts = {name.strip(): int(count) for name, count in pairs}
    except ValueError:
        raise ParameterError(
            f"--seeding takes counts as in directions=3,random=10, got {text!r}"
        ) from None
    if len(counts) < len(pairs):
        raise ParameterError(f"--seeding names one kind twice, got {text!r}; add the counts up")
    return counts


def _print_json(values: dict[str, Any]) -> None:
    click.echo(json.dumps(values, indent=1))
