"""How long the report of the bundled model takes to build, and how large its file is.

python -m tests.benchmarks.bench_report
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median

from engine import load_table
from engine.layout import drawn_rows
from engine.library import find_starter
from engine.measures import relative_row_errors, summarise_subspaces
from engine.recording import read_compression_figures
from engine.report import ReportedMap, ReportedPlan, build_report
from tests.benchmarks.machine import describe_machine, machine_line

COMMAND = "python -m tests.benchmarks.bench_report"


def main() -> None:
    """Build it anew several times, then write ``report.json`` and ``report.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--output", type=Path, default=Path("assets/results"))
    options = parser.parse_args()
    table = load_table("bundled:minilm")
    starter = find_starter(table.fingerprint)
    assert starter is not None
    factorization = starter.fit(table.matrix)
    residuals = factorization.squared_residuals(table.matrix)
    plan = ReportedPlan(
        table=table,
        factorization=factorization,
        figures=read_compression_figures(starter.figures),
        row_errors=relative_row_errors(residuals, table.matrix).numpy(),
        summaries=summarise_subspaces(factorization, table.matrix),
        config=starter.config,
    )
    rows = drawn_rows(len(table.tokens)).numpy()
    places = ReportedMap(kind="UMAP", layout=starter.layout.numpy(), rows=rows)
    seconds: list[float] = []
    size = 0
    for _ in range(options.times):
        begun = time.perf_counter()
        size = len(build_report(plan, places, sweep=starter.sweep))
        seconds.append(time.perf_counter() - begun)
    first, later = seconds[0], seconds[1:] or seconds
    summary = {"command": COMMAND, **describe_machine(), "seconds": seconds, "bytes": size}
    options.output.mkdir(parents=True, exist_ok=True)
    target = options.output / "report.json"
    target.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    page = "\n".join(
        [
            f"# The report of all-MiniLM-L6-v2 ({len(rows):,} points, with its sweep)",
            "",
            f"`{COMMAND}`: from a plan that is on the page to the HTML file.",
            "",
            f"{machine_line()}.",
            "",
            "| | |",
            "| --- | ---: |",
            f"| the first, with imports, seconds | {first:.2f} |",
            f"| median of {len(later)} more, seconds | {median(later):.2f} |",
            f"| the file, MB | {size / 1e6:.2f} |",
            "",
        ]
    )
    target.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
