"""A run's record says exactly what was written, and refuses anything else by name."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import FormatError, ParameterError
from engine.records import SCHEMA_VERSION, RunRecord

SOURCE: dict[str, Any] = {
    "spec": "bundled:minilm",
    "name": "all-MiniLM-L6-v2",
    "fingerprint": "blake2b:00",
    "rows": 30522,
    "columns": 384,
    "dtype": "float32",
}


def make_record(**changes: object) -> RunRecord:
    values: dict[str, Any] = {
        "kind": "compress",
        "name": "k = 5",
        "source": dict(SOURCE),
        "config": {"k": 5, "rate": 0.4, "seed": 0, "weights": None},
        "figures": {"relative_error": 0.1341},
        "wall_seconds": 12.5,
        "versions": {"python": "3.11"},
    }
    return RunRecord(**(values | changes))


def text_with(**changes: object) -> str:
    return json.dumps(json.loads(make_record().to_json()) | changes)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # Lone surrogates included: a byte-level token may well hold one.
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values, max_size=4), st.text())
def test_what_is_written_is_read(config: dict[str, Any], name: str) -> None:
    record = make_record(config=config, name=name)
    assert RunRecord.from_json(record.to_json()) == record


def test_created_is_now_in_utc() -> None:
    record = make_record()
    offset = record.created_at.utcoffset()
    assert offset is not None
    assert offset.total_seconds() == 0


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kind", "explore", "kind must be 'compress' or 'evaluate' or 'sweep', got 'explore'"),
        ("name", 3, "name must be text, got 3"),
        ("source", "x", "source must be an object"),
        ("source", {"spec": "x"}, "source needs exactly the keys .* missing: columns, dtype"),
        ("source", SOURCE | {"path": "x"}, "unknown: path"),
        ("source", SOURCE | {"rows": 0}, r"source\['rows'\] must be a whole number, at least 1"),
        ("source", SOURCE | {"rows": True}, r"source\['rows'\] must be a whole number"),
        ("source", SOURCE | {"dtype": 32}, r"source\['dtype'\] must be text"),
        ("config", [], "config must be an object"),
        ("figures", None, "figures must be an object"),
        ("versions", {"torch": 2}, r"versions\['torch'\] must be text"),
        ("wall_seconds", -1, "wall_seconds must be a finite number, at least 0, got -1"),
        ("wall_seconds", "1", "wall_seconds must be a finite number"),
        ("created", "yesterday", "created must be a moment in UTC"),
        ("created", "2025-01-31T12:00:00", "created must be a moment in UTC"),
        ("created", "2025-01-31T12:00:00+02:00", "created must be a moment in UTC"),
        ("schema_version", "1", "schema_version must be 1, got '1'"),
        ("schema_version", 0, "schema_version must be 1, got 0"),
    ],
)
def test_wrong_value_is_named_on_the_way_in_and_out(key: str, value: object, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        make_record(**{key: value})
    with pytest.raises(FormatError, match=message):
        RunRecord.from_json(text_with(**{key: value}))


@pytest.mark.parametrize("value", [math.nan, math.inf, {1, 2}, b"x"])
def test_value_that_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(ParameterError, match="JSON values only"):
        make_record(figures={"error": value})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected JSON, could not read it"),
        ("{", "expected JSON, could not read it"),
        ("[" * 100_000, "expected JSON, could not read it"),
        ("[]", "expected a JSON object, got list"),
        ("{}", "missing: config, created, figures"),
        (text_with(colour="red"), "unknown: colour"),
        (text_with().replace("12.5", "NaN"), "NaN is not a JSON number"),
    ],
)
def test_damaged_text_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        RunRecord.from_json(text)


def test_newer_version_is_said_before_its_unknown_keys() -> None:
    text = text_with(schema_version=SCHEMA_VERSION + 1, invention="yes")
    with pytest.raises(FormatError, match=r"newer version.*pip install --upgrade subspace-atlas"):
        RunRecord.from_json(text)
