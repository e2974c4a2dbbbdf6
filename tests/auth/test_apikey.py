"""Keys of the API: all of one key, where it belongs, and not a character less."""

from __future__ import annotations

import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_push.auth.apikey import ApiKeys, parse_api_keys, shown_key
from trio_push.errors import ConfigError

KEY = "0123456789abcdefABCDEF=="
OTHER = "fedcba9876543210"


@pytest.mark.parametrize(
    "shown",
    [
        b"",
        KEY[:-1].encode(),
        KEY[1:].encode(),
        KEY.encode() + b"=",
        KEY.encode() + b"\0",
        b" " + KEY.encode(),
        KEY.upper().encode(),
        KEY.encode("utf-16"),
        b"\xff" * 24,
        b"x" * 100_000,
        f"{KEY},{OTHER}".encode(),
    ],
)
def test_what_is_nearly_a_key(shown: bytes) -> None:
    keys = ApiKeys((KEY,), lambda: parse_api_keys(OTHER.encode()))
    assert keys.accept(KEY.encode())
    assert keys.accept(OTHER.encode())
    assert not keys.accept(shown)


def test_no_keys_accept_nothing() -> None:
    assert not ApiKeys(()).accept(b"")


@given(st.binary())
def test_bytes_that_are_not_the_key(shown: bytes) -> None:
    assert ApiKeys((KEY,)).accept(shown) is (shown == KEY.encode())


def test_the_time_it_takes_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """All keys are compared, whichever it is, and always by values of the same length."""
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def watched(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    keys = ApiKeys((KEY, OTHER), lambda: parse_api_keys(b"x" * 20))
    for shown in (KEY, OTHER, "x" * 20, "y", ""):
        compared.clear()
        keys.accept(shown.encode())
        assert compared == [(32, 32)] * 3


def test_keys_of_a_file_change() -> None:
    file = [parse_api_keys(KEY.encode())]
    keys = ApiKeys((), lambda: file[-1])
    assert keys.accept(KEY.encode())
    file.append(parse_api_keys(OTHER.encode()))
    assert not keys.accept(KEY.encode())
    assert keys.accept(OTHER.encode())


BEARER = (b"authorization", b"Bearer " + KEY.encode())
PLAIN = (b"x-api-key", KEY.encode())


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ([BEARER], KEY),
        ([PLAIN], KEY),
        ([(b"authorization", b"bearer  " + KEY.encode())], KEY),
        ([(b"x-api-key", b" " + KEY.encode())], KEY),
        ([BEARER, BEARER], KEY),
        ([PLAIN, PLAIN], KEY),
        # an APNs client has its own token there
        ([(b"authorization", b"bearer eyJ.x.y"), PLAIN], KEY),
        # neither of two
        ([BEARER, (b"authorization", b"Bearer other")], ""),
        ([PLAIN, (b"x-api-key", b"other")], ""),
        # not where it belongs
        ([(b"authorization", KEY.encode())], ""),
        ([(b"authorization", b"Basic " + KEY.encode())], ""),
        ([(b"x-api-key", b"")], ""),
        ([(b"api-key", KEY.encode()), (b"cookie", KEY.encode())], ""),
        ([(b"x-api-key", b"Bearer " + KEY.encode())], f"Bearer {KEY}"),
        ([], ""),
    ],
)
def test_the_key_that_a_request_shows(headers: list[tuple[bytes, bytes]], shown: str) -> None:
    assert shown_key(headers) == shown.encode()


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        (KEY, {KEY}),
        (f"{KEY}\n", {KEY}),
        (f"# Fleet\n{KEY}\n\n  # the other\r\n  {OTHER}  \r\n", {KEY, OTHER}),
        (f"{KEY}\n{KEY}\n", {KEY}),
    ],
)
def test_a_file_of_keys(text: str, accepted: set[str]) -> None:
    found = parse_api_keys(text.encode())
    keys = ApiKeys((), lambda: found)
    assert {key for key in (KEY, OTHER, "", "# Fleet") if keys.accept(key.encode())} == accepted
    assert KEY not in repr(found)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "there is no key in it"),
        (b"# 0123456789abcdef\n\n", "there is no key in it"),
        (b"0123456789abcdef\nshort-s3cret\n", "^line 2: an API key has 16 or more letters"),
        (b"two words of s3cret", "^line 1: an API key has"),
        ("s3cretös3cretös3cretö".encode(), "^line 1: an API key has"),
        (b"\xff\xfes3crets3crets3cret", "^line 1: an API key has"),
    ],
)
def test_what_is_no_file_of_keys(data: bytes, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        parse_api_keys(data)
    assert not re.search("s3cret", str(caught.value))
