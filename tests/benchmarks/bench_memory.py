"""How far the memory that `engine.memory` says work will need is from what it took.

python -m tests.benchmarks.bench_memory

Each kind of work runs in a process of its own, warmed up on few rows first, so that libraries and
compiled code are in the baseline: the peak is Linux's own high-water mark.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.machine import describe_machine, machine_line

COMMAND = "python -m tests.benchmarks.bench_memory"
CASES = (
    ("fit", 20_000, 128),
    ("fit", 60_000, 128),
    ("fit", 30_000, 512),
    ("fit in 8 bits", 30_000, 512),
    ("weighted fit", 30_000, 512),
    ("coded fit", 30_000, 128),
    ("coded fit", 30_000, 512),
    ("sweep", 30_000, 256),
    ("layout", 20_000, 64),
    ("layout", 50_000, 256),
    ("model", 30_522, 384),
)


def describe(kind: str, n: int, d: int) -> dict[str, float]:
    """Run one case in a fresh process; bytes estimated and measured."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.memory_case", kind, str(n), str(d)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure every case, then write ``memory.json`` and ``memory.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("assets/results"))
    options = parser.parse_args()
    rows = []
    for kind, n, d in CASES:
        found = describe(kind, n, d)
        rows.append({"work": kind, "rows": n, "columns": d, **found})
        print(rows[-1], flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    target = options.output / "memory.json"
    summary = {"command": COMMAND, **describe_machine(), "cases": rows}
    target.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    lines = [
        "# Memory: estimated before, taken in fact",
        "",
        f"`{COMMAND}`: bytes on top of the table, which is in memory before.",
        "",
        f"{machine_line()}.",
        "",
        "| work | rows | columns | estimated, MB | taken, MB | estimate / taken |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| {row['work']} | {row['rows']:,} | {row['columns']} | {row['estimated'] / 1e6:,.0f} "
            f"| {row['taken'] / 1e6:,.0f} | {row['estimated'] / row['taken']:.2f} |"
            for row in rows
        ),
        "",
    ]
    target.with_suffix(".md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
