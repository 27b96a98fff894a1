"""The command line as one process of several, which dies by SIGKILL in the middle of its fit.

Arguments: the rank that dies, the step on all rows after which it does, and those of the command.
"""

from __future__ import annotations

import os
import signal
import sys

from engine.cli import main
from engine.clustering.em import EMRun, EMStep


def die_after(steps: int) -> None:
    """Let the process kill itself once a start on all its rows has taken so many steps."""
    advance = EMRun.advance

    def counted(run: EMRun) -> EMStep:
        step = advance(run)
        if len(step.labels) > 10_000 and len(run.history) == steps:  # a sample has fewer rows
            os.kill(os.getpid(), signal.SIGKILL)
        return step

    EMRun.advance = counted


if __name__ == "__main__":
    rank, steps = int(sys.argv[1]), int(sys.argv[2])
    del sys.argv[1:3]
    if rank == int(os.environ["RANK"]):
        die_after(steps)
    main()
