"""How soon a cancelled job has ended, in every kind of long work.

python -m tests.benchmarks.bench_cancel
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from statistics import median

from engine.jobs import JobQueue
from tests.benchmarks.machine import describe_machine, machine_line
from tests.engine.jobs.cancel_cases import (
    CASES,
    COLUMNS,
    ROWS,
    seconds_to_cancel,
    write_inputs,
)

COMMAND = "python -m tests.benchmarks.bench_cancel"


def main() -> None:
    """Cancel in every case several times, then write ``cancel.json`` and ``cancel.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("assets/results"))
    options = parser.parse_args()
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["SUBSPACE_ATLAS_HOME"] = str(folder / "home")
        write_inputs(folder)
        with JobQueue() as queue:
            for case in CASES:
                ends = [seconds_to_cancel(queue, case, folder) for _ in range(options.repeats)]
                assert all(state == "cancelled" for _, state in ends), (case.name, ends)
                found[case.name] = [seconds for seconds, _ in ends]
                print(case.name, found[case.name], flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    target = options.output / "cancel.json"
    load = os.getloadavg()[0]
    summary = {"command": COMMAND, **describe_machine(), "load": load, "seconds": found}
    target.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    page = "\n".join(
        [
            "# Seconds from Cancel to the end of the job",
            "",
            f"`{COMMAND}`: {ROWS:,} × {COLUMNS} random rows for EM, UMAP and the sweep, "
            f"all-MiniLM-L6-v2 for the rest; {options.repeats} times each. Promised: 0.5.",
            "",
            f"{machine_line()}, load {load:.1f} (processes that wanted a core).",
            "",
            "| cancelled in | median | slowest |",
            "| --- | ---: | ---: |",
            *(
                f"| {name} | {median(seconds):.2f} | {max(seconds):.2f} |"
                for name, seconds in found.items()
            ),
            "",
        ]
    )
    target.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
