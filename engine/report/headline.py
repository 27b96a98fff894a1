"""The figures people decide by, each beside the SVD's: on the page and in a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.coding.codes import Coding
from engine.coding.mixed import MixedCoding
from engine.wording import fewer_or_more, name_svd, short_bytes, short_count


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadlineFigure:
    """One figure.

    Attributes:
        label: What it is.
        value: The figure.
        beside: What it is to be compared with.
        meaning: How it is counted, in a sentence or two.
    """

    label: str
    value: str
    beside: str
    meaning: str


_AnyCoding = Coding | MixedCoding | None


def headline_figures(figures: dict[str, Any], coding: _AnyCoding) -> tuple[HeadlineFigure, ...]:
    """Numbers and bytes stored, errors and neighbours kept; those that were measured.

    Numbers are no measure of a coded plan, whose bits differ.

    Args:
        figures: As `engine.compression.Compression.as_dict`.
        coding: The bits of the plan's numbers where they are not 32.
    """
    return (
        *_numbers(figures),
        _bytes(figures, coding),
        *_errors(figures, coding),
        *_neighbours(figures),
    )


def _numbers(figures: dict[str, Any]) -> list[HeadlineFigure]:
    if figures["parameters"] is None:
        return []
    return [
        HeadlineFigure(
            label="Numbers stored",
            value=short_count(figures["parameters"]),
            beside=f"{fewer_or_more(figures['rate'])} than "
            f"{short_count(figures['parameters_before'])}",
            meaning="Coordinates of every row and the bases; the layer as it was held the second "
            "figure.",
        )
    ]


def _bytes(figures: dict[str, Any], coding: _AnyCoding) -> HeadlineFigure:
    each = "32 bits a number"
    if coding is not None:
        each = (
            f"{coding.named_bits} bits a coordinate, {coding.named_basis_bits} a number of a basis"
        )
    dense = figures["dense_bytes"]  # in float32, as ours are counted
    before = f"was {short_bytes(dense)}"
    if figures["parameters"] is None:
        before = f"{figures['stored_bytes'] / dense:.1%} of {short_bytes(dense)}"
    if figures["source_bytes"] != figures["dense_bytes"]:
        before = f"{before}, {short_bytes(figures['source_bytes'])} in its file"
    return HeadlineFigure(
        label="Bytes stored",
        value=short_bytes(figures["stored_bytes"]),
        beside=before,
        meaning=f"Everything a file needs, each row's subspace number included; {each}.",
    )


def _errors(figures: dict[str, Any], coding: _AnyCoding) -> list[HeadlineFigure]:
    svd, weighted_svd = figures["svd"], figures["weighted_svd"]
    bits = svd["bits"]
    each = f", at {bits or 32} bits each: {short_bytes(svd['stored_bytes'])}"
    rounded = "" if coding is None else each
    least = "numbers" if figures["parameters"] is not None else "bytes"
    found = [
        HeadlineFigure(
            label="Error",
            value=f"{figures['relative_error']:.2%}",
            beside=f"{name_svd(bits, weighted=False)} {svd['relative_error']:.2%}",
            meaning="Squared distance between the rows and their approximation, over the rows' "
            f"squared length. The SVD beside it has rank {svd['dimensions'][0]} and stores at "
            f"least as many {least}{rounded}.",
        )
    ]
    if weighted_svd is not None:
        found.append(
            HeadlineFigure(
                label="Error, weighted by use",
                value=f"{figures['weighted_error']:.2%}",
                beside=f"{name_svd(bits, weighted=True)} {weighted_svd['weighted_error']:.2%}",
                meaning="The same, where a token's row counts by how often the token is used: what "
                "the fit made small. The SVD beside it was fitted with the same weights.",
            )
        )
    return found


def _neighbours(figures: dict[str, Any]) -> list[HeadlineFigure]:
    weighted_svd = figures["weighted_svd"]
    rival = figures["svd"] if weighted_svd is None else weighted_svd
    name = name_svd(rival["bits"], weighted=weighted_svd is not None)
    ours, theirs = figures["neighbours_kept"], rival["neighbours_kept"]
    if ours is None or theirs is None:
        return []
    return [
        HeadlineFigure(
            label="Neighbours kept",
            value=f"{ours['mean']:.1%}",
            beside=f"{name} {theirs['mean']:.1%}",
            meaning=f"Share of a token's {ours['count']} nearest neighbours (by cosine) that are "
            f"still among its {ours['count']} nearest after compression; mean over "
            f"{ours['queries']:,} sampled tokens, ± {ours['standard_error']:.1%}.",
        )
    ]
