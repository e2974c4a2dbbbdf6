"""The keys of those who push: whether a request shows one of them. Pure.

Asked by the API for each request, and by the APNs intake when providers need a key, too. All keys
are compared each time, by their hashes: the time that takes tells neither which key nor how much
of one was right.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

from trio_push.auth.bearer import bearers
from trio_push.config import check_api_key
from trio_push.errors import ConfigError
from trio_push.settings import with_place

#: what a key is compared by
Digest = bytes


class ApiKeys:
    """The keys that are accepted at a time: those given, and those that `more` returns."""

    def __init__(self, given: Sequence[str], more: Callable[[], Sequence[Digest]] = tuple) -> None:
        self._given = tuple(_digest(key.encode()) for key in given)
        self._more = more

    def accept(self, shown: bytes) -> bool:
        """Whether `shown` is one of the keys."""
        digest = _digest(shown)
        found = [hmac.compare_digest(digest, key) for key in (*self._given, *self._more())]
        return any(found)


def shown_key(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The key in a request's headers, whose names are lower-case; b"" for none, or several.

    That is `X-API-Key`, else the bearer token: an APNs client has its own token there.
    """
    headers = list(headers)
    shown = {value.strip() for name, value in headers if name == b"x-api-key"} or bearers(headers)
    return shown.pop() if len(shown) == 1 else b""


def parse_api_keys(data: bytes) -> tuple[Digest, ...]:
    """The keys of a file, one to a line; a line that begins with # is a remark.

    Raises ConfigError for a line that is no key, and for none at all.
    """
    keys = []
    for number, line in enumerate(data.decode("ascii", "replace").splitlines(), start=1):
        if (key := line.strip()) and not key.startswith("#"):
            with_place(f"line {number}", check_api_key, key)
            keys.append(_digest(key.encode()))
    if not keys:
        raise ConfigError("there is no key in it")
    return tuple(keys)


def _digest(key: bytes) -> Digest:
    return sha256(key).digest()
