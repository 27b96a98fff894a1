"""The sidebar: which table."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import streamlit as st

from engine.errors import EngineError
from engine.paths import uploads_folder
from engine.sources import is_hub_id
from pages.parts import fit, hosting, plan
from pages.parts.atlas import selection
from pages.parts.state import Source, run_store, source_of
from pages.parts.uploads import keep_upload
from pages.parts.wording import literal

_BUNDLED = "Bundled model"
_HUB = "Hugging Face model"
_PATH = "File or folder"
_UPLOAD = "Upload"
_LAST_UPLOAD = "last-upload"
# Controls of a page that keep their value while another is looked at.
_LASTING = ("source", "spec", "tensor", "tokens", *plan.LASTING, *fit.LASTING, *selection.LASTING)
_LASTING_PREFIX = "accuracy-"  # one a check: their names would load the checks on every page


def choose_source() -> Source | None:
    """Controls for the table; None while there is nothing to load yet.

    Raises:
        EngineError: If an upload cannot be kept.
    """
    keep_choices()
    _follow_run()
    with st.sidebar:
        st.subheader("Embedding table")
        kind = st.selectbox(
            "Source",
            [_BUNDLED, _HUB, _PATH, _UPLOAD],
            key="source",
            bind="query-params",
            help="Only the input embedding is read; the model is built only for its download.",
        )
        if kind == _BUNDLED:
            st.caption("all-MiniLM-L6-v2, a sentence encoder that comes with the app.")
            return Source(spec="bundled:minilm")
        if kind == _UPLOAD:
            return _uploaded()
        placeholder = "bert-base-uncased" if kind == _HUB else "/data/vectors.npy"
        label = "Model id" if kind == _HUB else "Path on this machine"
        spec = st.text_input(
            label,
            key="spec",
            bind="query-params",
            placeholder=placeholder,
            help=hosting.access().describe() if kind == _PATH else None,
        )
        if not spec.strip():
            return None
        tensor, tokens = _details(with_tokens=kind == _PATH)
        return Source(spec=spec.strip(), tensor=tensor, tokens=tokens)


def keep_choices() -> None:
    """Let the controls of other pages keep their values while this one is looked at."""
    accuracy = (str(key) for key in st.session_state if str(key).startswith(_LASTING_PREFIX))
    _carry_over(*_LASTING, *accuracy)


def point_at(source: Source) -> dict[str, str]:
    """Set the controls to a table, before a page shows them.

    Args:
        source: The table.

    Returns:
        What a link to a page says of it.
    """
    chosen = {"spec": source.spec, "tensor": source.tensor or "", "tokens": source.tokens or ""}
    if source.spec == "bundled:minilm":
        kind, chosen = _BUNDLED, {}
    elif is_upload(source.spec):
        kind = _UPLOAD
        st.session_state[_LAST_UPLOAD] = (source.spec, source.tokens)
    elif source.tokens is None and is_hub_id(source.spec) and not Path(source.spec).exists():
        kind = _HUB
    else:
        kind = _PATH
    st.session_state["source"] = kind
    st.session_state.update(chosen)
    if kind == _BUNDLED:
        return {}
    told = {} if kind == _UPLOAD else {name: value for name, value in chosen.items() if value}
    return {"source": kind, **told}


def _follow_run() -> None:
    """Point at the table of the run that a link names, where the link itself cannot name one."""
    run_id = st.query_params.get("run")
    named = st.query_params.get("source", _UPLOAD) != _UPLOAD
    if named or run_id is None or "source" in st.session_state:
        return
    with suppress(EngineError):  # what is wrong with the run is said where it is shown
        point_at(source_of(run_store().load(run_id)))


def is_upload(spec: str) -> bool:
    """Whether a table was uploaded; a link does not name the file then."""
    return uploads_folder() in Path(spec).parents


def _uploaded() -> Source | None:
    file = st.file_uploader(
        "Vectors", type=["npy", "npz", "safetensors", "vec", "txt", "gz"], key="upload"
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
        tensor = st.text_input(
            "Name of the array", key="tensor", bind="query-params", placeholder="found by itself"
        )
        tokens = ""
        if with_tokens:
            tokens = st.text_input(
                "Tokens file", key="tokens", bind="query-params", placeholder="beside the vectors"
            )
    return tensor.strip() or None, tokens.strip() or None


def _carry_over(*keys: str) -> None:
    """Let controls keep their values when the page changes; Streamlit ties them to one page."""
    for key in keys:
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]
