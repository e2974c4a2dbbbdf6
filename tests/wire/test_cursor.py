from __future__ import annotations

import pytest

from trio_push.wire.cursor import Cursor, parse_cursor


@pytest.mark.parametrize(
    ("text", "cursor"),
    [
        (b"ab12:7", Cursor("ab12", 7)),
        (b" ab12:7 ", Cursor("ab12", 7)),
        (b"ab12:0", Cursor("ab12", 0)),
        (b"", None),
        (b"7", None),
        (b":7", None),
        (b"ab12:", None),
        (b"ab12:-7", None),
        (b"ab12:7x", None),
        (b"ab12:7:8", None),
        (b"a b:7", None),
        (b"\xff:7", None),
        (b"ab12:" + b"9" * 21, None),
        (b"ab12:" + b"9" * 10_000, None),
    ],
)
def test_parse_cursor(text: bytes, cursor: Cursor | None) -> None:
    assert parse_cursor(text) == cursor
    if cursor is not None:
        assert parse_cursor(str(cursor).encode()) == cursor
