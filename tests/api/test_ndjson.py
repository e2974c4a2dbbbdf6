from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_push.api.ndjson import MAX_LINE_BYTES, Line, LineSplitter


def split(*chunks: bytes) -> list[Line]:
    splitter = LineSplitter()
    return [line for chunk in chunks for line in splitter.feed(chunk)] + splitter.finish()


def test_lines() -> None:
    assert split(b"a\nb\r\n\n \nc") == [Line(1, b"a"), Line(2, b"b"), Line(5, b"c")]
    assert split(b"") == []
    assert split(b"\n") == []
    assert split(b"a", b"", b"b", b"\nc\n") == [Line(1, b"ab"), Line(2, b"c")]


def test_lines_come_as_soon_as_they_are_complete() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"a\nb") == [Line(1, b"a")]
    assert splitter.feed(b"\n") == [Line(2, b"b")]
    assert splitter.finish() == []


def test_a_line_that_is_too_long_harms_no_other() -> None:
    longest = b"x" * MAX_LINE_BYTES
    assert split(longest + b"\nb") == [Line(1, longest), Line(2, b"b")]
    assert split(longest + b"x\nb") == [Line(1, None), Line(2, b"b")]
    assert split(b"a\n", longest, longest, longest) == [Line(1, b"a"), Line(2, None)]


@given(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b" ", b"x" * MAX_LINE_BYTES])))
def test_chunks_make_no_difference(chunks: list[bytes]) -> None:
    assert split(*chunks) == split(b"".join(chunks))
