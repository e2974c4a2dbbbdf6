"""Credentials in a request's headers: `Authorization: Bearer …` (RFC 6750, section 2.1). Pure."""

from __future__ import annotations

from collections.abc import Iterable


def bearers(headers: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    """Whatever is shown as a bearer token; credentials of another scheme are not for us.

    Names of headers come in lower case; the scheme may be in any (RFC 9110, section 11.1).
    """
    found = set()
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.strip().partition(b" ")
            if scheme.lower() == b"bearer" and token:
                found.add(token.strip())
    return found
