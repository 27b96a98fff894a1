"""The floor plan as tests: who may import whom, what stays light, what is never loaded.

The rules are read off the syntax trees, so an import inside a function or under TYPE_CHECKING
counts like any other.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import engine

REPOSITORY = Path(__file__).resolve().parents[1]
ENGINE = REPOSITORY / "engine"
SCREEN = [REPOSITORY / "app.py", *sorted((REPOSITORY / "pages").rglob("*.py"))]

# The rooms of engine/ from the ground up. A room may import rooms of its own floor and below, but
# no two rooms each other. A new room needs a place here.
FLOORS = (
    {
        "archives",
        "colours",
        "errors",
        "finding",
        "folders",
        "journal",
        "memory",
        "paths",
        "progress",
        "wording",
    },
    {"provenance", "residuals", "rows"},
    {"table"},
    {"frequencies", "sources"},
    {"clustering", "coding"},
    {"factorization", "projection"},
    {
        "budget",
        "checkpoint",
        "differences",
        "estimator",
        "fitting",
        "layout",
        "lessons",
        "measures",
        "methods",
        "naming",
        "network",
        "portraits",
        "requests",
        "resuming",
        "spending",
        "trials",
        "trust",
    },
    {
        "advice",
        "cell_points",
        "cells",
        "compression",
        "curves",
        "figures",
        "frontier",
        "grid",
        "plans",
        "sweep",
    },
    {
        "exchange",
        "figure_checks",
        "labels",
        "library",
        "recording",
        "records",
        "reproducing",
        "row_measures",
        "run_differences",
        "runs",
    },
    {"evaluation", "export", "report"},
    {"access", "jobs"},
    {"cli"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# Methods of the one result, in files of their own to keep each readable: its file format, and what
# stores it in fewer bits.
PART_OF = {"quantizing": "factorization", "storage": "factorization"}

HEAVY = ("torch", "transformers", "umap", "sklearn", "numba", "scipy", "streamlit", "plotly")
UNSAFE_MODULES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
UNSAFE_OPTIONS = {"allow_pickle", "trust_remote_code"}


def imported_modules(source: str, package: str = "") -> set[str]:
    """Dotted names of all modules that a source imports; of ``from a import b`` also ``a.b``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) + 1 - node.level]
            base = ".".join([*(parents if node.level else []), *filter(None, [node.module])])
            found.update({base, *(f"{base}.{alias.name}" for alias in node.names)})
    return found


def unsafe_uses(source: str) -> set[str]:
    """Ways to run code out of a data file: modules that unpickle, and options that allow it."""
    found = {
        module for module in imported_modules(source) if module.split(".")[0] in UNSAFE_MODULES
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg in UNSAFE_OPTIONS:
            refused = isinstance(node.value, ast.Constant) and node.value.value is False
            found.update(set() if refused else {node.arg})
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            found.add("torch.load")
        elif isinstance(node, ast.Constant) and node.value in UNSAFE_OPTIONS:
            found.add(node.value)  # passed on by name, through a dictionary
    return found


def files_of_rooms() -> Iterator[tuple[str, Path]]:
    """Every module below engine/, with the room it belongs to."""
    for path in sorted(ENGINE.rglob("*.py")):
        first = path.relative_to(ENGINE).parts[0].removesuffix(".py")
        if first != "__init__":
            yield PART_OF.get(first, first), path


def imports_between_rooms() -> set[tuple[str, str, str]]:
    """Every import across rooms, as (importing room, imported room, file)."""
    names = {path.stem for path in ENGINE.glob("*.py")} | {
        path.parent.name for path in ENGINE.glob("*/__init__.py")
    }
    found: set[tuple[str, str, str]] = set()
    for room, path in files_of_rooms():
        package = ".".join(path.relative_to(REPOSITORY).parent.parts)
        for module in imported_modules(path.read_text(encoding="utf-8"), package):
            parts = module.split(".")
            if parts[0] == "engine" and len(parts) > 1 and parts[1] in names:
                target = PART_OF.get(parts[1], parts[1])
                found.add((room, target, path.relative_to(REPOSITORY).as_posix()))
    return {edge for edge in found if edge[0] != edge[1]}


def test_every_room_has_a_floor() -> None:
    homeless = {room for room, _ in files_of_rooms()} - set(FLOOR)
    assert not homeless, f"place {sorted(homeless)} in FLOORS and in CONTRIBUTING.md"


def test_contributing_shows_the_same_floors() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", text, flags=re.MULTILINE)
    shown = {int(number): set(re.findall(r"`(\w+)`", rooms)) for number, rooms in rows}
    assert shown == dict(enumerate(FLOORS, start=1))


def test_lower_rooms_never_import_higher_ones() -> None:
    edges = imports_between_rooms()
    assert len(edges) > 10, "the scan finds next to nothing; it is broken"
    upward = [edge for edge in edges if FLOOR[edge[0]] < FLOOR[edge[1]]]
    assert not upward, f"imports that point up: {sorted(upward)}"


def test_rooms_never_import_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for room, target, _ in imports_between_rooms():
        graph.setdefault(room, set()).add(target)
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, naming the circle
    assert set(order) >= set(graph)


def test_engine_knows_neither_the_screen_nor_the_tests() -> None:
    for path in ENGINE.rglob("*.py"):
        roots = {
            module.split(".")[0] for module in imported_modules(path.read_text(encoding="utf-8"))
        }
        assert not roots & {"streamlit", "pages", "tests", "app"}, path


@pytest.mark.parametrize(
    "path", [*sorted(ENGINE.rglob("*.py")), *SCREEN], ids=lambda p: str(p.relative_to(REPOSITORY))
)
def test_nothing_runs_code_out_of_data(path: Path) -> None:
    assert not unsafe_uses(path.read_text(encoding="utf-8"))


def test_importing_engine_loads_nothing_heavy() -> None:
    script = f"import sys, engine; dir(engine); print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""


@pytest.mark.parametrize("name", engine.__all__)
def test_public_name_loads_and_says_what_it_is(name: str) -> None:
    assert getattr(engine, name).__doc__


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing_of_the_kind'"):
        _ = engine.nothing_of_the_kind


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a.b", {"a.b"}),
        ("from engine.runs import RunStore", {"engine.runs", "engine.runs.RunStore"}),
        ("from engine import runs", {"engine", "engine.runs"}),
        ("def f():\n    import umap", {"umap"}),
        ("from . import packing", {"engine.coding", "engine.coding.packing"}),
        ("from ..jobs import queue", {"engine.jobs", "engine.jobs.queue"}),
    ],
)
def test_scan_sees_every_way_to_import(source: str, expected: set[str]) -> None:
    assert imported_modules(source, package="engine.coding") == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import pickle", {"pickle"}),
        ("from joblib import load", {"joblib", "joblib.load"}),
        ("np.load(p, allow_pickle=True)", {"allow_pickle"}),
        ("np.load(p, allow_pickle=wanted)", {"allow_pickle"}),
        ("np.load(p, allow_pickle=False)", set()),
        ("AutoModel.from_pretrained(p, **{'trust_remote_code': True})", {"trust_remote_code"}),
        ("torch.load(p)", {"torch.load"}),
    ],
)
def test_scan_sees_every_unsafe_use(source: str, expected: set[str]) -> None:
    assert unsafe_uses(source) == expected
