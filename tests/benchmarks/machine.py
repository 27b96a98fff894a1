"""What every result table says of the machine it was made on."""

from __future__ import annotations

from datetime import UTC, datetime

import torch

from engine.provenance import cpu_model, describe_machine, installed_versions

__all__ = ["describe_machine", "machine_line"]


def machine_line() -> str:
    """What `describe_machine` says in one line for a Markdown table."""
    date, versions = datetime.now(UTC).date().isoformat(), installed_versions()
    return (
        f"{date}, {cpu_model()}, {torch.get_num_threads()} threads, "
        f"Python {versions['python']}, torch {versions['torch']}"
    )
