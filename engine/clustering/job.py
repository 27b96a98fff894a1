"""Whether this process is one of several; light, so that the command line may ask before torch."""

from __future__ import annotations

import os

ENVIRONMENT = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun sets, and any other launcher that speaks to torch.distributed."""


def is_job() -> bool:
    """Whether a launcher started this process as one of a job."""
    return all(name in os.environ for name in ENVIRONMENT)


def job_rank() -> int:
    """This process's number in its job; 0 where there is none."""
    return int(os.environ["RANK"]) if is_job() else 0
