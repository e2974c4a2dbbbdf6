from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_push.push import Push
from trio_push.wire.messages import (
    ERROR_CODES,
    Ack,
    Auth,
    AuthResult,
    Error,
    FromDevice,
    FromServer,
    MarkRead,
    ReadElsewhere,
    Sync,
    SyncResult,
    decode,
    encode,
    notification,
)

FROM_DEVICE: dict[bytes, FromDevice] = {
    b'{"type":"ack","notification_id":"a"}': Ack("a"),
    b'{"type":"sync","last_seen":0}': Sync(0),
    b'{"type":"sync","last_seen":7,"epoch":"e"}': Sync(7, "e"),
    b'{"type":"sync","last_seen":"id","epoch":null}': Sync("id"),
    b'{"type":"mark_read","notification_id":"a"}': MarkRead("a"),
    b'{"type":"auth","token":"t"}': Auth("t"),
    b' { "notification_id" : "\\u00e9" , "more" : [ 1 ] , "type" : "ack" } ': Ack("é"),
}
FROM_SERVER: dict[bytes, FromServer] = {
    b'{"type":"sync_result","recovered":true,"epoch":"e","from":3,"to":9}': SyncResult(
        recovered=True, epoch="e", from_=3, to=9
    ),
    b'{"type":"mark_read","notification_id":"a","epoch":"e","seq":5}': ReadElsewhere("a", "e", 5),
    b'{"type":"auth_result","ok":false}': AuthResult(ok=False),
    b'{"type":"error","code":"c","detail":"d"}': Error("c", "d"),
}
REFUSED = {
    b"": "invalid_json",
    b"{": "invalid_json",
    b"ack": "invalid_json",
    b'{"type":"ack","notification_id":"a"} {}': "invalid_json",
    b'{"type":"ack","notification_id":"\xff"}': "invalid_json",
    b'{"type":"ack","notification_id":"\\ud800"}': "invalid_json",
    b'{"type":"ack","notification_id":"a","more":' + b"[" * 10_000 + b"}": "invalid_json",
    b"null": "invalid_message",
    b"[" * 10_000: "invalid_message",
    b'["ack"]': "invalid_message",
    b"{}": "invalid_message",
    b'{"type":null}': "invalid_message",
    b'{"type":"ack"}': "invalid_message",
    b'{"type":"ack","notification_id":1}': "invalid_message",
    b'{"type":"sync"}': "invalid_message",
    b'{"type":"sync","last_seen":-1}': "invalid_message",
    b'{"type":"sync","last_seen":1.5}': "invalid_message",
    b'{"type":"sync","last_seen":true}': "invalid_message",
    b'{"type":"auth","token":null}': "invalid_message",
    b'{"type":""}': "unknown_type",
    b'{"type":"Ack","notification_id":"a"}': "unknown_type",
    b'{"type":"notification","id":"a"}': "unknown_type",
}


@pytest.mark.parametrize(("data", "message"), FROM_DEVICE.items())
def test_what_devices_say(data: bytes, message: FromDevice) -> None:
    assert decode(data) == message
    assert decode(encode(message)) == message


@pytest.mark.parametrize(("data", "message"), FROM_SERVER.items())
def test_what_the_server_says(data: bytes, message: FromServer) -> None:
    assert encode(message) == data
    assert msgspec.json.decode(data, type=FromServer) == message


@pytest.mark.parametrize(("data", "code"), REFUSED.items())
def test_what_is_no_message_is_answered_with_an_error(data: bytes, code: str) -> None:
    answer = decode(data)
    assert isinstance(answer, Error)
    assert answer.code == code
    assert code in ERROR_CODES
    assert answer.detail


@given(st.binary() | st.recursive(st.none(), lambda v: st.dictionaries(st.text(), v)).map(encode))
def test_nothing_that_a_device_says_raises(data: bytes) -> None:
    assert isinstance(decode(data), FromDevice | Error)


def told(payload: bytes, **fields: str) -> dict[str, Any]:
    """What a device makes of a push."""
    push = Push(token="aa", payload=payload, **{"id": "i", "topic": "t", **fields})
    return dict(json.loads(notification("e", 7, push)))


PAYLOADS: dict[bytes, object] = {
    b'{"mdm":"x"}': {"mdm": "x"},
    b" [1, 2]\n": [1, 2],
    b"true": True,
    b'"\\n"': "\n",
    b"": "",
    b"plain": "plain",
    b'{"mdm"': '{"mdm"',
    "mágic\0\u2028".encode(): "mágic\0\u2028",
    b"\xef\xbb\xbf{}": "\ufeff{}",
    # JSON by some readings: what not every parser takes is text
    b"NaN": "NaN",
    b"1e999": "1e999",
    b'"\\ud800"': '"\\ud800"',
    b"[" * 5000 + b"]" * 5000: "[" * 5000 + "]" * 5000,
}


@pytest.mark.parametrize(("payload", "data"), PAYLOADS.items())
def test_a_payload_that_is_json_is_itself_and_else_a_string(payload: bytes, data: object) -> None:
    message = {
        "type": "notification",
        "id": "i",
        "epoch": "e",
        "seq": 7,
        "topic": "t",
        "data": data,
    }
    assert told(payload) == message


def test_json_is_not_encoded_again() -> None:
    payload = b'{ "a" : 1.0, "a" : 1e2, "b": "\\u00e9" }'
    assert payload in notification("e", 1, Push("i", "aa", payload))


def test_a_payload_that_is_not_text() -> None:
    message = told(b"\xff\0")
    assert message["encoding"] == "base64"
    assert base64.b64decode(message["data"]) == b"\xff\0"


def test_the_name_of_an_event() -> None:
    assert told(b"1", event="ping")["event"] == "ping"


@given(st.binary(), st.text(), st.text())
def test_every_push_is_valid_json(payload: bytes, push_id: str, topic: str) -> None:
    message = told(payload, id=push_id, topic=topic)
    assert (message["id"], message["topic"]) == (push_id, topic)
    data = message["data"]
    if "encoding" in message:
        assert base64.b64decode(data) == payload
    elif not isinstance(data, str) or data.encode() != payload:
        assert data == json.loads(payload)
