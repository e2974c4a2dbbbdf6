"""The strict profile: each row of its table, alone and in its order."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.auth import provider
from tests.auth.issuer import base64
from tests.auth.provider import APP, MDM, TOKEN, bearer, der
from tests.fakes import T0
from trio_push.auth.apns_registry import TokenRecord
from trio_push.clock import Clock
from trio_push.config import ServeSettings
from trio_push.intake.apns_strict import RULES, StrictIntake, StrictProfile
from trio_push.node import Node
from trio_push.push import NOW_OR_NEVER, Push
from trio_push.wire.apns import PushRefused
from trio_push.wire.apns_strict_rules import DEVICE_RULES, OF_THE_SERVER
from trio_push.wire.reasons import REASONS

ID = b"0B2F2b2e-1e1e-4e4e-8e8e-abcdefabcdef"
#: a token that is good at T0
GOOD = bearer()
GONE_AT_MS = 1_799_000_000_123
#: pushes to one device token that may come at once, with the rate below
AT_ONCE = 10


class Request(NamedTuple):
    headers: list[tuple[bytes, bytes]]
    method: bytes
    target: bytes
    body: bytes


def request(
    *,
    token: str = TOKEN,
    method: bytes = b"POST",
    target: bytes | None = None,
    body: bytes = b'{"aps":{}}',
    twice: bytes = b"",
    **headers: str | bytes | None,
) -> Request:
    """A push that nothing is wrong with by itself; a header that is None is left out."""
    given = {"authorization": GOOD, "apns_topic": APP, "apns_id": ID, **headers}
    fields = [
        (name.replace("_", "-").encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in given.items()
        if value is not None
    ]
    fields += [field for field in fields if field[0] == twice]
    path = f"/3/device/{token}".encode() if target is None else target
    return Request(fields, method, path, body)


def make_profile(*, revoked: list[str] | None = None, **settings: Any) -> StrictProfile:
    serve = ServeSettings(apns="strict", api="off", apns_token_rate=1, **settings)
    node = Node.make(serve, Clock(lambda: T0))
    node.directory.unregister(provider.GONE_TOKEN, GONE_AT_MS)
    return StrictProfile(node, provider.registry(revoked=revoked or []))


@pytest.fixture
def profile() -> StrictProfile:
    return make_profile()


def refusal_of(reader: StrictIntake, asked: Request, now: float = T0) -> PushRefused:
    with pytest.raises(PushRefused) as caught:
        reader.read(asked, now)
    return caught.value


class Case(NamedTuple):
    """A request that breaks one rule."""

    reason: str
    request: dict[str, Any]
    #: requests before it on the same connection
    before: tuple[dict[str, Any], ...] = ()
    certificate: bytes | None = None

    def __str__(self) -> str:
        what = "-".join(f"{name}={str(value)[:16]}" for name, value in self.request.items())
        return f"{self.reason}-{what}"


OLD = {"authorization": bearer(age_s=1800)}
BY_APP = {"certificate": der(provider.app_certificate())}

CASES = [
    Case("BadPath", {"target": b"/"}),
    Case("BadPath", {"target": b"/3/device/ab/cd"}),
    Case("BadPath", {"target": b"/3/device/%b?x" % TOKEN.encode()}),
    Case("MethodNotAllowed", {"method": b"GET"}),
    Case("DuplicateHeaders", {"twice": b"apns-topic"}),
    Case("DuplicateHeaders", {"twice": b"authorization"}),
    Case("BadMessageId", {"apns_id": "1"}),
    Case("BadCertificate", {}, certificate=der(provider.plain_certificate())),
    Case("BadCertificate", {}, certificate=b"no certificate"),
    Case(
        "BadCertificateEnvironment",
        {},
        certificate=der(provider.mdm_certificate(("development",))),
    ),
    Case("MissingProviderToken", {"authorization": None}),
    Case("MissingProviderToken", {"authorization": "basic dTpw"}),
    Case("InvalidProviderToken", {"authorization": "bearer x"}),
    Case("InvalidProviderToken", {"authorization": bearer("UNKNOWN")}),
    Case("InvalidProviderToken", {"authorization": bearer(iss=provider.OTHER_TEAM)}),
    Case(
        "InvalidProviderToken",
        {"authorization": bearer(signed_with=provider.private_key("another"))},
    ),
    Case(
        "InvalidProviderToken",
        {"authorization": bearer(signed_with=b"k" * 32, alg="HS256")},
    ),
    Case("InvalidProviderToken", {"authorization": bearer(age_s=-301)}),
    Case("InvalidProviderToken", {"authorization": bearer(iat="soon")}),
    Case(
        "InvalidProviderToken",
        {"authorization": bearer(provider.OTHER_TEAMS_KEY)},
        before=(OLD,),
    ),
    Case("ExpiredProviderToken", {"authorization": bearer(age_s=3601)}),
    Case("BadEnvironmentKeyIdInToken", {"authorization": bearer(provider.SANDBOX_KEY)}),
    Case("UnrelatedKeyIdInToken", {"authorization": bearer(provider.SECOND_KEY)}, before=(OLD,)),
    Case("TooManyProviderTokenUpdates", {"authorization": bearer(age_s=1)}, before=({},)),
    Case("MissingTopic", {"apns_topic": None}),
    Case("MissingTopic", {"apns_topic": None}, **BY_APP),
    Case("BadTopic", {"apns_topic": "com example"}),
    Case("BadTopic", {"apns_topic": "a" * 256}),
    Case("InvalidPushType", {"apns_push_type": "telegram"}),
    Case("InvalidPushType", {"apns_push_type": "voip"}),
    Case("InvalidPushType", {"apns_push_type": "alert", "apns_topic": f"{APP}.voip"}),
    Case("InvalidPushType", {"apns_push_type": "mdm"}),
    Case(
        "Forbidden",
        {"apns_push_type": "location", "apns_topic": f"{APP}.location-query"},
        **BY_APP,
    ),
    Case("TopicDisallowed", {"apns_topic": "com.example.other"}),
    Case("TopicDisallowed", {"authorization": bearer(provider.SCOPED_KEY)}),
    Case("TopicDisallowed", {"apns_topic": f"{APP}.complication"}, **BY_APP),
    Case("BadExpirationDate", {"apns_expiration": "tomorrow"}),
    Case("BadExpirationDate", {"apns_expiration": "9" * 20}),
    Case("BadPriority", {"apns_priority": "7"}),
    Case("BadPriority", {"apns_priority": "10", "apns_push_type": "background"}),
    Case("BadCollapseId", {"apns_collapse_id": "é" * 33}),
    Case("MissingDeviceToken", {"token": ""}),
    Case("BadDeviceToken", {"token": "ab"}),
    Case("BadDeviceToken", {"token": TOKEN[:-1] + "g"}),
    Case("BadDeviceToken", {"token": TOKEN + "00"}),
    Case("PayloadTooLarge", {"body": b'{"a":"%b"}' % (b"m" * 4089)}),
    Case(
        "PayloadTooLarge",
        {"body": b'{"a":"%b"}' % (b"m" * 5113), "apns_topic": f"{APP}.voip"},
    ),
    Case("PayloadEmpty", {"body": b""}),
    Case("PayloadEmpty", {"body": b"[]"}),
    Case("PayloadEmpty", {"body": b"{"}),
    Case("PayloadEmpty", {"body": b"[" * 4096}),
    Case("PayloadEmpty", {"body": b'{"\xff":1}'}),
    Case("BadDeviceToken", {"token": provider.SANDBOX_TOKEN}),
    Case("DeviceTokenNotForTopic", {"token": provider.OTHER_APPS_TOKEN}),
    Case("Unregistered", {"token": provider.GONE_TOKEN.upper()}),
    Case("ExpiredToken", {"token": provider.EXPIRED_TOKEN}),
    Case("TooManyRequests", {}, before=({},) * AT_ONCE),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_rule(profile: StrictProfile, case: Case) -> None:
    reader = profile.connect(case.certificate, is_http2=True)
    for earlier in case.before:
        reader.read(request(**earlier), T0)
    refused = refusal_of(reader, request(**case.request))
    assert refused.reason is REASONS[case.reason]
    triggers = [rule.trigger for rule in RULES if rule.reason is refused.reason]
    assert str(refused) in triggers
    assert (refused.apns_id == ID.decode()) == ("apns_id" not in case.request)
    since = {"Unregistered": GONE_AT_MS, "ExpiredToken": int((T0 - 60) * 1000)}
    assert refused.timestamp_ms == since.get(case.reason)


def test_each_rule_has_a_case(profile: StrictProfile) -> None:
    assert {case.reason for case in CASES} == {rule.reason.name for rule in RULES}


#: "Handling notification responses from APNs", without those of channels
APPLES = {
    400: "BadCollapseId BadDeviceToken BadExpirationDate BadMessageId BadPriority BadTopic "
    "DeviceTokenNotForTopic DuplicateHeaders IdleTimeout InvalidPushType MissingDeviceToken "
    "MissingTopic PayloadEmpty TopicDisallowed",
    403: "BadCertificate BadCertificateEnvironment ExpiredProviderToken Forbidden "
    "InvalidProviderToken MissingProviderToken UnrelatedKeyIdInToken BadEnvironmentKeyIdInToken",
    404: "BadPath",
    405: "MethodNotAllowed",
    410: "ExpiredToken Unregistered",
    413: "PayloadTooLarge",
    429: "TooManyProviderTokenUpdates TooManyRequests",
    500: "InternalServerError",
    503: "ServiceUnavailable Shutdown",
}


def test_every_reason_of_apples_is_here_with_its_status() -> None:
    apples = {name: status for status, names in APPLES.items() for name in names.split()}
    assert {name: REASONS[name].status for name in apples} == apples
    of_the_server = {given.reason.name for given in OF_THE_SERVER}
    assert {rule.reason.name for rule in RULES} == apples.keys() - of_the_server


#: What is mended, one after the other, of a request with which everything is wrong: each time the
#: next thing is told, and so the order of the rules is. FIRST is the connection's own token.
FIRST = bearer(age_s=1)
MENDING: list[tuple[str, dict[str, Any]]] = [
    ("BadPath", {"target": b"/3/device/?"}),
    ("MethodNotAllowed", {"target": b"/3/device/"}),
    ("DuplicateHeaders", {"method": b"POST"}),
    ("BadMessageId", {"twice": b""}),
    ("MissingProviderToken", {"apns_id": ID}),
    ("InvalidProviderToken", {"authorization": b"bearer x"}),
    ("ExpiredProviderToken", {"authorization": bearer(provider.SANDBOX_KEY, age_s=9999)}),
    ("BadEnvironmentKeyIdInToken", {"authorization": bearer(provider.SANDBOX_KEY)}),
    ("UnrelatedKeyIdInToken", {"authorization": bearer(provider.SECOND_KEY)}),
    ("TooManyProviderTokenUpdates", {"authorization": bearer(age_s=2)}),
    ("MissingTopic", {"authorization": FIRST}),
    ("BadTopic", {"apns_topic": "?"}),
    ("InvalidPushType", {"apns_topic": "com.example.other"}),
    ("TopicDisallowed", {"apns_push_type": "background"}),
    ("BadExpirationDate", {"apns_topic": APP}),
    ("BadPriority", {"apns_expiration": "0"}),
    ("BadCollapseId", {"apns_priority": "5"}),
    ("MissingDeviceToken", {"apns_collapse_id": "k"}),
    ("BadDeviceToken", {"target": b"/3/device/ab"}),
    ("PayloadTooLarge", {"target": b"/3/device/" + provider.SANDBOX_TOKEN.encode()}),
    ("PayloadEmpty", {"body": b"m"}),
    ("BadDeviceToken", {"body": b"{}"}),
    ("DeviceTokenNotForTopic", {"target": b"/3/device/" + provider.OTHER_APPS_TOKEN.encode()}),
]
WORST = {
    "method": b"PUT",
    "twice": b"apns-id",
    "apns_id": "1",
    "authorization": None,
    "apns_topic": None,
    "apns_push_type": "?",
    "apns_expiration": "?",
    "apns_priority": "10",
    "apns_collapse_id": "k" * 65,
    "body": b"m" * 6000,
}


def test_the_first_rule_that_is_broken_is_told(profile: StrictProfile) -> None:
    reader = profile.connect(None, is_http2=True)
    reader.read(request(authorization=FIRST), T0)
    told, asked = [], dict(WORST)
    for _, mended in MENDING:
        asked |= mended
        told.append(refusal_of(reader, request(**asked)).reason.name)
    assert told == [reason for reason, _ in MENDING]
    in_order = [rule.reason.name for rule in RULES]
    assert told == [name for name in in_order if name in told]


def test_of_a_device_the_first_rule_that_is_broken_is_told(profile: StrictProfile) -> None:
    """The same with a device of which everything is wrong, and which was pushed to too often."""
    registry, directory = profile.authority.registry, profile.node.directory
    reader = profile.connect(None, is_http2=True)
    for _ in range(AT_ONCE):
        reader.read(request(), T0)
    record = TokenRecord(
        TOKEN, topics=["com.example.other"], environment="development", expired_at=T0 - 1
    )
    directory.unregister(TOKEN, GONE_AT_MS)
    told = []
    for mended in ({}, {"environment": None}, {"topics": None}, {}, {"expired_at": None}):
        if len(told) == 3:
            directory.register(TOKEN)
        record = msgspec.structs.replace(record, **mended)
        registry.put_token(record)
        told.append(refusal_of(reader, request()).reason)
    assert told == [rule.reason for rule in DEVICE_RULES]


def test_by_certificate_the_order_is_the_same(profile: StrictProfile) -> None:
    development = make_profile(apns_environment="development")
    only_production = der(provider.mdm_certificate(("production",)))
    serial = provider.mdm_certificate(("production",)).certificate.serial_number
    revoking = make_profile(apns_environment="development", revoked=[f"{serial:x}"])
    asked = request(apns_id=ID, apns_topic="?", authorization="bearer x")
    for where, reason in [
        (revoking, "BadCertificate"),
        (development, "BadCertificateEnvironment"),
        (profile, "BadTopic"),
    ]:
        assert (
            refusal_of(where.connect(only_production, is_http2=True), asked).reason.name == reason
        )


def test_everything_that_a_push_can_say(profile: StrictProfile) -> None:
    asked = request(
        token=TOKEN.upper(),
        apns_push_type="background",
        apns_priority="5",
        apns_expiration=str(int(T0) + 60),
        apns_collapse_id="k",
    )
    assert profile.connect(None, is_http2=True).read(asked, T0) == Push(
        id=ID.decode(),
        token=TOKEN,
        payload=b'{"aps":{}}',
        topic=APP,
        collapse_id="k",
        priority=5,
        expires_at=int(T0) + 60,
        event="ping",
        newest_wins=True,
    )


@pytest.mark.parametrize(
    ("push_type", "topic"),
    [
        ("alert", APP),
        ("background", APP),
        ("complication", f"{APP}.complication"),
        ("controls", f"{APP}.push-type.controls"),
        ("fileprovider", f"{APP}.pushkit.fileprovider"),
        ("liveactivity", f"{APP}.push-type.liveactivity"),
        ("location", f"{APP}.location-query"),
        ("pushtotalk", f"{APP}.voip-ptt"),
        ("voip", f"{APP}.voip"),
        ("widgets", f"{APP}.push-type.widgets"),
        (None, APP),
        (None, f"{APP}.voip"),
        ("", APP),
    ],
)
def test_each_push_type_goes_with_its_topic(
    profile: StrictProfile, push_type: str | None, topic: str
) -> None:
    """A key is for an app, and so for each of its topics."""
    asked = request(apns_push_type=push_type, apns_topic=topic)
    assert profile.connect(None, is_http2=True).read(asked, T0).topic == topic


def test_the_topic_of_a_certificate_for_one(profile: StrictProfile) -> None:
    reader = profile.connect(der(provider.mdm_certificate()), is_http2=True)
    bare = request(apns_topic=None, authorization=None, body=b'{"mdm":"magic"}')
    assert reader.read(bare, T0).topic == MDM
    typed = request(apns_topic=None, authorization=None, apns_push_type="mdm")
    assert reader.read(typed, T0).topic == MDM


@pytest.mark.parametrize(
    ("size", "topic", "push_type"),
    [
        (4096, APP, "alert"),
        (4096, f"{APP}.push-type.liveactivity", "liveactivity"),
        (5120, f"{APP}.voip", "voip"),
        (5120, f"{APP}.voip", None),
    ],
)
def test_the_longest_payload(
    profile: StrictProfile, size: int, topic: str, push_type: str | None
) -> None:
    body = b'{"a":"%b"}' % (b"m" * (size - 8))
    assert len(body) == size
    asked = request(body=body, apns_topic=topic, apns_push_type=push_type)
    assert profile.connect(None, is_http2=True).read(asked, T0).payload == body
    longer = request(body=body + b" ", apns_topic=topic, apns_push_type=push_type)
    refused = refusal_of(profile.connect(None, is_http2=True), longer)
    assert refused.reason.name == "PayloadTooLarge"


@pytest.mark.parametrize(
    ("push_type", "topic", "priorities"),
    [
        ("alert", APP, "10 5 1"),
        ("background", APP, "5 1"),
        (None, APP, "10 5 1"),
        ("voip", f"{APP}.voip", "10 5 1"),
        ("pushtotalk", f"{APP}.voip-ptt", "10 5 1"),
        ("location", f"{APP}.location-query", "10 5 1"),
    ],
)
def test_priorities_by_push_type(
    profile: StrictProfile, push_type: str | None, topic: str, priorities: str
) -> None:
    reader, taken = profile.connect(None, is_http2=True), priorities.split()
    for priority in ("10", "5", "1", "0", "7", "-1", "1.0", " 5"):
        asked = request(apns_push_type=push_type, apns_topic=topic, apns_priority=priority)
        if priority in taken:
            assert reader.read(asked, T0).priority == int(priority)
        else:
            assert refusal_of(reader, asked).reason.name == "BadPriority"


def test_a_background_push_need_not_say_its_priority(profile: StrictProfile) -> None:
    asked = request(apns_push_type="background")
    assert profile.connect(None, is_http2=True).read(asked, T0)


def test_a_token_that_is_to_expire_has_not(profile: StrictProfile) -> None:
    asked = request(token=provider.EXPIRED_TOKEN, authorization=bearer(age_s=120))
    assert profile.connect(None, is_http2=True).read(asked, T0 - 61)


def test_what_is_left_out_has_a_default(profile: StrictProfile) -> None:
    push = profile.connect(None, is_http2=True).read(request(apns_id=None), T0)
    assert (push.priority, push.collapse_id) == (10, None)
    assert push.expires_at == T0 + profile.default_ttl_s
    past = request(apns_expiration="1")
    assert profile.connect(None, is_http2=True).read(past, T0).expires_at == NOW_OR_NEVER


def test_a_full_store(profile: StrictProfile) -> None:
    profile.node.router._store_total = 0
    assert (
        refusal_of(profile.connect(None, is_http2=True), request()).reason.name
        == "ServiceUnavailable"
    )
    assert profile.connect(None, is_http2=True).read(request(apns_expiration="0"), T0)


header_values = st.one_of(st.binary(max_size=80), st.sampled_from([b"", b"10", b"alert", ID]))
names = st.sampled_from(
    sorted(
        b"apns-id apns-topic apns-push-type apns-expiration apns-priority apns-collapse-id "
        b"authorization content-type".split()
    )
)
tokens = st.one_of(
    st.binary(max_size=300).map(lambda raw: b"bearer " + raw),
    st.tuples(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=70)).map(
        lambda parts: b"bearer " + b".".join(base64(part) for part in parts)
    ),
    st.just(bearer()),
)


@given(
    method=st.one_of(st.just(b"POST"), st.binary(max_size=9)),
    path=st.one_of(
        st.just(f"/3/device/{TOKEN}".encode()),
        st.binary(max_size=80).map(lambda raw: b"/3/device/" + raw),
        st.binary(max_size=30),
    ),
    headers=st.lists(st.tuples(names, header_values), max_size=6),
    shown=tokens,
    certificate=st.one_of(st.none(), st.binary(max_size=100)),
    body=st.one_of(st.just(b"{}"), st.binary(max_size=100), st.just(b"[" * 5000)),
)
def test_whatever_is_asked_is_a_push_or_one_of_apples_reasons(
    method: bytes,
    path: bytes,
    headers: list[tuple[bytes, bytes]],
    shown: bytes,
    certificate: bytes | None,
    body: bytes,
) -> None:
    asked = Request([(b"authorization", shown), *headers], method, path, body)
    try:
        assert _PROFILE.connect(certificate, is_http2=True).read(asked, T0).token == TOKEN
    except PushRefused as refused:
        reason = refused.reason.name
    else:
        reason = ""
    assert reason in {"", *(rule.reason.name for rule in RULES)}


_PROFILE = make_profile()


def test_an_id_that_is_given_twice_is_none(profile: StrictProfile) -> None:
    refused = refusal_of(profile.connect(None, is_http2=True), request(twice=b"apns-id"))
    assert refused.reason.name == "DuplicateHeaders"
    assert refused.apns_id != ID.decode()
