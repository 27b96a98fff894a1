"""Messages survive the pipe, one line each, and nothing else is taken for one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import FormatError, ParameterError
from engine.jobs.protocol import (
    Cancel,
    Failure,
    Message,
    Ready,
    Report,
    Request,
    Result,
    decode,
    encode,
)

texts = st.text(st.characters())  # line ends and lone surrogates included


@given(
    st.one_of(
        st.builds(Request, job_id=texts, kind=texts, params=st.dictionaries(texts, texts)),
        st.builds(Cancel, job_id=texts),
        st.builds(Ready, pid=st.integers()),
        st.builds(
            Report,
            job_id=texts,
            phase=texts,
            done=st.integers(0, 5),
            total=st.integers(5, 9),
            detail=texts,
        ),
        st.builds(Result, job_id=texts, value=st.dictionaries(texts, st.none() | texts)),
        st.builds(
            Failure,
            job_id=texts,
            reason=st.sampled_from(["error", "cancelled", "bug"]),
            message=texts,
            traceback=texts,
        ),
    )
)
def test_message_is_one_line_and_comes_back_equal(message: Message) -> None:
    line = encode(message)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode(line) == message


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"libraries print such things\n",
        b"[]\n",
        b"3\n",
        b"{}\n",
        b'{"type": "boast"}\n',
        b'{"type": ["ready"]}\n',
        b'{"type": "ready"}\n',
        b'{"type": "ready", "pid": 1, "mood": "good"}\n',
        b'{"type": "report", "job_id": "a", "phase": "b", "done": 3, "total": 2}\n',
        b"\xff\n",
        b"[" * 100_000,
    ],
)
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(FormatError, match="expected a message between the app and its worker"):
        decode(line)


@pytest.mark.parametrize("value", [math.nan, {1}, b"x"])
def test_only_json_goes_in(value: object) -> None:
    with pytest.raises(ParameterError, match=r"must be JSON .* put arrays into a file"):
        encode(Result(job_id="1", value={"x": value}))
