"""Controls of the Explore page: the plan to fit, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from engine import EmbeddingTable, EngineError
from engine.budget import (
    budget_for_rate,
    dimension_for_rate,
    matching_rank,
    most_bytes,
    parameters,
    uniform_bytes,
)
from engine.coding.choosing import CODED_KS
from engine.coding.codes import Coding
from engine.frequencies.row_use import NO_WEIGHTS
from engine.methods import DEFAULT_STARTS
from engine.plans import CompressionConfig
from engine.requests import AUTO_KS, DEFAULT_CODED_K, DEFAULT_K
from pages.parts import coded_plan, fit
from pages.parts.wording import literal, short_bytes, short_count

# Controls that keep their value while another page is looked at.
LASTING = (
    *coded_plan.LASTING,
    *("k", "auto", "by", "rate", "j", "bits", "basis-bits", "starts", "seed"),
)

_BY_RATE, _BY_DIMENSION = "Rate", "Dimension"
_PERCENTS = range(5, 100, 5)
_LARGEST_K, _MOST_STARTS, _LARGEST_SEED = 32, 20, 2**31 - 1
# What makes a plan another one; seed, starts and moves only look longer or elsewhere for the same.
_KIND = ("j", "rate", "allocation", "affine", "loss", "weights", "bits")
_WEIGHING = ("weight_power", "weight_floor")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    """Rate or dimension, whichever is asked for; the other is None."""

    rate: float | None
    j: int | None


def choose_plan(table: EmbeddingTable) -> dict[str, Any] | None:
    """Controls for the plan, with what they come to written beneath.

    Returns:
        Keyword arguments of `engine.plans.CompressionConfig`; None where the size has no
        room or something is still missing.
    """
    n, d = table.matrix.shape
    with st.sidebar:
        st.subheader("Plan")
        method = coded_plan.choose_method(_usual_ks(n))
        k = _choose_k(n, method)
        if method == coded_plan.CODED:
            share = coded_plan.choose_share(table)
            return coded_plan.choose_rest(table, k, share)
        allocation = fit.choose_allocation() if k != 1 else "uniform"
        size = _choose_size(d, auto=k == "auto")
        bits = _choose_bits()
        comes_to = st.container()
        weights = fit.choose_known_weights()
        with st.expander("Advanced"):
            advanced = fit.choose_advanced(weighted=weights != NO_WEIGHTS)
            basis_bits = 16 if bits is None else _choose_basis_bits()
            n_init, seed = _choose_starts()
        plan: dict[str, Any] = {
            "method": "svd" if k == 1 else "messi",
            "k": k,
            "rate": size.rate,
            "j": size.j,
            "allocation": allocation,
            "affine": advanced.affine,
            "loss": advanced.loss,
            "weights": weights,
            "weight_power": advanced.power,
            "weight_floor": advanced.floor,
            "moves": advanced.moves,
            "seed": seed,
            "n_init": n_init,
            "bits": bits,
            "basis_bits": basis_bits,
        }
        with comes_to:
            try:
                st.caption(_describe_size(n, d, plan))
            except EngineError as error:
                st.error(literal(str(error)))
                return None
    return None if weights is None else plan


def differs(plan: Mapping[str, Any], made: Mapping[str, Any], dense_bytes: int) -> bool:
    """Whether another kind of plan was made, however long the best of its kind was sought.

    Args:
        plan: As `choose_plan` gives it.
        made: The same of the plan that was made; no other where this version cannot read it.
        dense_bytes: Of the table in float32.
    """
    try:
        wanted, known = CompressionConfig.of(plan), CompressionConfig.of(made)
    except EngineError:
        return False
    if wanted.k == "auto":
        wanted = replace(wanted, k=known.k)
    weighing = _WEIGHING if wanted.weights != NO_WEIGHTS else ()
    if any(getattr(wanted, name) != getattr(known, name) for name in (*_KIND, *weighing)):
        return True
    sizes = [config.fit_arguments(dense_bytes)["max_bytes"] for config in (wanted, known)]
    return sizes[0] != sizes[1] or _subspaces(wanted) != _subspaces(known)


def _subspaces(config: CompressionConfig) -> int | str:
    """k, also where it was left out."""
    if config.k is not None:
        return config.k
    if isinstance(config.j, Sequence):
        return len(config.j)
    return {"svd": 1, "coded": DEFAULT_CODED_K}.get(config.method, DEFAULT_K)


def controls_of(made: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the controls say where they ask for a plan that was made: key → value.

    Args:
        made: As `choose_plan` gives it.

    Returns:
        None where there is no control for something of it, such as one dimension for each subspace.
    """
    try:
        config = CompressionConfig.of(made)
    except EngineError:
        return None
    k, size, others = _subspaces(config), _size_controls(config), fit.controls_of(config)
    if size is None or others is None or config.n_init > _MOST_STARTS:
        return None
    if config.seed > _LARGEST_SEED or (k != "auto" and int(k) > _LARGEST_K):
        return None
    return {
        **size,
        "auto": k == "auto",
        **({} if k == "auto" else {"k": k}),
        "bits": "32" if config.bits is None else str(config.bits),
        "basis-bits": str(config.basis_bits),
        "starts": config.n_init,
        "seed": config.seed,
        **others,
    }


def take_over(made: Mapping[str, Any]) -> None:
    """Let the controls ask for a plan that was made, where they can; before they are drawn."""
    st.session_state.update(controls_of(made) or {})


def _size_controls(config: CompressionConfig) -> dict[str, Any] | None:
    if config.max_bytes is not None:
        share = coded_plan.share_of(config.max_bytes)
        return None if share is None else {"method": coded_plan.CODED, "bytes": share}
    if config.rate is None:
        named = {"method": coded_plan.PLAIN, "by": _BY_DIMENSION, "j": config.j}
        return named if isinstance(config.j, int) else None
    percent = round(100 * config.rate, 6)
    if percent not in _PERCENTS:
        return None
    return {"method": coded_plan.PLAIN, "by": _BY_RATE, "rate": int(percent)}


def _usual_ks(n: int) -> dict[str, int]:
    return {
        coded_plan.PLAIN: min(DEFAULT_K, n),
        coded_plan.CODED: min(DEFAULT_CODED_K, n),
    }


def _choose_k(n: int, method: str) -> int | str:
    if n == 1:
        return 1
    highest = min(_LARGEST_K, n)
    clamp("k", highest)
    place = st.container()
    coded = method == coded_plan.CODED
    tried, where = (CODED_KS, "in these bytes") if coded else (AUTO_KS, "at this rate")
    auto = st.toggle(
        "Find k by itself",
        key="auto",
        bind="query-params",
        help=f"Tries k = {', '.join(map(str, tried))} for a moment each and takes the one that "
        f"loses least {where}.",
    )
    about = "Each row goes to the closest of k subspaces. One subspace is the usual SVD."
    if coded:
        about = "A row goes where its error and its bits together cost least."
    k = place.slider(
        "Subspaces k",
        1,
        highest,
        _usual_ks(n)[method],
        key="k",
        bind="query-params",
        disabled=auto,
        help=about,
    )
    return "auto" if auto else k


def _choose_size(d: int, *, auto: bool) -> _Size:
    # Of several k with one j each the largest always loses least: only a rate compares them.
    by_rate = auto or (
        st.segmented_control(
            "Size by",
            [_BY_RATE, _BY_DIMENSION],
            default=_BY_RATE,
            required=True,
            key="by",
            bind="query-params",
        )
        == _BY_RATE
    )
    if not by_rate:
        clamp("j", max(2, d))
        j = st.slider("Dimension j", 1, max(2, d), max(1, d // 2), key="j", bind="query-params")
        return _Size(rate=None, j=min(j, d))
    percent = st.slider(
        "Compression rate",
        _PERCENTS[0],
        _PERCENTS[-1],
        40,
        _PERCENTS.step,
        format="%d %%",
        key="rate",
        bind="query-params",
        help="Share of the numbers removed: 40 % leaves 60 % of them.",
    )
    return _Size(rate=percent / 100, j=None)


def _choose_bits() -> int | None:
    """Control for how each number is stored; None for 32 bits."""
    chosen = st.segmented_control(
        "Bits of a number",
        ["32", "8", "4"],
        default="32",
        required=True,
        key="bits",
        bind="query-params",
        width="stretch",
        help="Fewer bits store a token's numbers more coarsely: a quarter or an eighth of the "
        "bytes. 8 bits nearly always lose next to nothing; at 4 bits a lower rate may lose less.",
    )
    return None if chosen == "32" else int(str(chosen))


def _choose_basis_bits() -> int:
    chosen = st.segmented_control(
        "Bits in the bases",
        ["16", "8"],
        default="16",
        required=True,
        key="basis-bits",
        bind="query-params",
        width="stretch",
        help="All tokens of a subspace share its basis: it takes few of the bytes, and what it "
        "loses, all of them lose.",
    )
    return int(str(chosen))


def _choose_starts() -> tuple[int, int]:
    n_init = st.slider(
        "Starts",
        1,
        _MOST_STARTS,
        DEFAULT_STARTS,
        key="starts",
        bind="query-params",
        help="The fit finds a local optimum; of more starts the best is better. On large tables "
        "they race on a sample first.",
    )
    seed = st.number_input(
        "Seed",
        0,
        _LARGEST_SEED,
        0,
        key="seed",
        bind="query-params",
        help="The same seed gives the same result.",
    )
    return n_init, int(seed)


def _describe_size(n: int, d: int, plan: dict[str, Any]) -> str:
    """What the size comes to, in numbers and bytes stored.

    Raises:
        EngineError: If there is no room for one dimension.
    """
    k, j, rate, affine = plan["k"], plan["j"], plan["rate"], plan["affine"]
    coding = Coding.asked(plan["bits"], plan["basis_bits"])
    shared_out = plan["allocation"] == "optimal"
    if k == "auto" or shared_out:
        most_k = max(AUTO_KS) if k == "auto" else k
        stored = (
            budget_for_rate(n, d, rate) if j is None else parameters(n, d, most_k, j, affine=affine)
        )
        most = most_bytes(n, d, most_k, stored, affine=affine, coding=coding)
        begin, size = "At most ", f"at most {short_bytes(most)}"
    else:
        j = dimension_for_rate(n, d, k, rate, affine=affine) if j is None else j
        begin, stored = f"j = {j}: ", parameters(n, d, k, j, affine=affine)
        size = short_bytes(uniform_bytes(n, d, k, j, affine=affine, coding=coding))
    end = "; the fit shares them out." if shared_out else "."
    return (
        f"{begin}{short_count(stored)} of {short_count(n * d)} numbers, "
        f"no more than an SVD of rank {matching_rank(n, d, stored)}{end} "
        f"Stored in {size} of {short_bytes(4 * n * d)}."
    )


def clamp(key: str, highest: int) -> None:
    """Bring a control's value down to what this table allows; another one may have allowed more."""
    if st.session_state.get(key, 0) > highest:
        st.session_state[key] = highest
