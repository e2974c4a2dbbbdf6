from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_push.config import DAYS, HOURS, MAX_TTL_S
from trio_push.errors import Refusal
from trio_push.ids import new_id
from trio_push.push import NOW_OR_NEVER, Push
from trio_push.wire.apns import PushRefused, read_push
from trio_push.wire.reasons import SERVICE_UNAVAILABLE, UNREGISTERED

NOW = 1_700_000_000.5
TTL = 24 * HOURS
TOKEN = "0123456789abcdef" * 4
PATH = b"/3/device/" + TOKEN.encode()
BODY = b'{"mdm":"pushmagic"}'
ID = b"0B2F2b2e-1e1e-4e4e-8e8e-abcdefabcdef"


def read(
    *headers: tuple[bytes, bytes],
    method: bytes = b"POST",
    path: bytes = PATH,
    body: bytes = BODY,
    default_ttl_s: float = TTL,
) -> Push:
    return read_push(
        method, path, headers, body, now=NOW, default_ttl_s=default_ttl_s, new_id=new_id
    )


def refusal_of(*headers: tuple[bytes, bytes], **request: bytes) -> PushRefused:
    with pytest.raises(PushRefused) as caught:
        read(*headers, **request)
    return caught.value


def is_fresh_id(text: str) -> bool:
    return str(UUID(text)) == text and UUID(text).version == 4


def test_the_barest_push() -> None:
    push = read((b"content-type", b"application/json"), (b"user-agent", b"Go-http-client/1.1"))
    assert is_fresh_id(push.id)
    assert push == Push(
        id=push.id,
        token=TOKEN,
        payload=BODY,
        topic="",
        collapse_id=None,
        priority=10,
        expires_at=NOW + TTL,
        event="ping",
        newest_wins=True,
    )


def test_everything_that_a_push_can_say() -> None:
    push = read(
        (b"apns-id", ID),
        (b"apns-push-type", b"mdm"),
        (b"apns-expiration", b"1700000060"),
        (b"apns-priority", b"5"),
        (b"apns-topic", b"com.apple.mgmt.External.x"),
        (b"apns-collapse-id", b"wake"),
        path=b"/3/device/ABCD",
    )
    assert push == Push(
        id=ID.decode(),
        token="abcd",
        payload=BODY,
        topic="com.apple.mgmt.External.x",
        collapse_id="wake",
        priority=5,
        expires_at=1_700_000_060,
        event="ping",
        newest_wins=True,
    )
    assert push.slot == ("com.apple.mgmt.External.x", "wake")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (b"", "BadPath"),
        (b"/", "BadPath"),
        (b"/3/devices/ab", "BadPath"),
        (b"/3/Device/ab", "BadPath"),
        (b"/4/device/ab", "BadPath"),
        (b"3/device/ab", "BadPath"),
        (b"//3/device/ab", "BadPath"),
        (b"/3//device/ab", "BadPath"),
        (b"/3/device/ab/", "BadPath"),
        (b"/3/device/ab/cd", "BadPath"),
        (b"/3/device//ab", "BadPath"),
        (b"/3/device/ab?", "BadPath"),
        (b"/3/device/ab?a=b", "BadPath"),
        (b"/3/device?token=ab", "BadPath"),
        (b"/3/d%65vice/ab", "BadPath"),
        (b"/3/d\xe9vice/ab", "BadPath"),
        (b"http://localhost/3/device/ab", "BadPath"),
        (b"*", "BadPath"),
        (b"/3/device", "MissingDeviceToken"),
        (b"/3/device/", "MissingDeviceToken"),
        (b"/3/device/abc", "BadDeviceToken"),
        (b"/3/device/xy", "BadDeviceToken"),
        (b"/3/device/%61b", "BadDeviceToken"),
        (b"/3/device/ab#cd", "BadDeviceToken"),
        (b"/3/device/\xc3\xa4", "BadDeviceToken"),
        (b"/3/device/" + b"ab" * 101, "BadDeviceToken"),
    ],
)
def test_paths(path: bytes, reason: str) -> None:
    assert refusal_of(path=path).reason.name == reason


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"post", b""])
def test_methods(method: bytes) -> None:
    refusal = refusal_of(method=method)
    assert (refusal.status, refusal.reason.name) == (405, "MethodNotAllowed")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        (b"apns-id", b"x", "BadMessageId"),
        (b"apns-id", ID[:-1], "BadMessageId"),
        (b"apns-id", ID + b"0", "BadMessageId"),
        (b"apns-id", ID + b"\n", "BadMessageId"),
        (b"apns-id", ID.replace(b"-", b""), "BadMessageId"),
        (b"apns-id", b"{" + ID + b"}", "BadMessageId"),
        (b"apns-id", ID.replace(b"a", b"g"), "BadMessageId"),
        (b"apns-id", ID.replace(b"-", b"_"), "BadMessageId"),
        (b"apns-id", b"\xff" * 36, "BadMessageId"),
        (b"apns-push-type", b"alert", "InvalidPushType"),
        (b"apns-push-type", b"MDM", "InvalidPushType"),
        (b"apns-expiration", b"soon", "BadExpirationDate"),
        (b"apns-expiration", b"1.5", "BadExpirationDate"),
        (b"apns-expiration", b"1_000", "BadExpirationDate"),
        (b"apns-expiration", b" 1", "BadExpirationDate"),
        (b"apns-expiration", b"0x10", "BadExpirationDate"),
        (b"apns-expiration", b"-", "BadExpirationDate"),
        (b"apns-expiration", b"+-1", "BadExpirationDate"),
        (b"apns-expiration", "٣".encode(), "BadExpirationDate"),
        (b"apns-expiration", b"9" * 20, "BadExpirationDate"),
        (b"apns-expiration", b"9" * 5000, "BadExpirationDate"),
        (b"apns-priority", b"0", "BadPriority"),
        (b"apns-priority", b"10.0", "BadPriority"),
        (b"apns-priority", b"010", "BadPriority"),
        (b"apns-priority", b"high", "BadPriority"),
        (b"apns-collapse-id", b"x" * 65, "BadCollapseId"),
        (b"apns-collapse-id", "é".encode() * 33, "BadCollapseId"),
    ],
)
def test_bad_headers(name: bytes, value: bytes, reason: str) -> None:
    refusal = refusal_of((name, value))
    assert (refusal.status, refusal.reason.name) == (400, reason)
    assert is_fresh_id(refusal.apns_id)


@pytest.mark.parametrize(
    "name",
    [
        b"apns-collapse-id",
        b"apns-expiration",
        b"apns-id",
        b"apns-priority",
        b"apns-push-type",
        b"apns-topic",
    ],
)
def test_a_header_given_twice_is_refused_even_if_it_says_the_same(name: bytes) -> None:
    assert refusal_of((name, b""), (name, b"")).reason.name == "DuplicateHeaders"


def test_other_headers_may_repeat() -> None:
    assert read((b"cookie", b"a"), (b"cookie", b"b")).token == TOKEN


@pytest.mark.parametrize(
    "name",
    [b"apns-collapse-id", b"apns-expiration", b"apns-id", b"apns-priority", b"apns-push-type"],
)
def test_an_empty_header_is_as_good_as_absent(name: bytes) -> None:
    push, bare = read((name, b"")), read()
    assert (push.collapse_id, push.expires_at, push.priority) == (
        bare.collapse_id,
        bare.expires_at,
        bare.priority,
    )


@pytest.mark.parametrize(
    ("value", "expires_at"),
    [
        (b"0", NOW_OR_NEVER),
        (b"-1", NOW_OR_NEVER),
        (b"1", NOW_OR_NEVER),
        (b"1699999999", NOW_OR_NEVER),
        (b"1700000000", NOW_OR_NEVER),
        (b"1700000001", 1_700_000_001),
        (b"+1700000001", 1_700_000_001),
        (b"01700000001", 1_700_000_001),
        (b"1700003600", 1_700_003_600),
        (b"%d" % (1_700_000_000 + 30 * DAYS), 1_700_000_000 + 30 * DAYS),
        (b"%d" % (1_700_000_001 + 30 * DAYS), NOW + MAX_TTL_S),
        (b"1700000001000", NOW + MAX_TTL_S),
        (b"9223372036854775807", NOW + MAX_TTL_S),
    ],
)
def test_expiration(value: bytes, expires_at: float) -> None:
    assert read((b"apns-expiration", value)).expires_at == expires_at


@pytest.mark.parametrize(
    ("default_ttl_s", "expires_at"),
    [(0, NOW_OR_NEVER), (60, NOW + 60), (90 * DAYS, NOW + MAX_TTL_S)],
)
def test_without_expiration_the_default_holds(default_ttl_s: float, expires_at: float) -> None:
    assert read(default_ttl_s=default_ttl_s).expires_at == expires_at


@pytest.mark.parametrize(("value", "priority"), [(b"10", 10), (b"5", 5), (b"1", 1)])
def test_priority(value: bytes, priority: int) -> None:
    assert read((b"apns-priority", value)).priority == priority


def test_collapse_id_is_measured_in_bytes() -> None:
    assert read((b"apns-collapse-id", "é".encode() * 32)).collapse_id == "é" * 32


def test_a_topic_of_any_bytes_stays_itself() -> None:
    topics = [b"\xff", b"\xfe", b"\xc3\xa9", b"", b"com.example"]
    assert len({read((b"apns-topic", topic)).topic for topic in topics}) == len(topics)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [(b"", 400, "PayloadEmpty"), (b"x" * 4097, 413, "PayloadTooLarge")],
)
def test_bad_bodies(body: bytes, status: int, reason: str) -> None:
    refusal = refusal_of(body=body)
    assert (refusal.status, refusal.reason.name) == (status, reason)


@pytest.mark.parametrize("body", [b"x", b"\x00\xff", b"x" * 4096])
def test_a_body_is_not_looked_into(body: bytes) -> None:
    assert read(body=body).payload == body


def test_the_order_of_the_checks() -> None:
    """Of a request that breaks every rule, mended one by one, each refusal shows in turn."""
    request = {"path": b"/3/device/xy/", "method": b"PUT", "body": b"x" * 4097}
    headers = {
        b"apns-topic": b"t",
        b"apns-id": b"x",
        b"apns-push-type": b"x",
        b"apns-expiration": b"x",
        b"apns-priority": b"x",
        b"apns-collapse-id": b"x" * 65,
    }
    repeated = [(b"apns-topic", b"t")]
    mend = [
        ("BadPath", lambda: request.update(path=b"/3/device/xy")),
        ("MethodNotAllowed", lambda: request.update(method=b"POST")),
        ("DuplicateHeaders", repeated.clear),
        ("BadMessageId", lambda: headers.pop(b"apns-id")),
        ("InvalidPushType", lambda: headers.pop(b"apns-push-type")),
        ("BadExpirationDate", lambda: headers.pop(b"apns-expiration")),
        ("BadPriority", lambda: headers.pop(b"apns-priority")),
        ("BadCollapseId", lambda: headers.pop(b"apns-collapse-id")),
        ("BadDeviceToken", lambda: request.update(path=b"/3/device/")),
        ("MissingDeviceToken", lambda: request.update(path=PATH)),
        ("PayloadTooLarge", lambda: request.update(body=b"")),
        ("PayloadEmpty", lambda: request.update(body=BODY)),
    ]
    seen = []
    for _, mended in mend:
        seen.append(refusal_of(*headers.items(), *repeated, **request).reason.name)
        mended()
    assert seen == [name for name, _ in mend]
    assert read(*headers.items(), *repeated, **request).topic == "t"


@pytest.mark.parametrize(
    "request_",
    [{"path": b"/"}, {"method": b"GET"}, {"path": b"/3/device/x"}, {"body": b""}],
)
def test_a_good_id_is_echoed_letter_for_letter_in_a_refusal(request_: dict[str, bytes]) -> None:
    assert refusal_of((b"apns-id", ID), **request_).apns_id == ID.decode()


def test_an_id_given_twice_is_not_echoed() -> None:
    assert is_fresh_id(refusal_of((b"apns-id", ID), (b"apns-id", ID)).apns_id)


def test_an_id_is_echoed_when_another_header_repeats() -> None:
    topic = (b"apns-topic", b"t")
    assert refusal_of((b"apns-id", ID), topic, topic).apns_id == ID.decode()


def test_new_ids_differ() -> None:
    assert len({read().id for _ in range(100)}) == 100


def test_a_refusal_of_another_room_keeps_what_it_says() -> None:
    refused = PushRefused.of(Refusal(UNREGISTERED, timestamp_ms=17), "id")
    assert (refused.reason, refused.timestamp_ms, refused.apns_id) == (UNREGISTERED, 17, "id")
    refused = PushRefused.of(Refusal(SERVICE_UNAVAILABLE, "full", retry_after_s=5), "id")
    assert (str(refused), refused.retry_after_s) == ("full", 5)


HEADER_NAMES = [
    b"apns-collapse-id",
    b"apns-expiration",
    b"apns-id",
    b"apns-priority",
    b"apns-push-type",
    b"apns-topic",
]


@given(
    st.binary(max_size=8),
    st.binary(max_size=30) | st.binary(max_size=10).map(b"/3/device/".__add__),
    st.lists(st.tuples(st.sampled_from(HEADER_NAMES), st.binary(max_size=70)), max_size=8),
    st.binary(max_size=20),
)
def test_any_request_is_a_push_or_a_refusal(
    method: bytes, path: bytes, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    try:
        push = read(*headers, method=method, path=path, body=body)
    except PushRefused as refused:
        apns_id = refused.apns_id
    else:
        apns_id = push.id
        assert push.payload == body
    UUID(apns_id)
