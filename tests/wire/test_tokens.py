from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_push.errors import Refusal
from trio_push.wire.reasons import BAD_DEVICE_TOKEN, MISSING_DEVICE_TOKEN
from trio_push.wire.tokens import MAX_CHARS, parse_token


@pytest.mark.parametrize(
    ("raw", "token"),
    [
        ("ab", "ab"),
        ("00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0",) * 2,
        (b"ABCDEF0123456789", "abcdef0123456789"),
        ("AbCd", "abcd"),
        (b"f" * MAX_CHARS, "f" * MAX_CHARS),
    ],
)
def test_a_token_is_hex_in_lower_case(raw: str | bytes, token: str) -> None:
    assert parse_token(raw) == token


@pytest.mark.parametrize("raw", ["", b""])
def test_no_token_is_missing(raw: str | bytes) -> None:
    with pytest.raises(Refusal) as caught:
        parse_token(raw)
    assert caught.value.reason is MISSING_DEVICE_TOKEN


@pytest.mark.parametrize(
    "raw",
    [
        "a",
        "abc",
        "xy",
        " ab",
        "ab ",
        "a b ",
        "ab cd ",
        "0x12",
        "1_1_",
        "+123",
        "-123",
        "%61%62",
        "äb",
        "٣٣",
        b"\xff\xff",
        b"\x00\x00",
        "ab\n\n",
        "f" * (MAX_CHARS + 2),
        b"f" * 100_000,
    ],
)
def test_a_bad_token_is_refused(raw: str | bytes) -> None:
    with pytest.raises(Refusal) as caught:
        parse_token(raw)
    assert caught.value.reason is BAD_DEVICE_TOKEN


@given(st.text(max_size=12) | st.binary(max_size=12))
@example("\uff21\uff22")
def test_what_is_taken_is_what_the_grammar_says(raw: str | bytes) -> None:
    text = raw if isinstance(raw, str) else raw.decode("latin-1")
    valid = re.fullmatch(r"([0-9a-fA-F]{2}){1,100}", text) is not None
    try:
        assert parse_token(raw) == text.lower()
        assert valid
    except Refusal:
        assert not valid
