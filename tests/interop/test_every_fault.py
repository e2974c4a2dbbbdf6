"""Every action and every match of a fault, set over the API and met by httpx, on both profiles.

What only frames can tell (the last stream of a GOAWAY, the code of a reset, RST and not FIN) is
in tests/intake/test_faults.py.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.interop.running import PATIENCE_S, Device, Running, running
from tests.interop.strict import APP, VOIP, Provider
from tests.interop.strict_clients.httpx import bearer
from trio_push.faults import SCENARIOS, Rule
from trio_push.faults.dice import Dice

TOO_MANY = {"kind": "status", "reason": "TooManyRequests"}
LOSE = {"kind": "lose"}
#: payloads
ONE, TWO = '{"n":1}', '{"n":2}'


class World:
    """A server under one profile, and a provider that may push to it."""

    def __init__(self, server: Running, headers: dict[str, str]) -> None:
        self.server = server
        self._trust = ssl.create_default_context(cafile=server.ca)
        self._headers = headers
        #: what a push to the app's own topic says besides
        self.of_app = {"apns-topic": APP}
        if "apns-push-type" in headers:
            self.of_app["apns-push-type"] = "alert"
        self._api = httpx.Client(base_url=server.api, trust_env=False, timeout=PATIENCE_S)
        self.client = httpx.Client(**self.options())

    def options(self, *, http2: bool = True) -> dict[str, Any]:
        return {
            "base_url": self.server.tls,
            "http1": not http2,
            "http2": http2,
            "headers": self._headers,
            "verify": self._trust,
            "trust_env": False,
            "timeout": PATIENCE_S,
        }

    def close(self) -> None:
        self.client.close()
        self._api.close()

    # -- its faults

    def befall(self, action: dict[str, Any], name: str = "r", **rule: Any) -> None:
        """Add a rule; `rule` has its match and its seed."""
        answer = self._api.post("/v1/faults", json={"name": name, "action": action, **rule})
        assert answer.status_code == 201, answer.text

    def apply(self, scenario: str) -> None:
        self._api.post(f"/v1/faults/scenarios/{scenario}").raise_for_status()

    def clear(self) -> None:
        self._api.delete("/v1/faults").raise_for_status()

    def times(self) -> int:
        """How often the rule was applied, which is in the ledger and in the metrics, too."""
        [rule] = self._api.get("/v1/faults").json()["rules"]
        kind = rule["action"]["kind"]
        books = self._api.get("/v1/ledger").json()["faults"]
        counted = {(fault["rule"], fault["action"]): fault["times"] for fault in books}
        # those count on when a rule of the same name and kind has been there before
        total = counted[rule["name"], kind]
        line = f'trio_push_injected_faults_total{{action="{kind}",rule="{rule["name"]}"}} {total}.0'
        assert line in self._api.get("/metrics").text
        assert rule["times"] <= total
        return int(rule["times"])

    # -- its pushes

    @property
    def accepted(self) -> int:
        return int(self._api.get("/v1/ledger").json()["accepted"])

    @property
    def lost(self) -> int:
        books = self._api.get("/v1/ledger").json()
        assert books["balanced"]
        return int(books["ended"]["lost_by_fault"])

    def push(
        self, token: str, body: str = "{}", client: httpx.Client | None = None, **headers: str
    ) -> httpx.Response:
        return (client or self.client).post(f"/3/device/{token}", content=body, headers=headers)

    def refused(self, *tokens: str, **headers: str) -> list[bool]:
        return [self.push(token, **headers).status_code == 429 for token in tokens]


def fresh(n: int = 1) -> list[str]:
    return [secrets.token_hex(32) for _ in range(n)]


@pytest.fixture(scope="module", params=["mdm", "strict"])
def opened(
    request: pytest.FixtureRequest,
    tls_dir: Path,
    launch_strict: Callable[..., Any],
    providers: dict[str, Provider],
) -> Iterator[World]:
    is_strict = request.param == "strict"
    headers = {"apns-topic": VOIP, "apns-expiration": "4000000000"}
    if is_strict:
        headers["apns-push-type"] = "voip"
        headers["authorization"] = bearer(providers["by token"])
    with launch_strict(apns_token_rate=0) if is_strict else running(tls_dir) as server:
        world = World(server, headers)
        yield world
        world.close()


@pytest.fixture
def world(opened: World) -> Iterator[World]:
    assert opened.push(*fresh()).status_code == 200
    yield opened
    opened.clear()


class TestRequests:
    def test_status_and_reason(self, world: World) -> None:
        world.befall({"kind": "status", "reason": "Unregistered", "since_s": 3600})
        gone = world.push(*fresh())
        assert (gone.status_code, gone.json()["reason"]) == (410, "Unregistered")
        assert 3600 <= time.time() - gone.json()["timestamp"] / 1000 < 3600 + PATIENCE_S
        world.clear()
        odd = {"kind": "status", "reason": "OutToLunch", "status": 503, "retry_after_s": 7}
        world.befall(odd)
        away = world.push(*fresh())
        assert (away.status_code, away.json()) == (503, {"reason": "OutToLunch"})
        assert away.headers["retry-after"] == "7"

    @pytest.mark.parametrize("http2", [True, False], ids=["h2", "h1"])
    @pytest.mark.parametrize(
        ("latency", "least_s"),
        [
            ({"law": "fixed", "s": 0.3}, 0.3),
            ({"law": "uniform", "low_s": 0.2, "high_s": 0.4}, 0.2),
            ({"law": "log-normal", "median_s": 0.3, "p99_s": 0.4}, 0.15),
        ],
        ids=["fixed", "uniform", "log-normal"],
    )
    def test_latency(
        self, world: World, latency: dict[str, Any], least_s: float, http2: bool
    ) -> None:
        world.befall({"kind": "delay", "latency": latency})
        with httpx.Client(**world.options(http2=http2)) as client:
            for token in fresh(2):
                answer = world.push(token, client=client)
                assert answer.status_code == 200
                assert answer.elapsed.total_seconds() >= least_s

    @pytest.mark.parametrize("http2", [True, False], ids=["h2", "h1"])
    def test_hold(self, world: World, http2: bool) -> None:
        world.befall({"kind": "hold"})
        before = world.accepted
        with (
            httpx.Client(**world.options(http2=http2)) as client,
            pytest.raises(httpx.ReadTimeout),
        ):
            patience = httpx.Timeout(PATIENCE_S, read=0.5)
            client.post(f"/3/device/{fresh()[0]}", content="{}", timeout=patience)
        assert world.accepted == before
        world.clear()
        world.befall({"kind": "hold", "for_s": 0.5})
        answer = world.push(*fresh())
        assert answer.status_code == 200
        assert answer.elapsed.total_seconds() >= 0.5

    @pytest.mark.parametrize(
        ("code", "number"),
        [("REFUSED_STREAM", 7), ("INTERNAL_ERROR", 2), ("ENHANCE_YOUR_CALM", 11)],
    )
    @pytest.mark.parametrize("processed", [False, True])
    def test_reset_stream(self, world: World, code: str, number: int, processed: bool) -> None:
        before = world.accepted
        world.befall({"kind": "reset_stream", "code": code, "processed": processed})
        with pytest.raises(httpx.RemoteProtocolError, match=f"error_code:{number},"):
            world.push(*fresh())
        assert world.accepted == before + processed

    @pytest.mark.parametrize(("last_stream", "accepted"), [("before", 0), ("at", 1), ("after", 1)])
    def test_goaway(self, world: World, last_stream: str, accepted: int) -> None:
        before = world.accepted
        world.befall({"kind": "goaway", "last_stream": last_stream, "reason": "Elsewhere"})
        # whether or not an answer comes behind it: httpx gives the connection up
        with pytest.raises(httpx.ProtocolError):
            world.push(*fresh())
        world.clear()
        assert world.push(*fresh()).status_code == 200
        assert world.accepted == before + accepted + 1

    @pytest.mark.parametrize("http2", [True, False], ids=["h2", "h1"])
    @pytest.mark.parametrize("processed", [False, True])
    def test_tcp_reset(self, world: World, processed: bool, http2: bool) -> None:
        before = world.accepted
        world.befall({"kind": "tcp_reset", "processed": processed})
        with (
            httpx.Client(**world.options(http2=http2)) as client,
            pytest.raises(httpx.TransportError),
        ):
            world.push(*fresh(), client=client)
        assert world.accepted == before + processed

    def test_fewer_streams(self, world: World) -> None:
        """httpx heeds the limit: pushes that could go side by side go one by one."""

        async def push_all() -> float:
            async with httpx.AsyncClient(**world.options()) as client:

                async def push(token: str) -> None:
                    answer = await client.post(f"/3/device/{token}", content="{}")
                    assert answer.status_code == 200

                # who has shown a token may have them all, and is told of fewer before the next
                await push(*fresh())
                world.befall({"kind": "max_streams", "streams": 1}, "few")
                world.befall({"kind": "delay", "latency": {"law": "fixed", "s": 0.2}}, "slow")
                await push(*fresh())
                began = time.monotonic()
                await asyncio.gather(*map(push, fresh(5)))
                return time.monotonic() - began

        assert asyncio.run(push_all()) >= 5 * 0.2

    def test_refused_connection(self, world: World) -> None:
        world.befall({"kind": "refuse_connection"}, match={"first": 1})
        with httpx.Client(**world.options()) as client:
            with pytest.raises(httpx.TransportError):
                world.push(*fresh(), client=client)
            assert world.push(*fresh(), client=client).status_code == 200
        assert world.times() == 1


@pytest.mark.parametrize("via", ["apns", "api"])
class TestPushesAndDevices:
    """What befalls a push once it is accepted, over whichever way."""

    def send(self, world: World, via: str, token: str, *bodies: str) -> None:
        for body in bodies:
            if via == "api":
                world.server.push(token, body, event="ping")
            else:
                assert world.push(token, body).status_code == 200

    def test_lost(self, world: World, via: str) -> None:
        before, [token] = world.lost, fresh()
        world.befall(LOSE, match={"first": 1})
        with Device(world.server, token) as device:
            self.send(world, via, token, ONE, TWO)
            assert device.pings(1) == [TWO.encode()]
        assert (world.lost, world.times()) == (before + 1, 1)

    def test_twice(self, world: World, via: str) -> None:
        [token] = fresh()
        world.befall({"kind": "duplicate"}, match={"first": 1})
        with Device(world.server, token) as device:
            self.send(world, via, token, ONE, TWO)
            first, second, third = device.event(), device.event(), device.event()
        assert first == second
        assert third[b"data"] == TWO.encode()

    def test_overtaken(self, world: World, via: str) -> None:
        [token] = fresh()
        world.befall({"kind": "reorder", "by": {"law": "fixed", "s": 2}}, match={"first": 1})
        with Device(world.server, token) as device:
            self.send(world, via, token, ONE, TWO)
            assert device.pings(2) == [TWO.encode(), ONE.encode()]

    def test_slow(self, world: World, via: str) -> None:
        [token] = fresh()
        latency = {"law": "fixed", "s": 0.5}
        world.befall({"kind": "slow_device", "latency": latency}, match={"first": 1})
        with Device(world.server, token) as device:
            began = time.monotonic()
            self.send(world, via, token, ONE, TWO)
            assert device.pings(2) == [ONE.encode(), TWO.encode()]
            assert time.monotonic() - began >= 0.5

    @pytest.mark.parametrize(("when", "read"), [("before", 0), ("after", 1)])
    def test_cut_off(self, world: World, via: str, when: str, read: int) -> None:
        [token] = fresh()
        world.befall({"kind": "disconnect_device", "when": when}, match={"first": 1})
        with Device(world.server, token) as device:
            self.send(world, via, token, ONE)
            assert [device.event()[b"data"] for _ in range(read)] == [ONE.encode()] * read
            with pytest.raises((AssertionError, ConnectionError)):
                device.event()
        with Device(world.server, token) as device:
            self.send(world, via, token, TWO)
            left = [ONE.encode(), TWO.encode()][read:]
            assert device.pings(len(left)) == left


class TestMatches:
    """Each of them with a refusal, by which a provider sees whom it befalls."""

    def test_a_share_that_is_the_same_each_time(self, world: World) -> None:
        tokens, drawn = fresh(60), []
        for seed in (1, 1, 2):
            world.befall(TOO_MANY, match={"share": 0.5}, seed=seed)
            drawn.append(world.refused(*tokens))
            assert world.times() == sum(drawn[-1])
            world.clear()
        assert drawn[0] == drawn[1] != drawn[2]
        assert 10 < sum(drawn[0]) < 50

    def test_a_share_of_the_tokens(self, world: World) -> None:
        world.befall(TOO_MANY, match={"token_share": 0.5})
        tokens = fresh(60)
        drawn = world.refused(*tokens)
        assert world.refused(*tokens) == drawn
        assert 10 < sum(drawn) < 50

    def test_the_beginning_of_a_token(self, world: World) -> None:
        [token] = fresh()
        world.befall(TOO_MANY, match={"token_prefix": token[:8].upper()})
        other = f"{int(token[0], 16) ^ 1:x}{token[1:]}"
        assert world.refused(token, other) == [True, False]

    def test_some_tokens(self, world: World) -> None:
        one, two, other = fresh(3)
        world.befall(TOO_MANY, match={"tokens": [one, two.upper()]})
        assert world.refused(one, two, other) == [True, True, False]

    def test_a_topic(self, world: World) -> None:
        world.befall(TOO_MANY, match={"topic": APP})
        assert world.refused(*fresh(), **world.of_app) == [True]
        assert world.refused(*fresh()) == [False]

    def test_a_node(self, world: World) -> None:
        world.befall(TOO_MANY, "elsewhere", match={"node": "somewhere"})
        assert world.refused(*fresh()) == [False]
        world.befall(TOO_MANY, "here", match={"node": world.server.node.id})
        assert world.refused(*fresh()) == [True]

    def test_a_window_that_comes_again(self, world: World) -> None:
        began = time.monotonic()
        world.befall(TOO_MANY, match={"after_s": 0.5, "for_s": 0.5, "every_s": 1.5})
        until(lambda: world.refused(*fresh()) == [True])
        assert time.monotonic() - began >= 0.5
        until(lambda: world.refused(*fresh()) == [False])
        assert time.monotonic() - began >= 1
        until(lambda: world.refused(*fresh()) == [True])
        assert time.monotonic() - began >= 2

    def test_a_rate(self, world: World) -> None:
        world.befall(TOO_MANY, match={"rate": 0.01})
        assert world.refused(*fresh(4)) == [True, False, False, False]

    def test_the_first(self, world: World) -> None:
        world.befall(TOO_MANY, match={"first": 2})
        assert world.refused(*fresh(4)) == [True, True, False, False]
        assert world.times() == 2

    def test_all_that_is_said_has_to_fit(self, world: World) -> None:
        one, other = fresh(2)
        world.befall(TOO_MANY, match={"tokens": [one], "topic": APP, "first": 1})
        assert world.refused(one) == [False]
        assert world.refused(other, one, one, **world.of_app) == [False, True, False]


@pytest.mark.parametrize(
    ("scenario", "seen"),
    [
        ("apple-shutdown", {"Shutdown", "connection lost"}),
        ("token-churn", {"Unregistered", "ExpiredToken", "BadDeviceToken", "accepted"}),
        ("throttled", {"TooManyRequests", "accepted"}),
        ("flaky-network", {"connection lost", "accepted"}),
        ("goaway-storm", {"connection lost"}),
    ],
)
def test_scenarios(world: World, scenario: str, seen: set[str]) -> None:
    world.apply(scenario)
    tokens, found = itertools.cycle(chosen()), set[str]()
    with httpx.Client(**world.options(http2=False)) as http1:

        def see() -> bool:
            # most over one connection, and one over a new one of HTTP/2
            found.update(outcome(world, http1, next(tokens)) for _ in range(5))
            with httpx.Client(**world.options()) as http2:
                found.add(outcome(world, http2, next(tokens)))
            return found >= seen

        until(see)


def outcome(world: World, client: httpx.Client, token: str) -> str:
    try:
        answer = world.push(token, client=client)
    except (httpx.TransportError, httpx.ProtocolError):
        return "connection lost"
    return "accepted" if answer.status_code == 200 else str(answer.json()["reason"])


def chosen() -> list[str]:
    """A token for each rule of `token-churn` that befalls it, and one for none."""
    rules = SCENARIOS["token-churn"].rules
    numbers = [f"{n:064x}" for n in range(1000)]
    befallen = {token: [fits(rule, token) for rule in rules] for token in numbers}
    wanted = [[rule is one for rule in rules] for one in (*rules, None)]
    return [next(t for t in numbers if befallen[t] == fit) for fit in wanted]


def fits(rule: Rule, token: str) -> bool:
    share = rule.match.token_share
    return share is None or Dice(rule.seed, rule.name).of(token) < share


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)
