"""The model card of a compressed model, and of one that was restored from it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import __version__
from engine.export.companions import SENTENCE_TRANSFORMERS, Origin
from engine.export.cost import ModelCost, cost_rows
from engine.figures import name_method
from engine.plans import CompressionConfig
from engine.records import RunRecord
from engine.wording import name_range

if TYPE_CHECKING:
    from engine.export.smaller import SmallerModel

CARD_FILE = "README.md"
_PAPER = (
    "[Deep Learning Meets Projective Clustering](https://arxiv.org/abs/2010.04290) (Maalouf, Lang, "
    "Rus, Feldman, ICLR 2021)"
)
# Options of `subspace-atlas compress`; what it has no option for does not change the model.
_OPTIONS = {
    "method": "--method",
    "k": "-k",
    "j": "-j",
    "rate": "--rate",
    "max_bytes": "--max-bytes",
    "allocation": "--allocation",
    "affine": "--affine",
    "loss": "--loss",
    "weights": "--weights",
    "weight_power": "--weight-power",
    "weight_floor": "--weight-floor",
    "seed": "--seed",
    "n_init": "--starts",
    "seeding": "--seeding",
    "moves": "--moves",
    "bits": "--bits",
    "basis_bits": "--basis-bits",
}


def write_card(smaller: SmallerModel, folder: Path) -> None:
    """Write the card of a compressed model into its folder.

    Raises:
        OSError: If the disk refuses.
    """
    (folder / CARD_FILE).write_text(_compressed_card(smaller), encoding="utf-8")


def write_restored_card(origin: Origin, folder: Path, model_class: str) -> None:
    """Write the card of a dense model that was made from a compressed one.

    Args:
        origin: The compressed model.
        folder: Where the restored one is.
        model_class: Its class in transformers.

    Raises:
        OSError: If the disk refuses.
    """
    text = f"""{_head(origin)}
# {origin.name}, dense again

A plain {model_class}: it loads without anything installed but what it needed before. It was
restored from a model whose embedding layer was held as subspaces. **The rows of its embedding are
the approximations**, not the original ones; what that lost is told in the card of the compressed
model, {origin.name}. Every other weight is as it was there.

```console
$ {shlex.join(["subspace-atlas", "restore", _public(origin), "-o", "OUT"])}
```
"""
    (folder / CARD_FILE).write_text(text, encoding="utf-8")


def command_of(spec: str, config: Mapping[str, Any]) -> str:
    """The command that makes a compressed model again.

    Args:
        spec: The model it was made from.
        config: Of the run's record.
    """
    words = ["subspace-atlas", "compress", spec]
    for name, value in _asked(config).items():
        option = _OPTIONS.get(name)
        if option is None:
            continue
        words.append(option)
        if isinstance(value, list | tuple):
            words.append(",".join(map(str, value)))
        elif isinstance(value, dict):
            words.append(",".join(f"{kind}={count}" for kind, count in value.items()))
        elif value is not True:
            words.append(str(value))
    return shlex.join([*words, "-o", "OUT"])


def call_of(spec: str, config: Mapping[str, Any]) -> str:
    """The same in Python, as `command_of`."""
    given = "".join(f", {name}={value!r}" for name, value in _asked(config).items())
    return f'engine.compress_model({spec!r}{given}, output="OUT")'


def _asked(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a plan differs from what is taken when nothing is said."""
    usual = {item.name: item.default for item in fields(CompressionConfig)}
    weights = str(config.get("weights", ""))
    if Path(weights).is_absolute():  # nobody else's business, as where the model lies
        config = {**config, "weights": Path(weights).name}
    return {
        name: value
        for name, value in config.items()
        if name in usual and value != usual[name] and value is not None
    }


def _compressed_card(smaller: SmallerModel) -> str:
    origin, record, cost = smaller.origin, smaller.record, smaller.cost
    figures, source = record.figures, record.source
    share = f"in {figures['stored_bytes'] / figures['dense_bytes']:.1%} of the bytes in float32"
    if figures["rate"] is not None:
        share = f"at a\ncompression rate of {figures['rate']:.1%}"
    dimensions = name_range(figures["dimensions"])
    subspaces = "one subspace" if figures["k"] == 1 else f"{figures['k']} subspaces"
    notes = [*figures["notes"], *figures["model"]["notes"]]
    listed = "".join(f"- {note}\n" for note in notes)
    return f"""{_head(origin)}
# {origin.name} with a smaller embedding layer

The embedding layer of {_linked(origin)} ({source["rows"]:,} × {source["columns"]:,}) held as
{subspaces} of dimension {dimensions} instead of one matrix: {_method(smaller)}, {share}.
All other weights are as they were.

## Load it

Install the package `subspace-atlas` from where you have this model from, or from a checkout of it
(`pip install ./subspace-atlas`); this was written by version {__version__}.

```python
import engine  # tells transformers of the layer; without it, loading stops with an error

{_loading(origin, type(smaller.model).__name__)}
```

`subspace-atlas restore FOLDER -o OUT` makes a dense model of it that loads without us.

## What it takes, and what it loses

{cost_table(cost)}

Error of the embedding, ‖A − Â‖² / ‖A‖²: {cost.relative_error:.4f}. {_neighbours(figures)}
{figures["verdict"]}

{listed}
## How it was made

On {record.created_at:%Y-%m-%d} by Subspace Atlas {record.versions.get("subspace-atlas")}, after
{_PAPER}. Every setting and figure is in `run.json`.

{_again(origin, record)}"""


def _head(origin: Origin) -> str:
    """Front matter, as the hub reads it."""
    base = origin.hub_id or origin.card.get("base_model")
    lines = {} if base is None else {"base_model": base}
    lines["library_name"] = origin.library
    lines |= {key: value for key, value in origin.card.items() if key != "base_model"}
    text = "".join(f"{key}: {value}\n" for key, value in lines.items())
    return f"---\n{text}tags:\n- subspace-atlas\n---\n"


def _linked(origin: Origin) -> str:
    if origin.hub_id is None:
        return origin.name
    return f"[{origin.name}](https://huggingface.co/{origin.hub_id})"


def _loading(origin: Origin, model_class: str) -> str:
    if origin.library == SENTENCE_TRANSFORMERS:
        return (
            "from sentence_transformers import SentenceTransformer\n\n"
            'model = SentenceTransformer("FOLDER")'
        )
    return (
        f'from transformers import {model_class}\n\nmodel = {model_class}.from_pretrained("FOLDER")'
    )


def cost_table(cost: ModelCost) -> str:
    """What a model takes before and after, as a table in Markdown."""
    rows = ["| | before | after |", "| --- | ---: | ---: |"]
    for name, before, after in cost_rows(cost):
        whole = isinstance(before, int)
        shown = (f"{before:,} | {after:,}") if whole else f"{before:.1f} | {after:.1f}"
        rows.append(f"| {name} | {shown} |")
    return "\n".join(rows)


def _method(smaller: SmallerModel) -> str:
    """What was done, by its name."""
    plan, coding = smaller.factorization, smaller.factorization.coding
    name = name_method(
        plan.k,
        affine=plan.affine,
        loss=str(plan.record.config.get("loss", "squared")),
        coded=plan.parameters is None,
    )
    if coding is None:
        return name
    return f"{name}, coordinates in {coding.named_bits} bits and bases in {coding.named_basis_bits}"


def _public(origin: Origin) -> str:
    """How a card names a model: where it lies on somebody's disk is nobody else's business."""
    return origin.spec if origin.hub_id is not None else Path(origin.spec).resolve().name


def _neighbours(figures: Mapping[str, Any]) -> str:
    kept = figures["neighbours_kept"]
    if kept is None:
        return ""
    return f"Of a token's {kept['count']} nearest neighbours it keeps {kept['mean']:.1%}."


def _again(origin: Origin, record: RunRecord) -> str:
    if not origin.spec:
        return f"It was made of {origin.name}, which was in memory.\n"
    return f"""```console
$ {command_of(_public(origin), record.config)}
```

```python
{call_of(_public(origin), record.config)}
```
"""
