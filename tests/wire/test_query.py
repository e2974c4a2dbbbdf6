from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_push.wire.query import split_target, value


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        (b"/events?token=aa", (b"/events", b"token=aa")),
        (b"/events", (b"/events", b"")),
        (b"/events?", (b"/events", b"")),
        (b"/events?a=b?c", (b"/events", b"a=b?c")),
        (b"http://host:1/events?token=aa", (b"/events", b"token=aa")),
        (b"http://host", (b"/", b"")),
        (b"//events", (b"//events", b"")),
        (b"*", (b"/", b"")),
        (b"", (b"/", b"")),
        (b"host:1", (b"/", b"")),
    ],
)
def test_split_target(target: bytes, parts: tuple[bytes, bytes]) -> None:
    assert split_target(target) == parts


@pytest.mark.parametrize(
    ("query", "token"),
    [
        (b"token=aa", b"aa"),
        (b"a=b&token=aa&c", b"aa"),
        (b"token=aa&token=bb", b"aa"),
        (b"token=%61+%2b%3D", b"a +="),
        (b"token=a=b", b"a=b"),
        (b"token=%zz", b"%zz"),
        (b"token=", b""),
        (b"token", b""),
        (b"xtoken=aa&tokenx=bb", b""),
        (b"", b""),
        (b"&&=&", b""),
    ],
)
def test_value(query: bytes, token: bytes) -> None:
    assert value(query, b"token") == token


@given(st.binary(), st.binary())
def test_reads_what_urlencode_wrote(token: bytes, other: bytes) -> None:
    query = urlencode({"other": other, "token": token}).encode()
    assert value(query, b"token") == token


@given(st.binary())
def test_any_bytes_are_read(target: bytes) -> None:
    path, query = split_target(target)
    assert path.startswith(b"/")
    value(query, b"token")
