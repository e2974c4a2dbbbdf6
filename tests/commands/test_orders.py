"""Orders from lines and words, as requests; answers from responses."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_push.apns import Outcome, Request, Result
from trio_push.commands.orders import (
    Answer,
    Order,
    api_answer,
    api_request,
    apns_answer,
    apns_push,
    order_of_line,
    payload_of_text,
)
from trio_push.errors import ConfigError

NOW = 1_700_000_000.5
CLIENT = httpx.AsyncClient()


def raw(payload: str) -> msgspec.Raw:
    return msgspec.Raw(payload.encode())


def test_a_line_says_what_its_fields_say() -> None:
    line = b"""{"token":"ab","payload":{"n":1.10},"id":"i","topic":"t","collapse_id":"c",
        "priority":5,"ttl_s":1.5,"delay_s":2,"not_before":3,"event":"e","expiration":4}"""
    assert order_of_line(line, Order()) == Order(
        token="ab",
        payload=raw('{"n":1.10}'),
        id="i",
        topic="t",
        collapse_id="c",
        priority=5,
        ttl_s=1.5,
        delay_s=2,
        not_before=3,
        event="e",
        expiration=4,
    )


def test_what_a_line_leaves_out_is_as_in_the_defaults() -> None:
    defaults = Order(payload=raw("1"), topic="t", ttl_s=9)
    order = order_of_line(b'{"token":"ab","ttl_s":0}', defaults)
    assert order == Order(token="ab", payload=raw("1"), topic="t", ttl_s=0)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"nope", "not a push: JSON is malformed"),
        (b"[]", "not a push: Expected `object`, got `array`"),
        (b"{}", "not a push: it has no token"),
        (b'{"tokn":"ab"}', "unknown field `tokn`"),
        (b'{"token":1}', "`\\$.token`"),
        (b'{"token":"ab","ttl_s":"1m"}', "`\\$.ttl_s`"),
    ],
)
def test_what_is_no_order(line: bytes, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        order_of_line(line, Order())


@given(st.binary())
def test_any_line_is_an_order_or_a_config_error(line: bytes) -> None:
    with suppress(ConfigError):
        assert order_of_line(line, Order()).token is not None


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ("5", "5"),
        ('"quoted"', '"quoted"'),
        ("hello", '"hello"'),
        ("{broken", '"{broken"'),
        ("", '""'),
    ],
)
def test_a_payload_as_typed(text: str, payload: str) -> None:
    assert payload_of_text(text) == raw(payload)


@given(st.text())
def test_a_device_gets_the_text_that_was_typed(text: str) -> None:
    order = Order(token="ab", payload=payload_of_text(text))
    content = apns_push(order, NOW).payload.decode()
    assert content == text or json.loads(text) in (content, json.loads(content or "null"))


@pytest.mark.parametrize(
    ("order", "expiration"),
    [
        (Order(token="ab"), None),
        (Order(token="ab", ttl_s=0), 0),
        (Order(token="ab", ttl_s=60), 1700000060),
        (Order(token="ab", expiration=5), 5),
        (Order(token="ab", expiration=0), 0),
    ],
)
def test_the_expiration_for_apns(order: Order, expiration: int | None) -> None:
    assert apns_push(order, NOW).expiration == expiration


@pytest.mark.parametrize(
    ("order", "ttl_s"),
    [
        (Order(token="ab", ttl_s=0), 0),
        (Order(token="ab", ttl_s=60), 60),
        (Order(token="ab", expiration=1_700_000_001), 0.5),
        (Order(token="ab", expiration=0), 0),
    ],
)
def test_the_time_to_live_for_the_api(order: Order, ttl_s: float) -> None:
    body = json.loads(api_request(CLIENT, "http://h", order, NOW).content)
    assert body == {"token": "ab", "payload": {"mdm": "hello"}, "ttl_s": ttl_s}


@pytest.mark.parametrize(
    "order",
    [
        Order(),
        Order(token="ab", delay_s=1),
        Order(token="ab", not_before=1),
        Order(token="ab", event="e"),
    ],
)
def test_what_apns_does_not_know(order: Order) -> None:
    with pytest.raises(ConfigError, match="add --via api"):
        apns_push(order, NOW)


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"outcome": Outcome.ACCEPTED, "status": 200, "id": "i"}, ("ab", "i", 200, "accepted")),
        ({"outcome": Outcome.ACCEPTED, "status": 200}, ("ab", "mine", 200, "accepted")),
        (
            {"outcome": Outcome.REFUSED, "status": 410, "reason": "X", "timestamp_ms": 7},
            ("ab", "mine", 410, "refused", "X", 7),
        ),
        (
            {"outcome": Outcome.UNANSWERED, "reason": "cut", "attempts": 2},
            ("ab", "mine", 0, "unanswered", "cut", None, 2),
        ),
        (
            {"outcome": Outcome.UNSENT, "reason": "r", "attempts": 0},
            ("ab", "mine", 0, "unsent", "r", None, 0),
        ),
    ],
)
def test_answers_to_a_provider(fields: dict[str, Any], answer: tuple[Any, ...]) -> None:
    request = Request(token="ab", payload=b"", id="mine", context=12)
    result = Result(request=request, **({"attempts": 1} | fields))
    assert apns_answer(result) == Answer(*answer, line=12)
    assert apns_answer(result).is_accepted == result.is_accepted


def test_the_push_type_is_for_apns_alone() -> None:
    order = Order(token="ab", push_type="mdm")
    assert apns_push(order, NOW).push_type == "mdm"
    with pytest.raises(ConfigError, match="--push-type is nothing that the API knows"):
        api_request(CLIENT, "http://h", order, NOW)


@pytest.mark.parametrize("fields", [{"token": "a b"}, {"token": "ab", "topic": "a\nb"}])
def test_what_no_request_can_carry(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"not a push: .* cannot stand in a"):
        apns_push(Order(**fields), NOW)


@pytest.mark.parametrize(
    ("order", "status", "body", "answer"),
    [
        (
            Order(token="ab"),
            200,
            {"id": "i", "outcomes": {}, "results": [{"token": "ab", "outcome": "delivered"}]},
            Answer("ab", "i", 200, "delivered"),
        ),
        (
            Order(token="ab"),
            200,
            {"id": "i", "results": [{"outcome": "dropped", "reason": "mailbox_full"}]},
            Answer("ab", "i", 200, "dropped", "mailbox_full"),
        ),
        (
            Order(token="ab"),
            200,
            {"id": "i", "results": [{"outcome": "stored"}], "duplicate": True},
            Answer("ab", "i", 200, "duplicate"),
        ),
        (
            Order(token="ab", id="i"),
            503,
            {"title": "t", "detail": "d", "reason": "Shutdown"},
            Answer("ab", "i", 503, "refused", "Shutdown"),
        ),
        (Order(), 422, {"title": "t", "detail": "d"}, Answer(None, None, 422, "refused", "d")),
        (Order(), 200, {"id": "i", "outcomes": {}}, Answer(None, "i", 200, "nobody connected")),
    ],
)
def test_answers_of_the_api(
    order: Order, status: int, body: dict[str, Any], answer: Answer
) -> None:
    assert api_answer(order, httpx.Response(status, json=body)) == answer
