"""Signed tokens as they are shown: three parts in base64url, of which two are JSON. Pure.

A JWS in compact form (RFC 7515), shared by what verifies devices' and providers' tokens. Taken
apart here, because PyJWT's own `decode` takes 50 to 75 µs for that, and this 4; what was verified
is remembered, by its hash, and takes half a microsecond.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

#: bytes of a token; one with a few claims and an RSA signature has 600
MAX_BYTES: Final = 8192

_parts_of: Final = re.compile(rb"([\w-]+)\.([\w-]+)\.([\w-]+)", re.ASCII).fullmatch
_TO_BASE64: Final = bytes.maketrans(b"-_", b"+/")

T = TypeVar("T")


class Jws(NamedTuple):
    """The parts of a token, header and payload still to be decoded."""

    header: bytes
    payload: bytes
    signature: bytes
    #: what is signed
    message: bytes


def split(raw: bytes) -> Jws:
    """Raises ValueError for what is no token."""
    parts = _parts_of(raw) if len(raw) <= MAX_BYTES else None
    if parts is None:
        raise ValueError("it is no JWT")
    try:
        header, payload, signature = map(_unbase64, parts.groups())
    except Base64Error:
        raise ValueError("it is no JWT") from None
    return Jws(header, payload, signature, raw[: parts.end(2)])


def decoded(decode: Callable[[bytes], T], part: bytes) -> T:
    """A part of a token as `decode` reads it. Raises ValueError."""
    try:
        return decode(part)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("its header or its claims are not what they should be") from None


class Memory(Generic[T]):
    """What was verified of late, by its hash. Two generations: to forget is one assignment."""

    def __init__(self, size: int) -> None:
        """Of `size` to twice as many."""
        self._size = size
        self._young: dict[bytes, T] = {}
        self._old: dict[bytes, T] = {}

    def get(self, digest: bytes) -> T | None:
        found = self._young.get(digest)
        if found is None and (found := self._old.get(digest)) is not None:
            self.add(digest, found)
        return found

    def add(self, digest: bytes, value: T) -> None:
        if len(self._young) >= self._size:
            self._old, self._young = self._young, {}
        self._young[digest] = value


def _unbase64(part: bytes) -> bytes:
    return a2b_base64(part.translate(_TO_BASE64) + b"=" * (-len(part) % 4))
