from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_push.api.models import PushRequest
from trio_push.api.problems import Invalid
from trio_push.api.requests import (
    check_addressing,
    decode,
    fingerprint,
    line_decoder,
    payload_bytes,
    push_of,
    request_decoder,
    single_token,
)
from trio_push.config import DAYS, HOURS
from trio_push.errors import Refusal
from trio_push.push import Push

NOW = 1_800_000_000.0


def request_of(**fields: Any) -> PushRequest:
    return decode(request_decoder, json.dumps({"token": "aa", "payload": 1, **fields}).encode())


def push(**fields: Any) -> Push:
    return push_of(request_of(**fields), "id", "aa", now=NOW, default_ttl_s=24 * HOURS)


# -- the shape


@pytest.mark.parametrize(
    ("data", "field", "reason"),
    [
        (b"", None, None),
        (b"{", None, None),
        (b"[]", None, None),
        (b'{"payload":1} x', None, None),
        (b'{"payload":"\xff"}', None, None),
        (b'{"payload":{"a":"\xff"}}', None, None),
        (b'{"payload":"\\ud800"}', None, None),
        (b'{"payload":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None, None),
        (b"{}", "payload", None),
        (b'{"payload":1,"ttl":5}', "ttl", None),
        (b'{"payload":1,"a`b":5}', "a`b", None),
        (b'{"payload":1,"ttl_s":"5"}', "ttl_s", None),
        (b'{"payload":1,"ttl_s":-1}', "ttl_s", None),
        (b'{"payload":1,"ttl_s":1e400}', "ttl_s", None),
        (b'{"payload":1,"delay_s":2592001}', "delay_s", None),
        (b'{"payload":1,"not_before":-1}', "not_before", None),
        (b'{"payload":1,"tokens":[]}', "tokens", None),
        (b'{"payload":1,"tokens":["aa",1]}', "tokens", None),
        (b'{"payload":1,"token":1}', "token", "BadDeviceToken"),
        (b'{"payload":1,"priority":7}', "priority", "BadPriority"),
        (b'{"payload":1,"collapse_id":7}', "collapse_id", "BadCollapseId"),
        (b'{"payload":1,"id":""}', "id", "BadMessageId"),
        (b'{"payload":1,"id":"a b"}', "id", "BadMessageId"),
        (b'{"payload":1,"id":"a\\n"}', "id", "BadMessageId"),
        (b'{"payload":1,"id":"' + b"a" * 65 + b'"}', "id", "BadMessageId"),
    ],
)
def test_what_is_wrong_is_named(data: bytes, field: str | None, reason: str | None) -> None:
    with pytest.raises(Invalid) as caught:
        decode(request_decoder, data)
    assert caught.value.field == field
    assert caught.value.status == 400
    assert (caught.value.reason.name if caught.value.reason else None) == reason


def test_a_line_has_one_token() -> None:
    with pytest.raises(Invalid, match="tokens") as caught:
        decode(line_decoder, b'{"payload":1,"tokens":["aa"]}')
    assert caught.value.field == "tokens"


@given(st.binary(max_size=100) | st.text(max_size=100).map(str.encode))
def test_any_bytes_are_decoded_or_invalid(data: bytes) -> None:
    with suppress(Invalid):
        decode(request_decoder, data)


TEXT = st.text(max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=4) | st.dictionaries(TEXT, v))


@given(value=VALUES, id=TEXT, event=TEXT, collapse_id=TEXT, topic=TEXT)
def test_a_request_is_a_push_or_refused(value: Any, **fields: str) -> None:
    data = json.dumps({"payload": value, "token": "aa", **fields}).encode()
    try:
        request = decode(request_decoder, data)
        push = push_of(request, "id", "aa", now=NOW, default_ttl_s=1)
    except (Invalid, Refusal):
        return
    push.payload.decode()
    assert isinstance(value, str) or json.loads(push.payload) == value
    assert not set(push.event or "") & set("\r\n\0")
    fingerprint(request, push)


# -- the payload


@pytest.mark.parametrize(
    ("written", "delivered"),
    [
        (b'{"aps" : {"alert":"x"},\n "n": 1.50}', b'{"aps":{"alert":"x"},"n":1.50}'),
        (b'"text, \\"quoted\\"\\n\\u00e9"', b'text, "quoted"\n\xc3\xa9'),
        (b'{"e":"\\u00e9"}', b'{"e":"\\u00e9"}'),
        (b"12345678901234567890123", b"12345678901234567890123"),
        (b"null", b"null"),
        (b" [1 , 2] ", b"[1,2]"),
        (b'"' + b"x" * 4096 + b'"', b"x" * 4096),
    ],
)
def test_payload(written: bytes, delivered: bytes) -> None:
    assert payload_bytes(msgspec.Raw(written)) == delivered


@pytest.mark.parametrize(
    ("written", "reason"),
    [(b'""', "PayloadEmpty"), (b'"' + b"x" * 4097 + b'"', "PayloadTooLarge")],
)
def test_payload_refused(written: bytes, reason: str) -> None:
    with pytest.raises(Refusal) as caught:
        payload_bytes(msgspec.Raw(written))
    assert caught.value.reason.name == reason


# -- where to


def test_token() -> None:
    assert single_token(request_of(token="AAff")) == "aaff"
    with pytest.raises(Refusal):
        single_token(request_of(token="xyz"))


@pytest.mark.parametrize(
    "fields", [{}, {"token": None, "tokens": ["aa"]}, {"token": None, "broadcast": True}]
)
def test_one_way_of_addressing(fields: dict[str, Any]) -> None:
    check_addressing(request_of(**fields))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"tokens": ["aa"]}, "token"),
        ({"broadcast": True}, "token"),
        ({"token": None, "tokens": ["aa"], "broadcast": True}, "token"),
        ({"token": None, "broadcast": True, "delay_s": 1}, "delay_s"),
        ({"token": None, "broadcast": True, "not_before": 1}, "not_before"),
    ],
)
def test_other_ways_of_addressing(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_addressing(request_of(**fields))
    assert caught.value.field == field


def test_no_token() -> None:
    for check in (check_addressing, single_token):
        with pytest.raises(Refusal) as caught:
            check(request_of(token=None))
        assert caught.value.reason.name == "MissingDeviceToken"


# -- when


@pytest.mark.parametrize(
    ("fields", "not_before", "expires_at"),
    [
        ({}, 0, NOW + 24 * HOURS),
        ({"ttl_s": 0}, 0, 0),
        ({"ttl_s": 60}, 0, NOW + 60),
        ({"ttl_s": 31 * DAYS}, 0, NOW + 30 * DAYS),
        ({"delay_s": 0}, 0, NOW + 24 * HOURS),
        ({"delay_s": 60}, NOW + 60, NOW + 60 + 24 * HOURS),
        ({"delay_s": 60, "ttl_s": 90}, NOW + 60, NOW + 90),
        ({"delay_s": 60, "ttl_s": 0}, NOW + 60, 0),
        ({"not_before": NOW + 60}, NOW + 60, NOW + 60 + 24 * HOURS),
        ({"not_before": NOW - 60}, 0, NOW + 24 * HOURS),
        ({"not_before": NOW + 30 * DAYS}, NOW + 30 * DAYS, NOW + 31 * DAYS),
    ],
)
def test_times(fields: dict[str, Any], not_before: float, expires_at: float) -> None:
    made = push(**fields)
    assert (made.not_before, made.expires_at) == (not_before, expires_at)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"not_before": NOW + 31 * DAYS}, "not_before"),
        ({"not_before": NOW, "delay_s": 1}, "not_before"),
        ({"collapse_id": ""}, "collapse_id"),
        ({"collapse_id": "é" * 33}, "collapse_id"),
        ({"event": "a\nb"}, "event"),
        ({"event": "a\rb"}, "event"),
        ({"event": "a\0b"}, "event"),
    ],
)
def test_fields_that_no_shape_can_say(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        push(**fields)
    assert caught.value.field == field


def test_everything_goes_into_the_push() -> None:
    fields = {"topic": "t", "collapse_id": "é" * 32, "priority": 5, "event": "news"}
    assert push(**fields) == Push(
        id="id", token="aa", payload=b"1", expires_at=NOW + 24 * HOURS, **fields
    )


# -- which is the same


def test_the_same_request_has_the_same_fingerprint() -> None:
    prints = set()
    for data in (
        b'{"token":"aa","payload":{"a":1},"id":"x"}',
        b'{"payload": {"a" : 1}, "token": "aa", "priority": 10}',
    ):
        for decoder in (request_decoder, line_decoder):
            request = decode(decoder, data)
            made = push_of(request, "x", "aa", now=NOW, default_ttl_s=1)
            prints.add(fingerprint(request, made))
    assert len(prints) == 1
    other = decode(line_decoder, b'{"token":"aa","payload":{"a":2}}')
    made = push_of(other, "x", "aa", now=NOW, default_ttl_s=1)
    assert fingerprint(other, made) not in prints
