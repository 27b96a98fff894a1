"""How much memory work will need, how much there is, and the refusal before it would run out.

The estimates are of what is needed on top of the table that is loaded already. Their figures were
measured (`tests/benchmarks/bench_memory.py` measures them again) and are held to
within a factor of two of the peaks by `tests/engine/test_memory_guard.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

from engine.errors import MemoryShortageError

FLOAT_BYTES = 4
_FIT_FIXED = 50_000_000  # blocks, samples and threads' buffers of any fit, however small
_PATHS = 1 << 28  # costs of the ways that a block of rows may be coded, at most
_PATH_ROW = 150_000  # the same of a few rows with few columns
_SLACK = 1.25  # what the allocator cannot use again
_SOLVER_NUMBERS = 12  # of d × d in float64: an eigen-solve and its workspace
_FIT_ROW = 150  # labels, norms, residuals and orders of a row
SUBSPACE_NUMBER_BYTES = 8 + 8 + 4  # of d × d: float64 sums and frames, float32 frames
_UMAP_FIXED = 150_000_000  # compiled code, search trees' buffers
_UMAP_ROW = 4_000  # 50 components twice, 15 neighbours, candidates, edges and their clocks
_MODEL_COPIES = 2.5  # weights as stored, in float32, and activations beside them


def free_bytes(*, cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Memory that can still be had: of the machine, or of the container, whichever is less.

    Args:
        cgroups: Where Linux shows the limits of containers.
    """
    return min([psutil.virtual_memory().available, *_room_in_containers(cgroups)])


def check_memory(work: str, needed: float, advice: str) -> None:
    """Refuse work that would run out of memory, before it begins.

    Args:
        work: What the message calls it ("Compressing 262,144 × 640 numbers").
        needed: Bytes.
        advice: What to do instead, as the end of a sentence.

    Raises:
        MemoryShortageError: If less is free.
    """
    free = free_bytes()
    if needed > free:
        raise MemoryShortageError(
            f"{work} needs about {needed / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are "
            f"free; {advice}"
        )


def fit_bytes(n: int, d: int, *, k: int, j: float, plans: int, on_disk: bool = False) -> int:
    """What a compression needs.

    Args:
        n: Rows.
        d: Columns.
        k: Subspaces.
        j: Dimension of each, on average.
        plans: How many factorizations are held at once: the plan and the SVDs beside it.
        on_disk: Whether coordinates go to the disk.
    """
    coordinates = 0 if on_disk else plans * n * j * FLOAT_BYTES
    frames = d * d * (k * SUBSPACE_NUMBER_BYTES + 8 * _SOLVER_NUMBERS)
    return round(_FIT_FIXED + _SLACK * (coordinates + n * _FIT_ROW + frames))


def coded_fit_bytes(n: int, d: int, *, k: int) -> int:
    """What a fit of coded subspaces needs; the SVDs beside it, as few bytes, need less.

    Args:
        n: Rows.
        d: Columns.
        k: Subspaces.
    """
    # At worst nearly all rows lie in one subspace with bits along every direction: they are copied
    # as float32, their levels beside them, and their codes, those of the best round and the last.
    rows = n * d * (2 * FLOAT_BYTES + 2)
    frames = d * d * (2 * k * SUBSPACE_NUMBER_BYTES + 8 * _SOLVER_NUMBERS)  # sums added up anew
    paths = min(_PATHS, n * (_PATH_ROW + d * 1024 * FLOAT_BYTES))
    return round(_FIT_FIXED + paths + _SLACK * (rows + n * _FIT_ROW + frames))


def layout_bytes(n: int) -> int:
    """What a UMAP layout of n rows needs, whatever their width."""
    return _UMAP_FIXED + n * _UMAP_ROW


def model_bytes(weight_bytes: int) -> int:
    """What it needs to load a model and pass texts through it.

    Args:
        weight_bytes: Of its files.
    """
    return round(weight_bytes * _MODEL_COPIES)


def _room_in_containers(root: Path) -> Iterator[int]:
    """What each limit above this process leaves, in both versions of Linux's control groups."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return  # no Linux
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0":
            names = ("memory.max", "memory.current", "inactive_file")
            yield from _rooms(root, path, names)
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from _rooms(root / "memory", path, names)


def _rooms(mount: Path, path: str, names: tuple[str, str, str]) -> Iterator[int]:
    """Of a group and those it lies in; a container sees its own group as the top one."""
    limit_name, usage_name, cache_name = names
    below = mount / path.lstrip("/")
    for folder in (below, *below.parents):
        if not folder.is_relative_to(mount):
            break
        try:
            limit = int((folder / limit_name).read_text())  # "max" is no number: no limit
            used = int((folder / usage_name).read_text())
            statistics = dict(
                line.split() for line in (folder / "memory.stat").read_text().splitlines()
            )
            # Pages of files that nobody waits for count as used, and are given up on demand.
            yield max(0, limit - used + int(statistics.get(cache_name, 0)))
        except (OSError, ValueError):
            continue
