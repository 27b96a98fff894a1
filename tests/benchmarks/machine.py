"""What every result table says of the machine it was made on."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from pathlib import Path

import torch

from engine.provenance import installed_versions


def describe_machine() -> dict[str, object]:
    """Date, processor, threads and versions, as plain values for JSON."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": cpu_model(),
        "threads": torch.get_num_threads(),
        "versions": installed_versions(),
    }


def machine_line() -> str:
    """The same in one line for a Markdown table."""
    date, versions = datetime.now(UTC).date().isoformat(), installed_versions()
    return (
        f"{date}, {cpu_model()}, {torch.get_num_threads()} threads, "
        f"Python {versions['python']}, torch {versions['torch']}"
    )


def cpu_model() -> str:
    """The processor's own name where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
