"""The commands, each a few lines over the engine."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine import __version__
from engine.cli.evaluating import evaluate
from engine.cli.folders import info, report, restore
from engine.cli.glue import glue
from engine.cli.glue_report import glue_report
from engine.cli.options import (
    fit_options,
    plan_options,
    read_grid,
    read_plan,
    source_options,
)
from engine.cli.ranks import across_ranks
from engine.cli.runs import runs
from engine.cli.screen import (
    note_replaced,
    print_json,
    progress_bars,
    show_compression,
    show_cost,
    show_place,
    show_sweep,
)
from engine.cli.smallest import SizeRequest, show_search, size_options
from engine.errors import ParameterError

if TYPE_CHECKING:
    from engine.methods import Fitter
    from engine.recording import FileWriter
    from engine.records import RunRecord
    from engine.runs import Run

_FIRST_PORT = 8501


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
@source_options
@size_options
@plan_options
@click.option(
    "--neighbours",
    type=int,
    help="Nearest neighbours compared for each sampled row; 10 when left out, 0 for none.",
)
@click.option("--queries", type=int, help="Rows sampled for that; 2000 when left out.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder to write: the smaller model, or the run where SOURCE is a plain table.",
)
@across_ranks
def compress(
    *,
    source: str,
    tensor: str | None,
    tokens: str | None,
    as_json: bool,
    output: Path | None,
    fitter: Fitter,
    **plan: Any,  # noqa: ANN401 - options of the size and the plan, each checked by the config
) -> None:
    """Fit k subspaces to the rows of SOURCE, beside the SVD that stores as much.

    SOURCE is bundled:minilm, a Hugging Face id, a model folder, a .npy, .npz, .safetensors, .vec,
    .txt, .vec.gz or .txt.gz file, or one table in several files ("table-*.npy").

    Of a model, -o becomes a folder with the smaller model, which loads like any other. Of a plain
    table, or a tensor named by --tensor, it becomes a run folder with the factorization. Without
    -o the run goes to where the app lists it.

    With --max-drop and --check the size is found: the smallest that loses no more on that check.
    """
    from engine.compression import compress_table
    from engine.export.compressing import find_target
    from engine.recording import record_compression
    from engine.sources import load_table

    _check_place(output)
    size = SizeRequest(plan)
    config = read_plan(plan, source) if size.max_drop is None else None
    table = load_table(source, tensor=tensor, tokens=tokens)
    target = find_target(table) if output is not None and tensor is None else None
    if target is not None and output is not None:
        target.check_room(output)
    found, smaller = None, None
    with progress_bars() as progress:
        if config is None:
            model = source if tensor is None and tokens is None else table
            found = size.find(model, plan, fitter, progress)
            config = found.config
        compression = compress_table(table, config, fitter=fitter, progress=progress)
        search = None if found is None else found.as_dict()
        record, write = record_compression(table, config, compression, search=search)
        if target is not None:
            smaller = target.shrink(compression.factorization, record, progress=progress)
            record, write = smaller.record, smaller.write
    run = _store(output, record, write)
    if as_json:
        print_json({"run": str(run.folder), "source": table.name, **record.figures})
        return
    if found is not None:
        show_search(found)
    show_compression(table.name, compression)
    if smaller is not None:
        show_cost(smaller)
    show_place("Run" if smaller is None else "Model", run.folder)


@group.command()
@source_options
@click.option("--rates", default="0.2,0.4,0.6,0.8", show_default=True)
@click.option(
    "-k",
    "ks",
    default="2,3,5,10",
    show_default=True,
    help="The SVD is always added, with --weights the weighted SVD too.",
)
@fit_options
@click.option("--seeds", default="0", show_default=True)
@click.option("--starts", type=int, default=1, show_default=True, help="Starts of each fit.")
@click.option(
    "--bits",
    default="8,4",
    show_default=True,
    help="Store every fit in so many bits as well, and round the whole table beside them; 32 for "
    "neither.",
)
@click.option(
    "--shares",
    default="0.02,0.03,0.05,0.08,0.13,0.27",  # engine.grid.CODED_SHARES, which takes torch to load
    show_default=True,
    help="Measure coded subspaces in so much of the table's bytes as well; empty for none.",
)
@click.option("--basis-bits", type=int, help="16 or 8 for the bases beside those; 8 when left out.")
@click.option("--seeding", help="As compress takes it, by name; auto when left out.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A .csv or .json file; else the sweep goes to where the app lists it.",
)
def sweep(
    *,
    source: str,
    tensor: str | None,
    tokens: str | None,
    as_json: bool,
    output: Path | None,
    **grid: Any,  # noqa: ANN401 - the options of the grid, each checked by the config
) -> None:
    """Fit every k at every rate to the rows of SOURCE, beside the SVD, coded and plain rounding.

    With -o, finished fits are kept in OUTPUT.partial until all are done; the same command takes
    them over after it was stopped.
    """
    from engine.recording import record_sweep
    from engine.sources import load_table
    from engine.sweep import check_sweep_target, run_sweep

    if output is None:
        _check_place(None)
    else:
        check_sweep_target(output)
    config = read_grid(grid)
    table = load_table(source, tensor=tensor, tokens=tokens)
    journal = None if output is None else output.with_name(f"{output.name}.partial")
    with progress_bars() as progress:
        result = run_sweep(table, config, journal=journal, progress=progress)
    if output is not None and journal is not None:
        replaces = output.exists()
        result.save(output)
        if replaces:
            note_replaced(f"the file {output}")
        journal.unlink(missing_ok=True)
        place = output
    else:
        place = _store(None, *record_sweep(table, result)).folder
    if as_json:
        print_json({"written": str(place), **asdict(result)})
    else:
        show_sweep(result, place)


group.add_command(glue)
group.add_command(glue_report)
group.add_command(evaluate)
group.add_command(info)
group.add_command(report)
group.add_command(restore)
group.add_command(runs)


def _check_place(output: Path | None) -> None:
    from engine.runs import RunStore, check_run_target

    check_run_target(RunStore().root / "new" if output is None else output)


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
    from engine.export.models import is_compressed
    from engine.runs import RECORD_FILE, RunStore, write_run

    if output is None:
        return RunStore().create(record, write)
    before = None
    if (output / RECORD_FILE).is_file():
        before = "compressed model" if is_compressed(output) else "run"
    run = write_run(output, record, write)
    if before is not None:
        note_replaced(f"the {before} that was in {output}")
    return run
