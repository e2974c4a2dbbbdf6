from __future__ import annotations

import json

import pytest

from trio_push.errors import Refusal
from trio_push.wire.apns_response import (
    challenge,
    http1_response,
    http2_headers,
    response_body,
)
from trio_push.wire.reasons import (
    BAD_DEVICE_TOKEN,
    EXPIRED_ACCESS_TOKEN,
    INVALID_ACCESS_TOKEN,
    METHOD_NOT_ALLOWED,
    MISSING_ACCESS_TOKEN,
    REASONS,
    SHUTDOWN,
    UNREGISTERED,
    Reason,
)

ID = b"0B2F2b2e-1e1e-4e4e-8e8e-abcdefabcdef"


@pytest.mark.parametrize("reason", REASONS.values(), ids=lambda reason: reason.name)
def test_the_body_is_the_json_of_fleets_mock(reason: Reason) -> None:
    body = response_body(Refusal(reason))
    assert body == b'{"reason":"%s"}\n' % reason.name.encode()
    assert json.loads(body) == {"reason": reason.name}


def test_an_unregistered_token_has_the_time_since_when() -> None:
    body = response_body(Refusal(UNREGISTERED, timestamp_ms=1_700_000_000_000))
    assert body == b'{"reason":"Unregistered","timestamp":1700000000000}\n'


def test_success_over_http1() -> None:
    assert http1_response(200, ID) == (
        b"HTTP/1.1 200 OK\r\napns-id: %s\r\nContent-Length: 0\r\n\r\n" % ID
    )


def test_success_that_ends_the_connection() -> None:
    assert http1_response(200, ID, close=True) == (
        b"HTTP/1.1 200 OK\r\napns-id: %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % ID
    )


def test_refusal_over_http1() -> None:
    body = response_body(Refusal(BAD_DEVICE_TOKEN))
    assert http1_response(400, ID, body) == (
        b"HTTP/1.1 400 Bad Request\r\n"
        b"apns-id: 0B2F2b2e-1e1e-4e4e-8e8e-abcdefabcdef\r\n"
        b"Content-Type: application/json\r\n"
        b"Content-Length: 28\r\n"
        b"\r\n"
        b'{"reason":"BadDeviceToken"}\n'
    )


def test_refusal_with_everything_over_http1() -> None:
    body = response_body(Refusal(SHUTDOWN))
    response = http1_response(503, ID, body, close=True, retry_after_s=7)
    head, _, rest = response.partition(b"\r\n\r\n")
    assert rest == body
    assert head.split(b"\r\n")[0] == b"HTTP/1.1 503 Service Unavailable"
    assert b"Retry-After: 7" in head.split(b"\r\n")
    assert b"Connection: close" in head.split(b"\r\n")


def test_the_answer_to_head_has_no_body_but_its_length() -> None:
    body = response_body(Refusal(METHOD_NOT_ALLOWED))
    whole = http1_response(405, ID, body)
    assert http1_response(405, ID, body, head_only=True) == whole.removesuffix(body)
    assert b"Content-Length: %d" % len(body) in whole


def test_a_wrong_method_is_told_the_right_one() -> None:
    assert b"\r\nAllow: POST\r\n" in http1_response(405, ID, b"x")
    assert (b"allow", b"POST") in http2_headers(405, ID)


@pytest.mark.parametrize("status", sorted({reason.status for reason in REASONS.values()}))
def test_every_status_can_be_said(status: int) -> None:
    assert http1_response(status, ID, b"x").startswith(b"HTTP/1.1 %d " % status)


def test_headers_over_http2() -> None:
    assert http2_headers(200, ID) == [(b"apns-id", ID)]
    assert http2_headers(503, ID, retry_after_s=7) == [
        (b"apns-id", ID),
        (b"content-type", b"application/json"),
        (b"retry-after", b"7"),
    ]


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (Refusal(MISSING_ACCESS_TOKEN), b'Bearer realm="trio-push"'),
        (
            Refusal(INVALID_ACCESS_TOKEN, "it is no JWT"),
            b'Bearer realm="trio-push", error="invalid_token", error_description="it is no JWT"',
        ),
        (
            Refusal(EXPIRED_ACCESS_TOKEN, "too late"),
            b'Bearer realm="trio-push", error="invalid_token", error_description="too late"',
        ),
    ],
)
def test_what_a_device_has_to_show(refusal: Refusal, said: bytes) -> None:
    assert challenge(refusal) == said


@pytest.mark.parametrize("reason", REASONS.values(), ids=lambda reason: reason.name)
def test_every_401_says_what_is_wanted(reason: Reason) -> None:
    said = challenge(Refusal(reason))
    assert (said is not None) is (reason.status == 401)
    if said is not None:
        # RFC 6750, section 3: what may stand in quotes there
        assert said.count(b'"') in (2, 6)
        assert b"\\" not in said
