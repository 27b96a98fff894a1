"""What stands on a report's page, as plain values for its template."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from engine.curves import Curves, choose_by_rate
from engine.errors import EngineError
from engine.figures import is_plain_svd, name_method
from engine.frequencies.language_names import name_counted
from engine.measures import row_norms
from engine.report.drawing import mark_of
from engine.report.headline import headline_figures
from engine.report.plan import ReportedMap, ReportedPlan, public_config, public_spec
from engine.wording import BAND_TITLES, counted, duration, name_range, printable

_NAMED_ROWS = 12  # best and worst kept tokens
_LISTED_DIMENSIONS = 40


def describe_plan(plan: ReportedPlan, places: ReportedMap) -> dict[str, Any]:
    """All that does not need a sweep.

    Args:
        plan: What to report.
        places: Where its rows are drawn.
    """
    figures = plan.figures
    best, worst = _extremes(plan)
    return {
        "title": printable(plan.table.name),
        "made_of": _made_of(plan),
        "verdict": figures["verdict"],
        "beats_svd": figures["beats_svd"],
        "notes": [printable(note) for note in (*plan.table.notes, *figures["notes"])],
        "headline": headline_figures(figures, plan.factorization.coding),
        "kind": places.kind,
        "drawn": len(places.rows),
        "total": len(plan.table.tokens),
        "legend": [
            {"name": printable(name), "mark": mark_of(label)}
            for label, name in enumerate(plan.subspace_names)
        ],
        "subspaces": _subspaces(plan),
        "bands": _bands(figures),
        "best": best,
        "worst": worst,
        "settings": [(term, printable(text)) for term, text in _settings(plan)],
        "source": [(term, printable(text)) for term, text in _source(plan)],
        "model_link": _model_link(plan.table.spec),
        "config": json.dumps(public_config(plan.config), indent=1, ensure_ascii=False),
        "again": plan.again,
    }


def describe_curves(curves: Curves, origin: str) -> dict[str, Any]:
    """The table behind the curves, and where they come from.

    Args:
        curves: Of a sweep.
        origin: Of that sweep, in words.
    """
    rows = [
        {
            "rate": choice.svd.rate,
            "svd": choice.svd.error,
            "k": choice.best.k,
            "error": choice.best.error,
            "change": f"{100 * (choice.best.svd_ratio - 1):+.1f}".replace("-", "−"),
        }
        for choice in choose_by_rate(curves)
    ]
    name = "weighted SVD" if curves.weighted else "SVD"
    return {"rows": rows, "svd": name, "origin": printable(origin)}


def plan_name(figures: Mapping[str, Any]) -> str:
    """What a legend calls the reported plan."""
    name = "one subspace" if figures["k"] == 1 else f"k = {figures['k']}"
    return f"this plan: {name}"


def _made_of(plan: ReportedPlan) -> str:
    """Of what the layer was made into what."""
    (n, d), figures = plan.table.matrix.shape, plan.figures
    affine, coded = plan.factorization.affine, figures["parameters"] is None
    kind = "affine" if affine else "flat"
    if coded:
        kind = "coded affine" if affine else "coded"
    what = f"{figures['k']} {kind} subspaces"
    if figures["k"] == 1:
        loss = str(plan.config.get("loss", "squared"))
        usual = is_plain_svd(1, affine=affine, loss=loss, coded=coded)
        what = f"one {kind} subspace{' (the SVD)' if usual else ''}"
    coding = plan.factorization.coding
    bits = "" if coding is None else f", with coordinates in {coding.named_bits} bits"
    return (
        f"An embedding layer of {counted(n, 'token')}, each a row of {counted(d, 'number')}, "
        f"stored smaller as {what} of dimension {name_range(figures['dimensions'])}{bits}."
    )


def _subspaces(plan: ReportedPlan) -> list[dict[str, Any]]:
    return [
        {
            "number": item.label + 1,
            "mark": mark_of(item.label),
            "rows": item.rows,
            "dimension": item.dimension,
            "kept": item.energy_kept,
            "share": item.error_share,
            "typical": [printable(plan.table.tokens[row]) for row in item.typical_rows],
        }
        for item in plan.summaries
    ]


def _bands(figures: Mapping[str, Any]) -> dict[str, Any] | None:
    """What rare and frequent tokens lose; None where tokens were not weighted."""
    use, bands = figures["weights"], figures["bands"]
    if use is None or not bands:
        return None
    rivals = (figures["weighted_svd"]["bands"], figures["svd"]["bands"])
    rows = [
        {
            "used": BAND_TITLES[band["name"]],
            "rows": band["rows"],
            "share": band["share_of_text"],
            "errors": [each["error"] for each in (band, weighted, svd)],
        }
        for band, weighted, svd in zip(bands, *rivals, strict=True)
    ]
    return {
        "rows": rows,
        "counted": printable(name_counted(use["source"])),
        "floor": use["floor"],
        "power": use["power"],
    }


def _extremes(plan: ReportedPlan) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The tokens that lose least and most; a row of zeros has nothing to lose."""
    rows = np.flatnonzero(row_norms(plan.table.matrix).numpy() > 0)
    rows = rows[np.argsort(plan.row_errors[rows], kind="stable")]

    def named(some: Iterator[int]) -> list[dict[str, Any]]:
        return [
            {
                "token": printable(plan.table.tokens[row]),
                "number": int(plan.labels[row]) + 1,
                "mark": mark_of(int(plan.labels[row])),
                "error": float(plan.row_errors[row]),
            }
            for row in some
        ]

    most = rows[::-1][:_NAMED_ROWS]
    return named(map(int, rows[:_NAMED_ROWS])), named(map(int, most))


def _settings(plan: ReportedPlan) -> Iterator[tuple[str, str]]:
    """Everything that decides the result, as term and text."""
    config, figures, coding = plan.config, plan.figures, plan.factorization.coding
    loss, affine = str(config.get("loss", "squared")), plan.factorization.affine
    coded = figures["parameters"] is None
    yield "Method", name_method(figures["k"], affine=affine, loss=loss, coded=coded)
    yield "Subspaces (k)", str(figures["k"])
    dimensions = figures["dimensions"]
    differ = len(set(dimensions)) > 1 and len(dimensions) <= _LISTED_DIMENSIONS
    listed = ", ".join(map(str, dimensions)) if differ else name_range(dimensions)
    yield "Dimension (j)", listed
    yield from _size_asked_for(config, coded=coded)
    yield "Subspaces may miss zero (affine)", "yes" if affine else "no"
    yield "Loss", loss
    if (use := figures["weights"]) is not None:
        text = f"by use in {name_counted(use['source'])}, (occurrences + {use['floor']:g})"
        yield "Token weights", f"{text} ^ {use['power']:g}"
    bits = "32 for every number"
    if coding is not None:
        bits = f"{coding.named_bits} a coordinate, {coding.named_basis_bits} a number of a basis"
    yield "Bits", bits
    yield "Seed", str(config.get("seed", 0))
    if config.get("n_init") is not None and not coded:  # which has one, whatever others take
        yield "Starts", str(config["n_init"])
    if figures.get("wall_seconds") is not None:
        yield "Time taken", duration(figures["wall_seconds"])
    made = "ahead; ships with Subspace Atlas"
    if plan.created is not None:
        made = f"{plan.created:%d %B %Y, %H:%M} UTC"
    yield "Made", made
    if plan.versions:
        yield "Made with", ", ".join(f"{name} {version}" for name, version in plan.versions.items())


def _size_asked_for(config: Mapping[str, Any], *, coded: bool) -> Iterator[tuple[str, str]]:
    if coded:
        asked = config.get("max_bytes")
        if asked is not None:
            text = f"{asked:,}" if isinstance(asked, int) else printable(str(asked))
            yield "Bytes asked for at most", text
        yield "Dimensions", "of each subspace as many as earn their bits"
        return
    if config.get("rate") is not None:
        yield "Compression rate asked for", f"{float(config['rate']):.1%} of the numbers removed"
    best = config.get("allocation", "uniform") == "optimal"
    yield "Dimensions", "the best for each subspace" if best else "as given, or the same for all"


def _source(plan: ReportedPlan) -> Iterator[tuple[str, str]]:
    table = plan.table
    yield "Table", public_spec(table.spec)
    yield "Held as", f"{table.matrix.shape[0]:,} × {table.matrix.shape[1]:,}, {table.source_dtype}"
    yield "Fingerprint of its numbers", table.fingerprint
    licence = _licence(table.spec)
    if licence is not None:
        yield "Licence of the model", licence


def _model_link(spec: str) -> dict[str, str] | None:
    """The page of a model that is on the hub."""
    from engine.sources import BUNDLED_MODELS
    from engine.sources.bundled import PREFIX
    from engine.sources.files import FolderFiles

    if spec.startswith(PREFIX):
        hub_id = BUNDLED_MODELS[spec.removeprefix(PREFIX)].hub_id
    else:
        files = _model_files(spec)
        if files is None or isinstance(files, FolderFiles):
            return None
        hub_id = files.name
    return {"name": hub_id, "address": f"https://huggingface.co/{hub_id}"}


def _licence(spec: str) -> str | None:
    """What the model's own card says; None where there is no card on this disk."""
    from engine.export.companions import read_card
    from engine.sources.files import FolderFiles

    files = _model_files(spec)
    if not isinstance(files, FolderFiles):  # a report asks no network
        return None
    card = read_card(files)
    return card.get("license_name") or card.get("license")


def _model_files(spec: str) -> Any:  # noqa: ANN401 - files of a folder or of the hub
    from engine.sources import find_model

    try:
        return find_model(spec)
    except EngineError:
        return None  # it was there when the table was read
