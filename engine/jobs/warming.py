"""Loading the heavy packages while nobody waits for them."""

from __future__ import annotations

from importlib import import_module

from engine.jobs.protocol import JsonObject
from engine.progress import Progress, ProgressCallback

WARM = "warm"
# One at a time, so that a user's job waits for one of them at most. What every job needs is first.
_PACKAGES = (
    "torch",
    "scipy.sparse",
    "sklearn.cluster",
    "numba",
    "pynndescent",
    "umap",
)


def warm(params: JsonObject, report: ProgressCallback) -> JsonObject:
    """Import what layouts and fits need; a task like any other, so it can be cancelled.

    The first import on a machine compiles for some ten seconds, what is compiled stays on the
    disk; later ones take about four seconds in all.

    Args:
        params: Nothing.
        report: Called before each import.
    """
    for number, package in enumerate(_PACKAGES):
        report(Progress(phase="Loading packages", done=number, total=len(_PACKAGES)))
        import_module(package)
    return {}
