"""The strict profile and the clients that people use: each is shown all that Apple may do to it.

By provider token and by certificate: what is accepted, each 4xx that a client can cause, 410 with
its time, GOAWAY, throttling, refused streams. What a client can never be refused for stands with
it, and a test has it that nothing is left out.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
import trio

from tests.interop.running import Device, Running
from tests.interop.strict import (
    ASKS,
    BAD_PROVIDERS,
    EXPIRED_AT,
    GOOD_PROVIDERS,
    LOCATION,
    Ask,
    Provider,
    Strict,
)
from tests.interop.strict_clients.aioapns import Aioapns
from tests.interop.strict_clients.base import Answer, StrictClient
from tests.interop.strict_clients.httpx import Httpx, bearer
from tests.interop.strict_clients.kalyke import Kalyke, SharedKalyke
from tests.interop.strict_clients.node_apn import NodeApn
from tests.interop.strict_clients.ours import Ours
from tests.serving import PATIENCE_S
from trio_push.faults import Match, Rule
from trio_push.faults.actions import GoAway, ResetStream
from trio_push.intake.apns_strict import RULES

NODE = pytest.mark.needs("node", "npm-packages")
CLIENTS: dict[str, Callable[[], StrictClient]] = {
    "aioapns": Aioapns,
    "httpx": Httpx,
    "kalyke": Kalyke,
    "node-apn": NodeApn,
    "trio-push": Ours,
}
#: those that keep a connection
KEEPING = CLIENTS | {"kalyke": SharedKalyke}
#: reasons that one client alone can be shown, in a test of its own
ELSEWHERE = {
    "httpx": {"UnrelatedKeyIdInToken", "TooManyProviderTokenUpdates"},
    "kalyke": {"TooManyProviderTokenUpdates"},
}
#: of pushes and providers that are refused for what happens before, and not for what they are
OVER_TIME = {"Unregistered", "TooManyRequests"}

OK = Answer(200)
BAD = Ask("BadCollapseId", fields={"collapse_id": "k" * 65})

Launch = Callable[..., AbstractContextManager[Running]]

pytestmark = pytest.mark.filterwarnings(
    "ignore:VoIPCertificateClient is deprecated", "ignore:X509.get_subject:DeprecationWarning"
)


def needed(kind: str) -> tuple[pytest.MarkDecorator, ...]:
    return (NODE,) if kind == "node-apn" else ()


def each(
    clients: dict[str, Callable[[], StrictClient]], *, without: str = ""
) -> pytest.MarkDecorator:
    """For each of the clients by token, and by certificate."""
    return pytest.mark.parametrize(
        ("client", "name"),
        [
            pytest.param(make(), name, id=f"{kind} {name}", marks=needed(kind))
            for kind, make in clients.items()
            for name in GOOD_PROVIDERS
            if f"{kind} {name}" not in without.split(", ")
        ],
    )


def can_cause(client: StrictClient, asks: Sequence[Ask], name: str) -> list[Ask]:
    never = set(client.never)
    if name == "by certificate":
        never |= set(client.never_by_certificate)
    return [ask.made() for ask in asks if ask.reason not in never]


def fresh(count: int = 1) -> list[Ask]:
    """Pushes that nothing is wrong with."""
    return [Ask().made() for _ in range(count)]


# -- what a push is answered


@each(CLIENTS)
def test_a_push_reaches_its_device(
    strict: Strict, token: str, client: StrictClient, name: str
) -> None:
    with Device(strict.server, token) as device:
        assert client.talk(strict.server, strict.providers[name], Ask(token=token)) == [OK]
        payload = json.loads(device.pings(1)[0])
    assert payload == {"aps": {"alert": "höi"}}


@each(CLIENTS)
def test_each_reason_that_lies_in_a_push(strict: Strict, client: StrictClient, name: str) -> None:
    """One after the other, each with a push behind it that is accepted."""
    asks = can_cause(client, [*ASKS, *[LOCATION] * (name == "by certificate")], name)
    steps = [step for ask in asks for step in (ask, *fresh())]
    answers = client.talk(strict.server, strict.providers[name], *steps)
    assert [answer.reason for answer in answers[::2]] == [ask.reason for ask in asks]
    status = {rule.reason.name: rule.reason.status for rule in RULES}
    assert [answer.status for answer in answers[::2]] == [status[ask.reason] for ask in asks]
    since = {answer.reason: answer.timestamp for answer in answers if answer.timestamp}
    assert since == {"ExpiredToken": EXPIRED_AT * 1000}
    assert set(answers[1::2]) == {OK}


@each(CLIENTS)
def test_gone(strict: Strict, token: str, client: StrictClient, name: str) -> None:
    since = strict.unregister(token)
    answers = client.talk(strict.server, strict.providers[name], Ask(token=token))
    assert answers == [Answer(410, "Unregistered", since)]


@each(CLIENTS)
def test_too_many(strict: Strict, token: str, client: StrictClient, name: str) -> None:
    steps = [Ask(token=token)] * 2
    answers = client.talk(strict.server, strict.providers[name], *steps)
    assert answers == [OK, Answer(429, "TooManyRequests")]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        pytest.param(kind, name, marks=needed(kind))
        for kind, make in CLIENTS.items()
        for name, reason in BAD_PROVIDERS.items()
        if reason not in make().never
    ],
)
def test_who_may_not(strict: Strict, kind: str, name: str) -> None:
    client, reason = CLIENTS[kind](), BAD_PROVIDERS[name]
    (answer,) = client.talk(strict.server, strict.providers[name], *fresh())
    assert answer.reason == reason
    assert answer.status in (400, 403)


@pytest.mark.parametrize("name", ["stranger", "expired"])
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=needed(kind)) for kind in CLIENTS])
def test_a_certificate_that_is_not_valid(strict: Strict, kind: str, name: str) -> None:
    (answer,) = CLIENTS[kind]().talk(strict.server, strict.providers[name], *fresh())
    assert answer.status == 0
    assert answer.error


@pytest.mark.parametrize("kind", CLIENTS)
def test_no_reason_is_left_out(kind: str) -> None:
    """Every reason that a rule has is shown with each client, or it is said why not."""
    client = CLIENTS[kind]()
    shown = OVER_TIME | ELSEWHERE.get(kind, set()) | set(BAD_PROVIDERS.values())
    for name in GOOD_PROVIDERS:
        shown |= {ask.reason for ask in can_cause(client, [*ASKS, LOCATION], name)}
    shown -= set(client.never)
    assert shown | set(client.never) == {rule.reason.name for rule in RULES}
    assert not set(client.never) & ELSEWHERE.get(kind, set())


# -- what happens to a connection


@each(KEEPING)
def test_many_at_once_over_a_new_connection(
    strict: Strict, client: StrictClient, name: str
) -> None:
    """By token the first push has the only stream, until it is accepted."""
    asks = fresh(12)
    answers = client.talk(strict.server, strict.providers[name], asks)
    if isinstance(client, NodeApn) and name == "by token":
        refused = [ask for ask, answer in zip(asks, answers, strict=True) if answer != OK]
        assert {answer.status for answer in answers} == {0, 200}
        assert all(client.refused in answer.error for answer in answers if answer != OK)
        assert client.talk(strict.server, strict.providers[name], *refused[:1], refused[1:]) == [
            OK
        ] * len(refused)
    else:
        assert answers == [OK] * 12


@each(KEEPING)
def test_a_refused_stream(
    launch_strict: Launch, strict: Strict, client: StrictClient, name: str
) -> None:
    with launch_strict() as server:
        refuse = Rule(match=Match(first=1), action=ResetStream("REFUSED_STREAM"))
        steps = [*fresh(), adding(server, refuse), *fresh(2)]
        first, refused, last = client.talk(server, strict.providers[name], *steps)
        accepted = server.books()["accepted"]
    assert (first, last) == (OK, OK)
    if client.refused:
        assert refused.status == 0
        assert client.refused in refused.error
        assert accepted == 2
    else:
        assert refused == OK
        assert accepted == 3


def adding(server: Running, rule: Rule) -> Callable[[], None]:
    return lambda: server.call(lambda: server.node.faults.add([rule], trio.current_time()))


@each(KEEPING, without="aioapns by certificate")
def test_throttling(launch_strict: Launch, strict: Strict, client: StrictClient, name: str) -> None:
    """A refusal leaves one stream; a push that is accepted brings the others back."""
    with launch_strict(apns_throttle=True) as server:
        steps = [*fresh(), BAD.made(), BAD.made(), *fresh(), fresh(20)]
        answers = client.talk(server, strict.providers[name], *steps)
    refused = Answer(400, BAD.reason)
    assert answers == [OK, refused, refused, OK, *[OK] * 20]


@each(KEEPING, without="aioapns by certificate, httpx by token, httpx by certificate")
def test_streams_refused_by_throttling(
    launch_strict: Launch, strict: Strict, client: StrictClient, name: str
) -> None:
    """What was sent together with a push that is refused, and behind it, is not looked at."""
    with launch_strict(apns_throttle=True) as server:
        at_once = [BAD.made(), *fresh(20)]
        _, _, bad, *rest = client.talk(server, strict.providers[name], *fresh(2), at_once)
        accepted = server.books()["accepted"]
    assert bad == Answer(400, BAD.reason)
    lost = [answer for answer in rest if answer != OK]
    assert accepted == 2 + len(rest) - len(lost)
    assert bool(lost) == bool(client.refused)
    assert all(client.refused in answer.error for answer in lost), lost


@each(KEEPING)
def test_goaway_at_shutdown(
    launch_strict: Launch, strict: Strict, client: StrictClient, name: str
) -> None:
    with launch_strict(drain_s=1.0) as server:
        steps = [*fresh(), server.drain, *fresh()]
        first, second = client.talk(server, strict.providers[name], *steps)
    assert first == OK
    assert second.status == 0
    assert second.error


@each(KEEPING)
def test_goaway_after_idleness(
    launch_strict: Launch, strict: Strict, client: StrictClient, name: str
) -> None:
    """Who has not heard of it finds out by the next push, and opens a connection for the one
    after."""
    with launch_strict(idle_timeout_s=1.0) as server:
        left_idle = partial(wait_left_idle, server, hears_of_it=client.reads_when_idle)
        steps = [*fresh(), left_idle, *fresh(2)]
        first, second, third = client.talk(server, strict.providers[name], *steps)
    assert (first, third) == (OK, OK)
    assert (second == OK) == client.reads_when_idle
    assert bool(second.error) != client.reads_when_idle


def wait_left_idle(server: Running, *, hears_of_it: bool) -> None:
    """Until the server has let those go that are there now, and they have heard of it."""
    http2 = server._server._front._http2
    port = urlsplit(server.tls).port
    here, deadline = {"01", *(["08"] if hears_of_it else [])}, time.monotonic() + PATIENCE_S
    while server.call(lambda: bool(http2._open)) or states_of_peers(port) & here:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    server.call(setattr, http2, "idle_timeout_s", PATIENCE_S)


def states_of_peers(port: int | None) -> set[str]:
    """Of sockets connected to that port: 01, or 08 when their peer has ended the connection."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in lines]
    return {state for _, _, peer, state, *_ in fields if peer == f"0100007F:{port:04X}"}


@each(KEEPING)
@pytest.mark.parametrize("last_stream", ["at", "before"])
def test_goaway_in_the_middle(
    launch_strict: Launch,
    strict: Strict,
    client: StrictClient,
    name: str,
    last_stream: Literal["at", "before"],
) -> None:
    """The last stream says whether the push was processed, and so whether to send it again."""
    # one of them sends it twice
    with launch_strict(apns_token_rate=0) as server:
        leave = Rule(match=Match(first=1), action=GoAway(last_stream=last_stream))
        steps = [*fresh(), adding(server, leave), *fresh(2)]
        first, pushed, last = client.talk(server, strict.providers[name], *steps)
        accepted = server.books()["accepted"]
    fate = client.after_goaway[last_stream]
    assert (first, last) == (OK, OK)
    assert (pushed == OK) == fate.told
    assert bool(pushed.error) != fate.told
    assert accepted == 2 + fate.accepted


# -- what each of them does by itself


def test_aioapns_hears_the_reason_of_goaway(
    launch_strict: Launch, strict: Strict, caplog: pytest.LogCaptureFixture
) -> None:
    with launch_strict(drain_s=1.0) as server:
        Aioapns().talk(server, strict.providers["by certificate"], *fresh(), server.drain)
    assert """additional_data=b'{"reason":"Shutdown"}', last_stream_id=1""" in caplog.text


def test_aioapns_keeps_the_limit_of_the_moment(launch_strict: Launch, strict: Strict) -> None:
    client, limits = Aioapns(), []

    def look() -> None:
        limits.append(client.connections[0].free_channels.bound)

    with launch_strict(apns_throttle=True) as server:
        steps = [*fresh(), look, BAD.made(), look, BAD.made(), look, *fresh(), look]
        client.talk(server, strict.providers["by token"], *steps)
    assert limits == [1000, 1, 1, 1000]


def test_aioapns_by_certificate_stands_still_when_it_is_throttled(
    launch_strict: Launch, strict: Strict
) -> None:
    """It hears of 1000 streams while its first push is under way, and counts two of them; with the
    999 that a refusal takes away it never has one again."""
    client, busy = Aioapns(), []

    def look() -> None:
        busy.append(client.connections[0].is_busy)

    with launch_strict(apns_throttle=True) as server:
        steps = [*fresh(), look, BAD.made(), look]
        client.talk(server, strict.providers["by certificate"], *steps)
    assert busy == [False, True]


@pytest.mark.parametrize("name", GOOD_PROVIDERS)
def test_httpx_stands_still_when_it_is_throttled_with_pushes_under_way(
    launch_strict: Launch, strict: Strict, name: str
) -> None:
    """It reads no further until as many have their answers as it has to give up: for ever."""

    async def main(server: Running) -> int:
        async with Httpx().open(server, strict.providers[name]) as push:
            for ask in fresh(2):
                assert await push(ask) == OK
            sends = [asyncio.ensure_future(push(ask)) for ask in [BAD.made(), *fresh(20)]]
            _, stuck = await asyncio.wait(sends, timeout=1)
            for send in stuck:
                send.cancel()
            await asyncio.gather(*sends, return_exceptions=True)
            return len(stuck)

    with launch_strict(apns_throttle=True) as server:
        assert asyncio.run(main(server)) > 0


@pytest.mark.parametrize("http2", [True, False], ids=["HTTP/2", "HTTP/1.1"])
def test_tokens_over_time(strict: Strict, token: str, http2: bool) -> None:
    """What a connection has to say to the tokens that it is shown, one after the other."""
    by_token = strict.providers["by token"]
    first = bearer(by_token)
    shown = {
        "bearer x": "InvalidProviderToken",
        bearer(by_token, age_s=3700): "ExpiredProviderToken",
        first: "",
        bearer(by_token, age_s=1): "TooManyProviderTokenUpdates",
        bearer(strict.providers["scoped"]): "UnrelatedKeyIdInToken",
    }
    asks = [Ask(reason, fields={"authorization": each}) for each, reason in shown.items()]
    asks += [Ask("MissingProviderToken"), Ask(fields={"authorization": first})]
    client = Httpx(http2=http2)
    answers = client.talk(strict.server, Provider(), *(ask.made() for ask in asks))
    assert [answer.reason for answer in answers] == [ask.reason for ask in asks]


def test_kalyke_makes_a_token_for_each_push(strict: Strict) -> None:
    """That is why it opens a connection for each, too."""
    client = SharedKalyke(keeps_token=False)
    answers = client.talk(strict.server, strict.providers["by token"], *fresh(2))
    assert answers == [OK, Answer(429, "TooManyProviderTokenUpdates")]


@pytest.mark.parametrize("name", GOOD_PROVIDERS)
def test_kalyke_is_not_throttled(launch_strict: Launch, strict: Strict, name: str) -> None:
    """As it stands it has no connection that could be."""
    with launch_strict(apns_throttle=True) as server:
        steps = [*fresh(), [BAD.made(), *fresh(20)]]
        first, bad, *rest = Kalyke().talk(server, strict.providers[name], *steps)
    assert (first, bad) == (OK, Answer(400, BAD.reason))
    assert rest == [OK] * 20


@pytest.mark.parametrize("name", GOOD_PROVIDERS)
def test_our_own_loses_nothing_when_it_is_throttled_again_and_again(
    launch_strict: Launch, strict: Strict, name: str
) -> None:
    asks = [BAD.made() if n % 20 == 0 else Ask().made() for n in range(100)]
    with launch_strict(apns_throttle=True) as server:
        answers = Ours().talk(server, strict.providers[name], asks)
        accepted = server.books()["accepted"]
    assert [answer.reason for answer in answers] == [ask.reason for ask in asks]
    assert accepted == 95


@pytest.mark.parametrize("name", GOOD_PROVIDERS)
def test_httpx_over_http1(strict: Strict, token: str, name: str) -> None:
    with Device(strict.server, token) as device:
        steps = [*fresh(), Ask(token=token), BAD.made(), *fresh()]
        answers = Httpx(http2=False).talk(strict.server, strict.providers[name], *steps)
        assert answers == [OK, OK, Answer(400, BAD.reason), OK]
        assert device.pings(1)


def test_mdm_by_its_certificate(strict: Strict, token: str) -> None:
    """Neither topic nor type need be given."""
    bare = {"topic": None, "push_type": None}
    ask = Ask(token=token, payload={"mdm": "magic"}, fields=bare)
    with Device(strict.server, token) as device:
        assert Httpx().talk(strict.server, strict.providers["mdm"], ask) == [OK]
        assert device.pings(1) == [b'{"mdm":"magic"}']


def test_the_unique_id_of_development(launch_strict: Launch, strict: Strict) -> None:
    client = Httpx()
    with launch_strict(apns_environment="development") as server:
        answers = client.talk(server, strict.providers["for development"], *fresh(), BAD.made())
    assert [answer.status for answer in answers] == [200, 400]
    assert len({headers["apns-unique-id"] for headers in client.headers}) == 2
