"""The query of a request target; pure, and quick for the one form that devices use."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """A request target as path and query; an absolute-form target loses its authority."""
    if not target.startswith(b"/"):
        _, _, rest = target.partition(b"://")
        target = b"/" + rest.partition(b"/")[2]
    path, _, query = target.partition(b"?")
    return path, query


def value(query: bytes, name: bytes) -> bytes:
    """The first value of `name`, percent-decoded; b"" when there is none."""
    for pair in query.split(b"&"):
        key, _, raw = pair.partition(b"=")
        if key == name:
            raw = raw.replace(b"+", b" ")
            return unquote_to_bytes(raw) if b"%" in raw else raw
    return b""
