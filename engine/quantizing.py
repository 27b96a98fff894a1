"""A factorization in fewer bits: bases first, then coordinates refitted to what is stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from engine.coding.codes import CodedMatrix, Coding, Stored, decoded
from engine.coding.halves import in_half
from engine.coding.rounding import code_columns, round_to_nearest
from engine.errors import ParameterError
from engine.factorization import Factorization


def quantize(plan: Factorization, coding: Coding, workspace: Path | None = None) -> Factorization:
    """Code bases and offsets, refit every row to them, and code the coordinates.

    The rows refitted are those the factorization approximates, so the matrix is not needed:
    c·V + o becomes the closest ĉ·V̂ + ô, that is ĉ = (c·V + o − ô)·V̂ᵀ(V̂V̂ᵀ)⁻¹.

    Args:
        plan: Stored as it was computed.
        coding: The bits.
        workspace: A folder on a disk with room for the coded coordinates; in memory without.

    Returns:
        A factorization of the same labels, whose rows come out in float32.

    Raises:
        ParameterError: If it is coded already, or a number is too large for what stores it.
        OSError: If the disk of the workspace is full.

    Cost: three times 2·n·j² flops and the roundings of `engine.coding.rounding.code_columns`.
    """
    if plan.coding is not None:
        raise ParameterError(
            f"this factorization is quantised already (at {plan.coding.named_bits} bits); quantise "
            "the one it was made from"
        )
    bases = tuple(_code_basis(decoded(basis), coding.basis_bits) for basis in plan.bases)
    offsets = None
    if plan.offsets is not None:
        offsets = tuple(in_half(offset, "offsets") for offset in plan.offsets)
    coordinates = tuple(
        _code_coordinates(
            plan, cluster, basis, None if offsets is None else offsets[cluster], coding, workspace
        )
        for cluster, basis in enumerate(bases)
    )
    note = (
        f"Coordinates are stored at {coding.bits} bits and bases at {coding.basis_bits}; the costs "
        "of the starts are those before rounding."
    )
    record = replace(
        plan.record,
        config={**plan.record.config, "bits": coding.bits, "basis_bits": coding.basis_bits},
        notes=(*plan.record.notes, note),
    )
    return Factorization(
        labels=plan.labels, bases=bases, coordinates=coordinates, record=record, offsets=offsets
    )


def _code_basis(basis: Tensor, bits: int) -> Stored:
    return in_half(basis, "bases") if bits == 16 else round_to_nearest(basis, bits=bits)


def _code_coordinates(
    plan: Factorization,
    cluster: int,
    basis: Stored,
    offset: Tensor | None,
    coding: Coding,
    workspace: Path | None,
) -> CodedMatrix:
    block, stored = decoded(plan.coordinates[cluster]), decoded(basis).double()
    # In double: j × j numbers cost nothing, and bases of 8 bits are not quite orthonormal.
    inverse = stored.T @ torch.linalg.pinv(stored @ stored.T, hermitian=True)
    turn = (decoded(plan.bases[cluster]).double() @ inverse).to(block.dtype)
    shift = torch.zeros(block.shape[1], dtype=block.dtype)
    if plan.offsets is not None and offset is not None:
        shift = ((plan.offsets[cluster].double() - offset.double()) @ inverse).to(block.dtype)
    return code_columns(
        lambda rows: torch.addmm(shift, block[rows], turn).float(),
        (block.shape[0], block.shape[1]),
        bits=coding.bits,
        workspace=workspace,
    )
