"""A small answer of the wire listener that is neither a push's nor a stream. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import orjson


class Page(NamedTuple):
    """Status, content type and body, whichever version of HTTP carries them."""

    status: int
    content_type: bytes
    body: bytes


#: answers a request by method, path and body; None for what is not its own
Answerer = Callable[[bytes, bytes, bytes], Page | None]


def json_page(value: dict[str, Any], status: int = 200) -> Page:
    """`value` is whatever orjson writes."""
    return Page(status, b"application/json", orjson.dumps(value) + b"\n")


def find_page(pages: Sequence[Answerer], method: bytes, path: bytes, body: bytes) -> Page | None:
    """The answer of the first to whom the request belongs."""
    found = (answer(method, path, body) for answer in pages)
    return next((page for page in found if page is not None), None)
