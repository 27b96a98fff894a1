"""The tasks the worker can do, by the kind a job names.

A task takes plain values and gives plain values; what is large goes to the run store or the
library, and the page reads it from there.
"""

from __future__ import annotations

import time
from dataclasses import asdict, fields

from engine.access import Access
from engine.compression import CompressionConfig, compress_table
from engine.errors import check_names
from engine.export.keeping import keep_model, read_plan
from engine.factorization import Factorization
from engine.grid import LISTS
from engine.jobs.protocol import JsonObject, Task
from engine.layout import UmapSettings, umap_layout
from engine.library import find_starter, keep_umap_layout
from engine.progress import Progress, ProgressCallback
from engine.recording import record_compression, record_evaluation, record_sweep
from engine.row_measures import measure_rows
from engine.runs import RunStore
from engine.sources import load_table
from engine.sweep import SweepConfig, run_sweep
from engine.table import EmbeddingTable


def compress(params: JsonObject, progress: ProgressCallback) -> JsonObject:
    """Compress ``params["source"]`` by ``params["config"]``; gives the new run's id."""
    check_names("config", params["config"], _names(CompressionConfig))
    config = CompressionConfig(**params["config"])
    table = _load(params, progress)
    compression = compress_table(table, config, progress=progress)
    return {"run": RunStore().create(*record_compression(table, config, compression)).id}


def sweep(params: JsonObject, progress: ProgressCallback) -> JsonObject:
    """Sweep ``params["source"]`` over the grid ``params["config"]``; gives the new run's id."""
    grid = params["config"]
    check_names("config", grid, _names(SweepConfig))
    lists = {name: tuple(grid[name]) for name in LISTS if name in grid}
    values: JsonObject = {**grid, **lists}
    config = SweepConfig(**values)
    table = _load(params, progress)
    result = run_sweep(table, config, progress=progress)
    return {"run": RunStore().create(*record_sweep(table, result)).id}


def layout(params: JsonObject, progress: ProgressCallback) -> JsonObject:
    """Lay ``params["source"]`` out by UMAP and keep it for the next time.

    On a plane, or in as many ``params["dimensions"]``.
    """
    settings = UmapSettings(dimensions=params.get("dimensions", 2))
    table = _load(params, progress)
    keep_umap_layout(table.fingerprint, umap_layout(table.matrix, settings, progress=progress))
    return {"fingerprint": table.fingerprint}


def measure(params: JsonObject, progress: ProgressCallback) -> JsonObject:
    """Measure the rows of ``params["source"]`` with the plan ``params["run"]``, on a map.

    ``params["layout"]`` is the kind of map, "UMAP" or "PCA". Where run is None, the plan is the one
    that ships; where none ships, or there is no such map on a plane, it is left out. What comes of
    it is kept: see `engine.row_measures.find_row_measures`.
    """
    table, run_id = _load(params, progress), params["run"]

    def plan() -> Factorization | None:
        if run_id is None and find_starter(table.fingerprint) is None:
            return None
        progress(Progress(phase="Opening the plan", done=0, total=1))
        return read_plan(table, run_id)[0]

    measure_rows(table, run_id, params["layout"], read_plan=plan, progress=progress)
    return {"fingerprint": table.fingerprint}


def model(params: JsonObject, progress: ProgressCallback) -> JsonObject:
    """Keep the model ``params["source"]`` with the plan ``params["run"]`` as a zip file.

    Where run is None, it is the plan that ships with the model. The page finds the file by the
    same: see `engine.export.keeping.find_kept_model`.
    """
    kept = keep_model(_load(params, progress), params["run"], progress=progress)
    return {"path": str(kept.path)}


def evaluate(params: JsonObject, progress: ProgressCallback) -> JsonObject:
    """Run ``params["checks"]`` on ``params["source"]`` with a plan.

    Gives the new run's id, and which of the checks could not be finished: the run says why.

    The plan is ``params["run"]`` as in `model`. ``params["options"]``, which may be left out, are
    fields of `engine.evaluation.subject.CheckOptions`.
    """
    from engine.evaluation import evaluating
    from engine.evaluation.subject import CheckOptions, Subject
    from engine.evaluation.variants import variants_of_run

    began = time.perf_counter()
    given, source = params.get("options", {}), params["source"]
    check_names("options", given, {item.name for item in fields(CheckOptions)})
    checks = evaluating.find_checks(params["checks"])
    table = _load(params, progress)
    alone = source.get("tensor") is not None or source.get("tokens") is not None
    subject = Subject(table, CheckOptions(**given), alone=alone)
    evaluating.check_available(checks, subject)
    variants, plan = variants_of_run(table, params["run"], progress)
    found = evaluating.run_checks(checks, subject, variants, progress=progress, began=began)
    config = {
        "run": params["run"],
        "checks": [check.name for check in checks],
        "options": asdict(subject.options),
        "plan": plan,
    }
    record = record_evaluation(table, config, found.as_dict())
    made = RunStore().create(record, lambda _: None)
    return {"run": made.id, "unfinished": sorted(found.failures)}


def _load(params: JsonObject, progress: ProgressCallback) -> EmbeddingTable:
    check_names("source", params["source"], {"spec", "tensor", "tokens"})
    Access.of_environment().check_job(params)
    progress(Progress(phase="Reading the table", done=0, total=1))
    return load_table(**params["source"])


def _names(config: type[CompressionConfig | SweepConfig]) -> set[str]:
    return {item.name for item in fields(config)}


TASKS: dict[str, Task] = {
    "compress": compress,
    "sweep": sweep,
    "layout": layout,
    "measure": measure,
    "model": model,
    "evaluate": evaluate,
}
