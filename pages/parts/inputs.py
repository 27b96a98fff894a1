"""The sidebar: which table, which plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from engine import EmbeddingTable, EngineError
from engine.budget import dimension_for_rate, matching_rank, parameters, rate_for_dimension
from pages.parts.state import Source, keep_upload
from pages.parts.wording import literal, short_count

_BUNDLED = "Bundled model"
_HUB = "Hugging Face model"
_PATH = "File or folder"
_UPLOAD = "Upload"
_LARGEST_K = 32
_LAST_UPLOAD = "last-upload"
# Controls of either page that keep their value while the other is looked at.
_LASTING = ("source", "spec", "tensor", "tokens", "k", "by", "rate", "j", "starts", "seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChoice:
    """What the controls say, and the dimension it comes to.

    Attributes:
        k: Number of subspaces.
        j: Dimension of each, or None where the budget has no room.
        rate: The rate that the dimension comes to.
        seed: For every random choice.
        n_init: Number of starts.
    """

    k: int
    j: int | None
    rate: float
    seed: int
    n_init: int

    def as_params(self) -> dict[str, object]:
        """The same as keyword arguments of `engine.compression.CompressionConfig`."""
        return {
            "method": "messi" if self.k > 1 else "svd",
            "k": self.k,
            "j": self.j,
            "seed": self.seed,
            "n_init": self.n_init,
        }


def choose_source() -> Source | None:
    """Controls for the table; None while there is nothing to load yet.

    Raises:
        EngineError: If an upload cannot be kept.
    """
    _carry_over(*_LASTING)
    with st.sidebar:
        st.subheader("Embedding table")
        kind = st.selectbox(
            "Source",
            [_BUNDLED, _HUB, _PATH, _UPLOAD],
            key="source",
            bind="query-params",
            help="Only the input embedding is read; the model itself is never built.",
        )
        if kind == _BUNDLED:
            st.caption("all-MiniLM-L6-v2, a sentence encoder that comes with the app.")
            return Source(spec="bundled:minilm")
        if kind == _UPLOAD:
            return _uploaded()
        placeholder = "bert-base-uncased" if kind == _HUB else "/data/vectors.npy"
        label = "Model id" if kind == _HUB else "Path on this machine"
        spec = st.text_input(label, key="spec", bind="query-params", placeholder=placeholder)
        if not spec.strip():
            return None
        tensor, tokens = _details(with_tokens=kind == _PATH)
        return Source(spec=spec.strip(), tensor=tensor, tokens=tokens)


def _uploaded() -> Source | None:
    file = st.file_uploader(
        "Vectors", type=["npy", "npz", "safetensors", "vec", "txt"], key="upload"
    )
    tokens = st.file_uploader(
        "Tokens, one a line (optional)", type=["txt", "tsv", "tokens"], key="upload-tokens"
    )
    if file is not None:
        st.session_state[_LAST_UPLOAD] = (
            keep_upload(file),
            None if tokens is None else keep_upload(tokens),
        )
    elif _LAST_UPLOAD in st.session_state:
        st.caption(f"Still shown: {literal(Path(st.session_state[_LAST_UPLOAD][0]).name)}")
    else:
        return None
    tensor, _ = _details(with_tokens=False)
    vectors_path, tokens_path = st.session_state[_LAST_UPLOAD]
    return Source(spec=vectors_path, tensor=tensor, tokens=tokens_path)


def _details(*, with_tokens: bool) -> tuple[str | None, str | None]:
    with st.expander("Which array, which tokens"):
        tensor = st.text_input("Name of the array", key="tensor", placeholder="found by itself")
        tokens = ""
        if with_tokens:
            tokens = st.text_input("Tokens file", key="tokens", placeholder="beside the vectors")
    return tensor.strip() or None, tokens.strip() or None


def _carry_over(*keys: str) -> None:
    """Let controls keep their values when the page changes; Streamlit ties them to one page."""
    for key in keys:
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]


def _clamp(key: str, highest: int) -> None:
    """Bring a control's value down to what this table allows; another one may have allowed more."""
    if st.session_state.get(key, 0) > highest:
        st.session_state[key] = highest


def choose_plan(table: EmbeddingTable) -> PlanChoice:
    """Controls for k and the size, with what they come to written beneath."""
    n, d = table.matrix.shape
    with st.sidebar:
        st.subheader("Plan")
        highest_k = max(2, min(_LARGEST_K, n))
        _clamp("k", highest_k)
        k = st.slider(
            "Subspaces k",
            1,
            highest_k,
            min(5, n),
            key="k",
            bind="query-params",
            help="Each row goes to the closest of k subspaces. One subspace is the usual SVD.",
        )
        by_rate = (
            st.segmented_control(
                "Size by",
                ["Rate", "Dimension"],
                default="Rate",
                required=True,
                key="by",
                bind="query-params",
            )
            == "Rate"
        )
        j, problem = _choose_size(n, d, k, by_rate=by_rate)
        if j is None:
            st.error(problem)
        else:
            stored = parameters(n, d, k, j)
            st.caption(
                f"j = {j}: {short_count(stored)} of {short_count(n * d)} numbers, "
                f"no more than an SVD of rank {matching_rank(n, d, stored)}."
            )
        with st.expander("Starts and seed"):
            n_init = st.slider(
                "Starts",
                1,
                12,
                3,
                key="starts",
                bind="query-params",
                help="EM finds a local optimum; more starts find a better one, and take longer.",
            )
            seed = st.number_input("Seed", 0, 2**31 - 1, 0, key="seed", bind="query-params")
    rate = rate_for_dimension(n, d, k, j) if j else 0.0
    return PlanChoice(k=k, j=j, rate=rate, seed=int(seed), n_init=n_init)


def _choose_size(n: int, d: int, k: int, *, by_rate: bool) -> tuple[int | None, str]:
    if not by_rate:
        _clamp("j", max(2, d))
        j = st.slider("Dimension j", 1, max(2, d), max(1, d // 2), key="j", bind="query-params")
        return min(j, d), ""
    percent = st.slider(
        "Compression rate",
        5,
        95,
        40,
        5,
        format="%d %%",
        key="rate",
        bind="query-params",
        help="Share of the numbers removed: 40 % leaves the layer at 60 % of its size.",
    )
    try:
        return dimension_for_rate(n, d, k, percent / 100), ""
    except EngineError as error:
        return None, literal(str(error))
