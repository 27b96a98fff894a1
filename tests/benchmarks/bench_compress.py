"""Error of k subspaces against the SVD on the bundled embedding, by the command line itself.

    python -m tests.benchmarks.bench_compress

Each plan is one run of ``subspace-atlas compress``: three starts from directions, one from norms
and ten random ones, so that the kept start can be held against the best random one of its run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.machine import describe_machine, machine_line

COMMAND = "python -m tests.benchmarks.bench_compress"
SEEDING = "directions=3,norms=1,random=10"
PLANS = ((0.4, 5), (0.6, 5), (0.8, 5), (0.2, 10))


def compress(rate: float, k: int) -> dict[str, Any]:
    """One run of the command line, as its JSON."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", "from engine.cli import main; main()", "compress"]
        command += ["bundled:minilm", "--rate", str(rate), "-k", str(k), "--json"]
        command += ["--seeding", SEEDING, "-o", str(Path(folder) / "run")]
        finished = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(finished.stdout)


def markdown(runs: list[dict[str, Any]]) -> str:
    """The table people read."""
    lines = [
        "# k subspaces against the SVD, all-MiniLM-L6-v2 (30,522 × 384)",
        "",
        f"`{COMMAND}`: `subspace-atlas compress bundled:minilm --seeding {SEEDING}`, seed 0, one "
        "run a line. The SVD has the smallest rank that stores at least as many numbers.",
        "",
        f"{machine_line()}.",
        "",
        "| rate | k | j | SVD rank | parameters | SVD's | error | SVD's | best of 10 random starts "
        "| neighbours kept | SVD's | closer |",
        "| ---: " * 11 + "| --- |",
    ]
    for run in runs:
        svd = run["svd"]
        random = min(start["cost"] for start in run["starts"] if start["seeding"] == "random")
        kept = [f"{plan['neighbours_kept']['mean']:.1%}" for plan in (run, svd)]
        cells = [
            f"{run['asked_rate']:g}",
            run["k"],
            run["dimensions"][0],
            svd["dimensions"][0],
            f"{run['parameters']:,}",
            f"{svd['parameters']:,}",
            f"{run['relative_error']:.4f}",
            f"{svd['relative_error']:.4f}",
            f"{random:.4f}",
            *kept,
            "k subspaces" if run["beats_svd"] else "**SVD**",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", *(f"- Rate {run['asked_rate']:g}: {run['verdict']}" for run in runs), ""]
    return "\n".join(lines)


def main() -> None:
    """Run every plan, then write ``compress-minilm.json`` and ``compress-minilm.md``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("assets/results"))
    output: Path = parser.parse_args().output
    runs = [{"asked_rate": rate, **compress(rate, k)} for rate, k in PLANS]
    for run in runs:
        del run["run"]  # a temporary folder
    output.mkdir(parents=True, exist_ok=True)
    target = output / "compress-minilm.json"
    summary = {"command": COMMAND, **describe_machine(), "runs": runs}
    target.write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    page = markdown(runs)
    target.with_suffix(".md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
