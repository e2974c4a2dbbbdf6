"""A small answer of the wire listener that is neither a push's nor a stream. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import orjson


class Page(NamedTuple):
    """Status, content type and body, whichever version of HTTP carries them."""

    status: int
    content_type: bytes
    body: bytes


class AnyRequest(Protocol):
    """What both versions of HTTP know of a request; header names are lower-case."""

    @property
    def method(self) -> bytes: ...
    @property
    def target(self) -> bytes: ...
    @property
    def headers(self) -> list[tuple[bytes, bytes]]: ...
    @property
    def body(self) -> bytes: ...


class Pages(Protocol):
    """Some paths and what is found there."""

    def answer(self, request: AnyRequest) -> Page | None:
        """The answer to a request; None for one that is not for these paths."""


def json_page(value: dict[str, Any], status: int = 200) -> Page:
    """`value` is whatever orjson writes."""
    return Page(status, b"application/json", orjson.dumps(value) + b"\n")


def find_page(pages: Sequence[Pages], request: AnyRequest) -> Page | None:
    """The answer of the first to whom the request belongs."""
    found = (each.answer(request) for each in pages)
    return next((page for page in found if page is not None), None)
