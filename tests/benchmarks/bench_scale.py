"""How fitting grows: memory past memory, seconds with rows, one process against two.

    python -m tests.benchmarks.bench_scale

Writes rows near eight planted subspaces to a float16 .npy in a temporary folder (2.6 GB for ten
million rows of 128), then fits them in processes of their own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tests.benchmarks.machine import describe_machine, machine_line

PLANTED, PLANTED_DIMENSION, NOISE = 8, 16, 0.1
BLOCK_ROWS = 65_536
PAIRS = 3
LIMIT_BYTES = 2 << 30
LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
WORKER = "tests.benchmarks.scale_fit"


def write_rows(path: Path, rows: int, columns: int) -> None:
    """Rows near `PLANTED` subspaces, float16, a block at a time."""
    draw = np.random.default_rng(0)
    dimension = min(PLANTED_DIMENSION, columns // 2)
    bases = [
        np.linalg.qr(draw.standard_normal((columns, dimension)))[0].T.astype(np.float32)
        for _ in range(PLANTED)
    ]
    with path.open("wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (rows, columns)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, rows, BLOCK_ROWS):
            count = min(BLOCK_ROWS, rows - start)
            block = NOISE * draw.standard_normal((count, columns), dtype=np.float32)
            inner = draw.standard_normal((count, dimension), dtype=np.float32)
            labels = draw.integers(PLANTED, size=count)
            for label, basis in enumerate(bases):
                block[labels == label] += inner[labels == label] @ basis
            block.astype(np.float16).tofile(file)


def run_worker(
    what: str, file: Path, options: argparse.Namespace, *, processes: int = 1, **more: int
) -> dict[str, Any]:
    """What `scale_fit` measures."""
    launcher = [] if processes == 1 else [*LAUNCHER, str(processes)]
    command = [sys.executable, *launcher, "-m", WORKER, what, str(file)]
    settings = {"k": options.k, "j": options.j, "steps": options.steps, **more}
    for name, value in settings.items():
        command += [f"-{name}" if len(name) == 1 else f"--{name}", str(value)]
    finished = subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": str(settings.get("threads", 1))},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(finished.stdout.splitlines()[-1])


def sizes_up_to(rows: int) -> list[int]:
    """Three decades of row counts, the last one all rows, each tenfold the one before."""
    return [max(1, rows // 10**power) for power in (3, 2, 1, 0)]


def measure(file: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The whole fit, the growth and the pairs."""
    whole = run_worker("fit", file, options, rows=options.rows, threads=options.threads)
    print(f"whole fit: {whole}", file=sys.stderr)
    growth: list[dict[str, Any]] = []
    for rows in sizes_up_to(options.rows):
        found = run_worker("steps", file, options, rows=rows, threads=options.threads)
        growth.append({"rows": rows, **found})
        print(f"{rows:,} rows: {found}", file=sys.stderr)
    pairs: list[dict[str, Any]] = []
    for _ in range(PAIRS):
        one, two = (
            run_worker("steps", file, options, processes=count, rows=options.pair_rows, threads=1)
            for count in (1, 2)
        )
        pairs.append({"one": one, "two": two})
        print(f"one process {one}, two {two}", file=sys.stderr)
    return {"whole": whole, "growth": growth, "pairs": pairs}


def summarise(found: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """The figures people ask for, beside all that was measured."""
    sizes = np.array([entry["rows"] for entry in found["growth"]], dtype=float)
    seconds = np.array([median(entry["step_seconds"]) for entry in found["growth"]])
    # Below a hundred thousand rows the k eigen-solves, which no row pays for, are most of a step.
    slopes = np.diff(np.log(seconds)) / np.diff(np.log(sizes))
    ratios = [
        sum(pair["one"]["step_seconds"]) / sum(pair["two"]["step_seconds"])
        for pair in found["pairs"]
    ]
    arguments = shlex.join(sys.argv[1:])
    return {
        "command": f"python -m tests.benchmarks.bench_scale {arguments}".strip(),
        **describe_machine(),
        "logical_cpus": os.cpu_count(),
        "rows": options.rows,
        "columns": options.columns,
        "k": options.k,
        "j": options.j,
        "peak_anonymous_gib": found["whole"]["peak_anonymous_bytes"] / (1 << 30),
        "within_limit": found["whole"]["peak_anonymous_bytes"] <= LIMIT_BYTES,
        "seconds_an_iteration": {
            int(size): float(second) for size, second in zip(sizes, seconds, strict=True)
        },
        "growth_exponents": [float(slope) for slope in slopes],
        "pair_rows": options.pair_rows,
        "pair_ratios": ratios,
        "pair_ratio": median(ratios),
        "measured": found,
    }


def markdown(summary: dict[str, Any]) -> str:
    """The table of one run."""
    whole = summary["measured"]["whole"]
    file_bytes = 2 * summary["rows"] * summary["columns"]
    lines = [
        "# How fitting grows",
        "",
        f"Made by `{summary['command']}`: {summary['rows']:,} × {summary['columns']} float16 on "
        f"disk ({file_bytes / 1e9:.2f} GB), near {PLANTED} planted subspaces, k = {summary['k']}, "
        f"j = {summary['j']}.",
        "",
        f"{machine_line()}, {summary['logical_cpus']} logical CPUs.",
        "",
        "## Past memory",
        "",
        f"Fit of all rows, racing included, and their projection: peak anonymous memory (RssAnon) "
        f"**{summary['peak_anonymous_gib']:.2f} GiB** "
        f"({'within' if summary['within_limit'] else '**beyond**'} the 2 GiB promised), "
        f"{whole['fit_seconds']:.1f} s to fit, {whole['steps']} iterations on all rows, "
        f"{median(whole['step_seconds'] or [math.nan]):.2f} s each (median), "
        f"{whole['project_seconds']:.1f} s to project; error {whole['cost']:.4f}.",
        "",
        "## Seconds an iteration",
        "",
        "Median over the steps of EM from one random partition.",
        "",
        "| rows | seconds | seconds for a million rows | exponent since the row above |",
        "| ---: | ---: | ---: | ---: |",
    ]
    exponents = [math.nan, *summary["growth_exponents"]]
    for (rows, seconds), exponent in zip(
        summary["seconds_an_iteration"].items(), exponents, strict=True
    ):
        shown = "" if math.isnan(exponent) else f"{exponent:.2f}"
        lines.append(f"| {rows:,} | {seconds:.4f} | {seconds / rows * 1e6:.3f} | {shown} |")
    lines += [
        "",
        "![Seconds an iteration against rows](scale.svg)",
        "",
        "## Two processes",
        "",
        f"{summary['pair_rows']:,} rows, one thread a process, in turns: two are "
        f"**{summary['pair_ratio']:.2f} ×** as fast as one (median of "
        + ", ".join(f"{ratio:.2f}" for ratio in summary["pair_ratios"])
        + ").",
    ]
    return "\n".join(lines) + "\n"


def draw(summary: dict[str, Any]) -> str:
    """Seconds against rows on logarithmic axes, with the line of exponent 1 through the last."""
    points = list(summary["seconds_an_iteration"].items())
    left, right, top, bottom = 70, 520, 30, 300
    xs = [math.log10(rows) for rows, _ in points]
    ys = [math.log10(seconds) for _, seconds in points]
    low, high = math.floor(min(ys)), math.ceil(max(ys))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - xs[0]) / (xs[-1] - xs[0])
        up = (y - low) / (high - low)
        return left + across * (right - left), bottom - up * (bottom - top)

    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 560 350" role="img" '
        'font-family="sans-serif" font-size="13">',
        "<title>Seconds an iteration against rows, both axes logarithmic</title>",
        '<rect width="560" height="350" fill="#ffffff"/>',
    ]
    for power in range(low, high + 1):
        _, y = place(xs[0], power)
        parts.append(f'<path d="M{left} {y:.1f}H{right}" stroke="#dddddd"/>')
        parts.append(
            f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g} s</text>'
        )
    for x, (rows, _) in zip(xs, points, strict=True):
        at, _ = place(x, low)
        parts.append(f'<text x="{at:.1f}" y="{bottom + 20}" text-anchor="middle">{rows:,}</text>')
    reach = min(xs[-1] - xs[0], ys[-1] - low)  # decades before it leaves the picture
    start, end = place(xs[-1] - reach, ys[-1] - reach), place(xs[-1], ys[-1])
    parts.append(
        f'<path d="M{start[0]:.1f} {start[1]:.1f}L{end[0]:.1f} {end[1]:.1f}" stroke="#888888" '
        'stroke-dasharray="5 4" fill="none"/>'
    )
    placed = [place(x, y) for x, y in zip(xs, ys, strict=True)]
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
    parts.append(f'<path d="M{line}" stroke="#1f6fb2" stroke-width="2" fill="none"/>')
    parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#1f6fb2"/>' for x, y in placed]
    parts.append(f'<text x="{(left + right) / 2}" y="342" text-anchor="middle">rows</text>')
    parts.append('<text x="80" y="20">seconds an iteration; dashed: in proportion to rows</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measures how fitting grows.")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--columns", type=int, default=128)
    parser.add_argument("-k", type=int, default=8)
    parser.add_argument("-j", type=int, default=16)
    parser.add_argument("--steps", type=int, default=5, help="iterations, of every fit")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="but for the pairs")
    parser.add_argument("--pair-rows", type=int, help="2,000,000, or all rows where fewer")
    parser.add_argument("--folder", type=Path, help="with room for the rows; a temporary one")
    parser.add_argument("--output", type=Path, default=Path("assets/results"), help="a folder")
    options = parser.parse_args()
    if options.rows < 1000 * options.k:
        parser.error(f"the smallest of four tables needs k rows: give at least {1000 * options.k}")
    options.pair_rows = min(options.rows, options.pair_rows or 2_000_000)
    return options


def main() -> None:
    """Measure, then write ``scale.json``, ``scale.md`` and ``scale.svg``."""
    options = parse_options()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-scale-") as folder:
        file = Path(folder) / "rows.npy"
        write_rows(file, options.rows, options.columns)
        summary = summarise(measure(file, options), options)
    options.output.mkdir(parents=True, exist_ok=True)
    target = options.output / "scale.json"
    target.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    target.with_suffix(".svg").write_text(draw(summary), encoding="utf-8")
    page = markdown(summary)
    target.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
