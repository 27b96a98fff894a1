"""A run of the protocol that is killed ten times, each time at a random moment.

Arguments: the run's folder, the model, the data, a seed. Prints how many cells were there after
each kill, as JSON. Everything is imported once; each run is a process forked from that.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path

from engine.evaluation.glue.cells import read_cells
from engine.evaluation.glue.running import run_glue
from engine.evaluation.scores import metric
from engine.export.models import open_model
from engine.progress import Progress
from tests.engine.evaluation.glue.test_running import LARGER, settings_of

REPORTS = 45  # of progress, at most, until a run is killed


def run_until_killed(folder: Path, model: Path, data: Path, reports: int) -> None:
    """Run, and die by SIGKILL after so many reports of progress."""
    left = reports

    def die(progress: Progress) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    run_glue(folder, settings_of(model), LARGER, data=data, progress=die)


def main() -> None:
    """Start, kill, count, ten times."""
    folder, model, data = map(Path, sys.argv[1:4])
    metric("matthews")
    open_model(model)
    dice = random.Random(int(sys.argv[4]))
    kept: list[int] = []
    while len(kept) < 10:
        reports = dice.randint(1, REPORTS)
        child = os.fork()
        if child == 0:
            run_until_killed(folder, model, data, reports)
            os._exit(1)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.exit("a run ended before it was killed")
        kept.append(len(list(read_cells(folder))))
    sys.stdout.write(json.dumps(kept))


if __name__ == "__main__":
    main()
