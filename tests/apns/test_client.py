"""The client against a fake host, in mock time: each request has its one result, come what may."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import h2.events
import pytest
import trio
from h2.errors import ErrorCodes
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.apns.fake_host import FakeHost, Push
from trio_push.apns import (
    Client,
    Constant,
    Exponential,
    Options,
    Outcome,
    Request,
    Result,
    Retries,
    Scaling,
    open_client,
)
from trio_push.apns.authorization import Bearer
from trio_push.clock import Clock
from trio_push.errors import ConfigError

ONE = Scaling(law=Constant(), least=1, most=1)


def requests(count: int, **fields: Any) -> list[Request]:
    return [Request(token=f"{n:04x}", payload=b"{}", **fields) for n in range(count)]


@asynccontextmanager
async def opened(host: FakeHost, **options: Any) -> AsyncIterator[Client]:
    options = {"scaling": ONE} | options
    async with open_client("http://host", Options(**options), dial=host.dial) as client:
        yield client


async def feed(client: Client, wanted: Iterable[Request]) -> None:
    async with client.requests:
        for request in wanted:
            await client.requests.send(request)


async def push(host: FakeHost, wanted: list[Request], **options: Any) -> list[Result]:
    """The results in the order of the requests."""
    results = {}
    async with opened(host, **options) as client, trio.open_nursery() as nursery:
        nursery.start_soon(feed, client, wanted)
        async for result in client.results:
            assert result.request not in results, "answered twice"
            results[result.request] = result
    statistics = client.statistics()
    assert statistics.taken == len(results)
    assert statistics.open == 0
    assert len(results) == len(wanted), "lost"
    return [results[request] for request in wanted]


def outcomes(results: list[Result]) -> Counter[str]:
    return Counter(result.outcome.value for result in results)


class TestRequests:
    async def test_every_field_becomes_its_header(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        request = Request(
            token="ab12",
            payload=b'{"a":1}',
            topic="com.example",
            push_type="alert",
            id="an-id",
            priority=5,
            expiration=0,
            collapse_id="c",
            context="mine",
        )
        (result,) = await push(host, [request], authorization=Bearer("key"))
        (arrived,) = host.pushes
        assert arrived.body == b'{"a":1}'
        assert arrived.headers == {
            ":method": "POST",
            ":scheme": "http",
            ":authority": "host",
            ":path": "/3/device/ab12",
            "content-type": "application/json",
            "apns-topic": "com.example",
            "apns-push-type": "alert",
            "apns-id": "an-id",
            "apns-priority": "5",
            "apns-expiration": "0",
            "apns-collapse-id": "c",
            "authorization": "Bearer key",
        }
        assert (result.outcome, result.status, result.id, result.attempts) == (
            Outcome.ACCEPTED,
            200,
            "id-ab12",
            1,
        )
        assert result.request.context == "mine"

    async def test_what_is_not_said_is_not_sent(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        await push(host, [Request(token="ab", payload=b"")])
        assert set(host.pushes[0].headers) == {
            ":method",
            ":scheme",
            ":authority",
            ":path",
            "content-type",
        }
        assert host.pushes[0].body == b""

    async def test_many(self, autojump_clock: MockClock, host: FakeHost) -> None:
        assert outcomes(await push(host, requests(1000))) == {"accepted": 1000}
        assert [each.token for each in host.pushes] == [f"{n:04x}" for n in range(1000)]
        assert len(host.connections) == 1

    async def test_payloads_larger_than_all_windows(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        wanted = [Request(token=f"{n:02x}", payload=bytes(16_384)) for n in range(40)]
        assert outcomes(await push(host, wanted)) == {"accepted": 40}
        assert {len(each.body) for each in host.pushes} == {16_384}

    async def test_an_url_with_a_path_names_no_host(self) -> None:
        with pytest.raises(ConfigError, match="no host to push to"):
            async with open_client("http://host/3/device"):
                pass

    async def test_nothing_to_send(self, autojump_clock: MockClock, host: FakeHost) -> None:
        assert await push(host, []) == []


class TestRefusals:
    async def test_reason_and_timestamp(self, autojump_clock: MockClock, host: FakeHost) -> None:
        host.answer = lambda each: each.refuse(410, "Unregistered")
        (result,) = await push(host, requests(1))
        assert (result.outcome, result.status) == (Outcome.REFUSED, 410)
        assert (result.reason, result.timestamp_ms) == ("Unregistered", 17)

    @pytest.mark.parametrize(
        ("status", "reason"),
        [
            (400, "BadDeviceToken"),
            (403, "InvalidProviderToken"),
            (410, "Unregistered"),
            (413, "PayloadTooLarge"),
        ],
    )
    async def test_permanent_ones_are_never_tried_again(
        self, autojump_clock: MockClock, host: FakeHost, status: int, reason: str
    ) -> None:
        host.answer = lambda each: each.refuse(status, reason)
        retries = Retries(most=9, evaluate=lambda fate: True)
        (result,) = await push(host, requests(1), retries=retries)
        assert (result.status, result.attempts) == (status, 1)

    @pytest.mark.parametrize("status", [429, 500, 503])
    async def test_transient_ones_are_tried_again(
        self, autojump_clock: MockClock, host: FakeHost, status: int
    ) -> None:
        times = []

        def answer(each: Push) -> None:
            times.append(trio.current_time())
            each.accept() if len(times) == 3 else each.refuse(status, "Later")

        host.answer = answer
        (result,) = await push(host, requests(1), retries=Retries(first_s=8))
        assert (result.outcome, result.attempts) == (Outcome.ACCEPTED, 3)
        assert 4 <= times[1] - times[0] <= 8
        assert 8 <= times[2] - times[1] <= 16

    async def test_but_not_for_ever(self, autojump_clock: MockClock, host: FakeHost) -> None:
        host.answer = lambda each: each.refuse(503, "Shutdown")
        (result,) = await push(host, requests(1), retries=Retries(most=2))
        assert (result.outcome, result.reason, result.attempts) == ("refused", "Shutdown", 3)

    async def test_retry_after_is_the_least(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        times = []

        def answer(each: Push) -> None:
            times.append(trio.current_time())
            each.accept() if len(times) > 1 else each.refuse(429, "TooMany", retry_after="60")

        host.answer = answer
        await push(host, requests(1))
        assert times[1] - times[0] >= 60

    async def test_others_go_on_while_one_waits(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        seen = set()

        def answer(each: Push) -> None:
            if each.token == "0000" and each.token not in seen:
                each.refuse(503, "Later")
            else:
                each.accept()
            seen.add(each.token)

        host.answer = answer
        async with opened(host) as client, trio.open_nursery() as nursery:
            nursery.start_soon(feed, client, requests(5))
            order = [result.request.token async for result in client.results]
        assert order == ["0001", "0002", "0003", "0004", "0000"]


class TestLimitsOfThePeer:
    @pytest.mark.parametrize("limit", [1, 2, 7])
    async def test_no_more_streams_than_allowed(
        self, autojump_clock: MockClock, host: FakeHost, limit: int
    ) -> None:
        host.max_streams = limit
        held: list[Push] = []

        def answer_in_bulk(each: Push) -> None:
            held.append(each)
            if len(held) == limit or len(host.pushes) == 50:
                while held:
                    held.pop().accept()

        host.answer = answer_in_bulk
        assert outcomes(await push(host, requests(50))) == {"accepted": 50}
        assert host.most_open == limit

    async def test_our_own_limit(
        self, autojump_clock: MockClock, host: FakeHost, nursery: trio.Nursery
    ) -> None:
        host.answer = lambda each: nursery.start_soon(later, each)
        await push(host, requests(20), max_streams=3)
        assert host.most_open == 3

    async def test_throttled_to_one_and_released(
        self, autojump_clock: MockClock, host: FakeHost, nursery: trio.Nursery
    ) -> None:
        """As Apple's hosts do: after a refusal one stream, after a success many again."""
        open_at_once = []

        def answer(each: Push) -> None:
            n = len(host.pushes)
            if n == 20:
                each.refuse(400, "BadDeviceToken")
                each.connection.set_max_streams(1)
                return
            if 20 < n <= 30:
                open_at_once.append(each.connection.h2.open_inbound_streams)
            if n == 30:
                each.connection.set_max_streams(50)
            nursery.start_soon(later, each)

        host.max_streams = 8
        host.answer = answer
        counts = outcomes(await push(host, requests(200)))
        assert counts == {"accepted": 199, "refused": 1}
        # what was in flight when the limit fell ran out, then one at a time
        assert open_at_once[-1] == 1
        assert host.most_open > 8

    async def test_throttled_with_refused_streams(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        refused: Counter[str] = Counter()

        def answer(each: Push) -> None:
            if len(host.pushes) % 3 == 0:
                refused[each.token] += 1
                each.reset(ErrorCodes.REFUSED_STREAM)
            else:
                each.accept()

        host.answer = answer
        results = await push(host, requests(100))
        assert outcomes(results) == {"accepted": 100}
        assert sum(refused.values()) > 30
        assert all(r.attempts == 1 + refused[r.request.token] for r in results)

    async def test_one_that_refuses_every_stream_is_given_up(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        host.answer = lambda each: each.reset(ErrorCodes.REFUSED_STREAM)
        (result,) = await push(host, requests(1))
        assert (result.outcome, result.reason) == (Outcome.UNSENT, "REFUSED_STREAM")
        assert result.attempts == 21

    async def test_no_push_before_settings(self, autojump_clock: MockClock, host: FakeHost) -> None:
        """A peer that never says what it allows is left after a while, and another one tried."""
        silent = True

        async def dial() -> Any:
            wire = await host.dial()
            if silent:
                host.connections[-1].h2.data_to_send()
            return wire

        async with open_client(
            "http://host", Options(scaling=ONE, answer_s=5), dial=dial
        ) as client:
            with trio.move_on_after(4) as waiting:
                await client.requests.send(requests(1)[0])
            assert waiting.cancelled_caught
            silent = False
            async with trio.open_nursery() as nursery:
                nursery.start_soon(feed, client, requests(1))
                assert outcomes([r async for r in client.results]) == {"accepted": 1}
        assert len(host.connections) == 2


def pauses(first_s: float, longest_s: float) -> Iterator[float]:
    while True:
        yield first_s
        first_s = min(2 * first_s, longest_s)


async def later(each: Push) -> None:
    await trio.sleep(0.01)
    each.accept()


class TestConnectionsThatEnd:
    async def test_reset_streams_are_unanswered(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        host.answer = lambda each: each.reset(ErrorCodes.INTERNAL_ERROR)
        (result,) = await push(host, requests(1))
        assert (result.outcome, result.reason) == ("unanswered", "stream reset: INTERNAL_ERROR")

    async def test_goaway_is_waited_out(self, autojump_clock: MockClock, host: FakeHost) -> None:
        """What the host has seen it answers; the rest goes to another connection at once."""
        first: list[Push] = []

        def answer(each: Push) -> None:
            if each.connection is not host.connections[0]:
                each.accept()
                return
            first.append(each)
            if len(first) == 10:
                each.connection.goaway(first[3].stream_id)
                for push in first[:4]:
                    push.accept()

        host.answer = answer
        results = await push(host, requests(10))
        assert outcomes(results) == {"accepted": 10}
        assert [result.attempts for result in results] == [1] * 4 + [2] * 6
        assert len(host.connections) == 2

    async def test_goaway_to_everything_is_not_a_hot_loop(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        """Go clients came back 200 times in a second."""

        def answer(each: Push) -> None:
            each.connection.goaway(0)

        host.answer = answer
        options = {"first_backoff_s": 1, "longest_backoff_s": 8, "jitter": 0}
        results = await push(host, requests(50), **options)
        assert {(r.outcome, r.reason) for r in results} == {(Outcome.UNSENT, "GOAWAY Shutdown")}
        gaps = [later - sooner for sooner, later in pairwise(host.dialed_at)]
        assert len(gaps) >= 20
        # the sum of many floats is not exact
        assert all(gap > 0.999 * least for gap, least in zip(gaps, pauses(1, 8), strict=False))

    async def test_cut(self, autojump_clock: MockClock, host: FakeHost) -> None:
        def answer(each: Push) -> None:
            if len(host.pushes) == 10:
                each.connection.cut()
            elif len(host.pushes) < 5 or len(host.pushes) > 10:
                each.accept()

        host.answer = answer
        host.max_streams = 10
        counts = outcomes(await push(host, requests(50)))
        # the first answers may not have got out before the cut
        assert 6 <= counts["unanswered"] <= 10
        assert counts.total() == counts["accepted"] + counts["unanswered"]
        assert len(host.connections) == 2

    async def test_unanswered_is_tried_again_if_asked_for(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        def answer(each: Push) -> None:
            each.connection.cut() if len(host.pushes) == 1 else each.accept()

        host.answer = answer
        retries = Retries(evaluate=lambda fate: True)
        (result,) = await push(host, requests(1), retries=retries)
        assert (result.outcome, result.attempts) == (Outcome.ACCEPTED, 2)

    async def test_hung_peer(self, autojump_clock: MockClock, host: FakeHost) -> None:
        host.answer = lambda each: None
        began = trio.current_time()
        results = await push(host, requests(3), answer_s=30)
        assert outcomes(results) == {"unanswered": 3}
        assert {result.reason for result in results} == {"no answer within 30 s"}
        assert 30 <= trio.current_time() - began < 33

    async def test_one_answer_that_never_comes(
        self, autojump_clock: MockClock, host: FakeHost, nursery: trio.Nursery
    ) -> None:
        """Its stream is given up; the connection, which answers others, is not."""
        host.answer = lambda each: each.token == "0000" or nursery.start_soon(slowly, each)  # type: ignore[assignment]

        async def slowly(each: Push) -> None:
            await trio.sleep(1)
            each.accept()

        results = await push(host, requests(80), max_streams=2, answer_s=30)
        assert outcomes(results) == {"accepted": 79, "unanswered": 1}
        (connection,) = host.connections
        assert any(isinstance(event, h2.events.StreamReset) for event in connection.events)

    async def test_garbage(self, autojump_clock: MockClock, host: FakeHost) -> None:
        def answer(each: Push) -> None:
            if len(host.pushes) > 1:
                each.accept()
                return
            each.connection.h2._data_to_send += b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9
            each.connection.flush()

        host.answer = answer
        results = await push(host, requests(2), max_streams=1)
        assert [result.outcome for result in results] == ["unanswered", "accepted"]

    async def test_a_ping_is_answered_and_one_is_sent_after_an_hour(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        async with opened(host) as client:
            await wait_all_tasks_blocked()
            host.connections[0].ping()
            await trio.sleep(3601)
            kinds = [type(event) for event in host.connections[0].events]
            assert kinds.count(h2.events.PingAckReceived) == 1
            assert kinds.count(h2.events.PingReceived) == 1
            assert client.statistics().connections == 1

    async def test_graceful_end(
        self, autojump_clock: MockClock, host: FakeHost, nursery: trio.Nursery
    ) -> None:
        host.answer = lambda each: nursery.start_soon(later, each)
        assert outcomes(await push(host, requests(9))) == {"accepted": 9}
        await wait_all_tasks_blocked()
        (connection,) = host.connections
        (goodbye,) = [e for e in connection.events if isinstance(e, h2.events.ConnectionTerminated)]
        assert goodbye.error_code == ErrorCodes.NO_ERROR


class TestDialing:
    async def test_back_off_doubles_to_its_limit_and_starts_over(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        host.is_down = True
        async with (
            opened(host, first_backoff_s=1, longest_backoff_s=8, jitter=0.5) as client,
            trio.open_nursery() as nursery,
        ):
            await trio.sleep(60)
            gaps = [later - sooner for sooner, later in pairwise(host.dialed_at)]
            for gap, least in zip(gaps, [1, 2, 4, 8, 8], strict=False):
                assert least <= gap <= 1.5 * least + 0.5
            host.is_down = False
            nursery.start_soon(feed, client, requests(1))
            assert outcomes([r async for r in client.results]) == {"accepted": 1}
        assert client.statistics().dial_failures == len(gaps) + 1

    async def test_patience(self, autojump_clock: MockClock, host: FakeHost) -> None:
        host.is_down = True
        async with opened(host, patience_s=5) as client:
            with pytest.raises(trio.BrokenResourceError):
                await client.requests.send(requests(1)[0])
            assert [result async for result in client.results] == []
        assert str(client.failure) == "the host is down"

    async def test_patience_when_the_host_goes_away(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        def answer(each: Push) -> None:
            host.is_down = True
            if len(host.pushes) == 3:
                each.connection.cut()
            else:
                each.accept()

        host.answer = answer
        async with (
            opened(host, patience_s=5, max_streams=1) as client,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(feed_until_broken, client, requests(9))
            results = [result async for result in client.results]
        assert outcomes(results) == {"accepted": 2, "unanswered": 1}
        assert client.failure is not None

    @pytest.mark.parametrize("speaks", [False, True])
    async def test_a_host_that_takes_connections_and_answers_nothing(
        self, autojump_clock: MockClock, host: FakeHost, speaks: bool
    ) -> None:
        """Given up as one that is out of reach is: not asked again and again, for ever."""
        host.answer = lambda each: None
        host.max_streams = 3 if speaks else 0
        began = trio.current_time()
        async with (
            opened(host, answer_s=30, patience_s=2) as client,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(feed_until_broken, client, requests(9))
            results = [result async for result in client.results]
        assert str(client.failure) == "http://host takes no pushes: no answer within 30 s"
        assert outcomes(results) == ({"unanswered": 6} if speaks else {})
        # one that has said something may be coming up: it is asked once more
        assert len(host.dialed_at) == 2
        assert 60 <= trio.current_time() - began < 65

    async def test_a_host_that_says_nothing_was_out_of_reach_all_the_time(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        host.is_mute = True
        began = trio.current_time()
        async with opened(host, answer_s=30, patience_s=2) as client:
            assert [result async for result in client.results] == []
        assert client.failure is not None
        assert len(host.dialed_at) == 1
        assert 30 <= trio.current_time() - began < 31

    async def test_closed_before_anything_was_sent(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        """Nothing is to be done, so the host need not be there for it."""
        host.is_down = True
        async with opened(host) as client:
            await trio.sleep(100)
            client.requests.close()
            began = trio.current_time()
            assert [result async for result in client.results] == []
            assert trio.current_time() - began < 1

    async def test_a_lost_connection_is_replaced_at_once(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        async with opened(host) as client:
            await client.requests.send(requests(1)[0])
            await client.results.receive()
            now = trio.current_time()
            host.connections[0].cut()
            await wait_all_tasks_blocked()
            assert len(host.connections) == 2
            assert trio.current_time() == now


async def feed_until_broken(client: Client, wanted: list[Request]) -> None:
    try:
        await feed(client, wanted)
    except trio.BrokenResourceError:
        return


class TestPressure:
    async def test_who_takes_no_results_is_sent_for_no_more(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        host.max_streams = 5
        async with opened(host) as client:
            sent = 0
            with trio.move_on_after(100):
                for request in requests(100):
                    await client.requests.send(request)
                    sent += 1
            # one that the dispatcher may have in hand
            assert sent <= 5 + 1
            assert len(host.pushes) == 5
            statistics = client.statistics()
            assert (statistics.undelivered, statistics.accepted) == (5, 5)
            assert statistics.output_waited_s > 90
            await client.results.receive()
            await wait_all_tasks_blocked()
            assert client.statistics().undelivered <= 5

    async def test_a_slow_consumer_loses_nothing(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        host.max_streams = 3
        results = []
        async with opened(host) as client, trio.open_nursery() as nursery:
            nursery.start_soon(feed, client, requests(20))
            async for result in client.results:
                await trio.sleep(1)
                results.append(result)
                assert client.statistics().taken - len(results) <= 5
        assert outcomes(results) == {"accepted": 20}

    async def test_results_that_nobody_wants(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        async with opened(host) as client:
            client.results.close()
            await feed(client, requests(300))
            await trio.sleep(1)
            assert client.statistics().accepted == 300

    async def test_a_consumer_that_hangs_keeps_no_ping_waiting(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        async with opened(host) as client:
            await client.requests.send(requests(1)[0])
            await wait_all_tasks_blocked()
            host.connections[0].ping()
            await wait_all_tasks_blocked()
            assert isinstance(host.connections[0].events[-1], h2.events.PingAckReceived)


class TestScaling:
    async def test_grows_when_the_input_waits_and_shrinks_when_idle(
        self, autojump_clock: MockClock, host: FakeHost, nursery: trio.Nursery
    ) -> None:
        host.max_streams = 2
        host.answer = lambda each: nursery.start_soon(after_a_second, each)
        scaling = Scaling(
            law=Exponential(2), least=1, most=8, sustain_s=2, settle_s=2, idle_s=20, poll_s=0.5
        )
        async with opened(host, scaling=scaling) as client, trio.open_nursery() as feeders:
            seen = []
            feeders.start_soon(drain, client)
            feeders.start_soon(feed, client, requests(300))
            while client.statistics().accepted < 250:
                await trio.sleep(1)
                seen.append(client.statistics().connections)
            assert sorted(set(seen)) == [1, 2, 4, 8]
            assert seen == sorted(seen)
            assert seen[1] == 1, "it takes its time"
        assert client.statistics().accepted == 300

    async def test_does_not_grow_before_the_host_has_said_what_it_takes(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        """Else one that hangs, or only is slow, would be overrun by connections."""
        host.is_mute = True
        scaling = Scaling(law=Exponential(2), most=8, sustain_s=1, settle_s=1)
        async with opened(host, scaling=scaling) as client, trio.open_nursery() as nursery:
            nursery.start_soon(feed, client, requests(9))
            await trio.sleep(25)
            statistics = client.statistics()
            assert (statistics.connections, statistics.taken) == (1, 0)
            assert statistics.input_waited_s == pytest.approx(25, abs=0.5)
            nursery.cancel_scope.cancel()

    async def test_is_idle(
        self, autojump_clock: MockClock, host: FakeHost, nursery: trio.Nursery
    ) -> None:
        host.max_streams = 1
        host.answer = lambda each: nursery.start_soon(after_a_second, each)
        scaling = Scaling(law=Exponential(2), most=4, sustain_s=1, settle_s=1, idle_s=10)
        async with opened(host, scaling=scaling) as client:
            async with trio.open_nursery() as feeders:
                for request in requests(50):
                    await client.requests.send(request)
                    feeders.start_soon(client.results.receive)
            assert client.statistics().connections == 4
            await trio.sleep(60)
            assert client.statistics().connections == 1
            assert len(host.open) == 1

    async def test_does_not_grow_when_it_is_the_output_that_waits(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        host.max_streams = 2
        scaling = Scaling(law=Exponential(2), most=8, sustain_s=1, settle_s=1)
        results = []
        async with opened(host, scaling=scaling) as client, trio.open_nursery() as nursery:
            nursery.start_soon(feed, client, requests(40))
            async for result in client.results:
                await trio.sleep(1)
                results.append(result)
            assert client.statistics().dialed == 1
        assert len(results) == 40


async def after_a_second(each: Push) -> None:
    await trio.sleep(1)
    each.accept()


async def drain(client: Client) -> None:
    async for _ in client.results:
        pass


class TestLimits:
    async def test_rate(self, autojump_clock: MockClock, host: FakeHost) -> None:
        times = []

        def answer(each: Push) -> None:
            times.append(trio.current_time())
            each.accept()

        host.answer = answer
        await push(host, requests(201), rate_per_s=20)
        assert times[-1] - times[0] == pytest.approx(10, abs=0.1)
        for n in range(180):
            assert times[n + 20] - times[n] >= 0.94

    async def test_bandwidth(self, autojump_clock: MockClock, host: FakeHost) -> None:
        began = trio.current_time()
        async with opened(host, bandwidth_bytes_per_s=10_000) as client:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(drain, client)
                nursery.start_soon(
                    feed, client, [Request(token="ab", payload=bytes(950)) for _ in range(100)]
                )
            assert 95_000 < client.statistics().sent_bytes < 105_000
        assert 9 < trio.current_time() - began < 11

    async def test_a_limit_is_no_reason_to_grow(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        scaling = Scaling(law=Exponential(2), most=8, sustain_s=1, settle_s=1)
        await push(host, requests(100), rate_per_s=10, scaling=scaling)
        assert len(host.connections) == 1


class TestCancel:
    async def test_in_flight(self, autojump_clock: MockClock, host: FakeHost) -> None:
        host.answer = lambda each: None if each.token == "0000" else each.accept()
        first, second = requests(2)
        async with opened(host) as client:
            await client.requests.send(first)
            await wait_all_tasks_blocked()
            assert client.cancel(first)
            assert not client.cancel(first)
            result = await client.results.receive()
            assert (result.outcome, result.reason) == (Outcome.UNANSWERED, "cancelled")
            await wait_all_tasks_blocked()
            (reset,) = [
                event
                for event in host.connections[0].events
                if isinstance(event, h2.events.StreamReset)
            ]
            assert reset.error_code == ErrorCodes.CANCEL
            await client.requests.send(second)
            assert (await client.results.receive()).is_accepted

    async def test_every_other_of_hundreds(self, autojump_clock: MockClock, host: FakeHost) -> None:
        """Each has its result and leaves its stream to another; the rest is not disturbed."""
        host.max_streams = 400
        held: list[Push] = []
        host.answer = held.append
        wanted = requests(400)
        async with opened(host) as client, trio.open_nursery() as nursery:
            nursery.start_soon(feed, client, wanted)
            await wait_all_tasks_blocked()
            assert all(client.cancel(request) for request in wanted[::2])
            assert client.statistics().in_flight == 200
            await wait_all_tasks_blocked()
            for each in held[1::2]:
                each.accept()
            results = {result.request: result async for result in client.results}
        assert {results[each].reason for each in wanted[::2]} == {"cancelled"}
        assert all(results[each].is_accepted for each in wanted[1::2])
        kinds = Counter(type(event) for event in host.connections[0].events)
        assert kinds[h2.events.StreamReset] == 200

    async def test_an_answer_that_crosses(self, autojump_clock: MockClock, host: FakeHost) -> None:
        held: list[Push] = []
        host.answer = held.append
        (request,) = requests(1)
        async with opened(host) as client:
            await client.requests.send(request)
            await wait_all_tasks_blocked()
            client.cancel(request)
            held[0].accept()
            client.requests.close()
            assert outcomes([r async for r in client.results]) == {"unanswered": 1}

    async def test_between_attempts(self, autojump_clock: MockClock, host: FakeHost) -> None:
        host.answer = lambda each: each.refuse(503, "Later")
        (request,) = requests(1)
        async with opened(host, retries=Retries(first_s=3600)) as client:
            await client.requests.send(request)
            await wait_all_tasks_blocked()
            assert client.statistics().waiting == 1
            assert client.cancel(request)
            client.requests.close()
            (result,) = [result async for result in client.results]
        assert (result.outcome, result.reason, result.attempts) == ("refused", "Later", 1)
        assert trio.current_time() < 10

    async def test_before_it_is_sent(self, autojump_clock: MockClock, host: FakeHost) -> None:
        first, second = requests(2)
        async with opened(host, rate_per_s=0.1) as client:
            await client.requests.send(first)
            await client.results.receive()
            await client.requests.send(second)
            await wait_all_tasks_blocked()
            assert client.cancel(second)
            result = await client.results.receive()
            assert (result.outcome, result.reason, result.attempts) == ("unsent", "cancelled", 0)
            client.requests.close()
            assert [r async for r in client.results] == []
        assert len(host.pushes) == 1

    async def test_one_of_two_that_are_the_same(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        """Both are given up, and each has its result."""
        host.answer = lambda each: None
        (request,) = requests(1)
        async with opened(host) as client:
            for _ in range(2):
                await client.requests.send(request)
            await wait_all_tasks_blocked()
            assert client.cancel(request)
            for _ in range(2):
                result = await client.results.receive()
                assert (result.request, result.reason) == (request, "cancelled")
            await wait_all_tasks_blocked()
            assert client.statistics().open == 0

    async def test_the_last_one_while_it_waits_for_room(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        host.answer = lambda each: each.refuse(429, "TooManyRequests")
        (request,) = requests(1)
        async with opened(host, retries=Retries(first_s=8)) as client:
            await client.requests.send(request)
            await wait_all_tasks_blocked()
            host.is_down = True
            host.connections[0].cut()
            await trio.sleep(60)
            client.requests.close()
            await trio.sleep(1)
            assert client.cancel(request)
            assert [r.reason async for r in client.results] == ["TooManyRequests"]

    async def test_what_was_never_taken(self, autojump_clock: MockClock, host: FakeHost) -> None:
        async with opened(host) as client:
            assert not client.cancel(requests(1)[0])


class TestGiveUp:
    async def test_everything_taken_has_a_result(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        def answer(each: Push) -> None:
            if each.token == "0000":
                each.accept()
            elif each.token == "0001":
                each.refuse(503, "Later")

        host.answer = answer
        results = {}
        async with opened(host) as client, trio.open_nursery() as nursery:
            nursery.start_soon(feed, client, requests(4))
            async for result in client.results:
                results[result.request.token] = (result.outcome.value, result.reason)
                await wait_all_tasks_blocked()
                client.give_up("enough")
        assert results == {
            "0000": ("accepted", ""),
            "0001": ("refused", "Later"),
            "0002": ("unanswered", "enough"),
            "0003": ("unanswered", "enough"),
        }
        assert trio.current_time() < 10

    async def test_leaving_the_block_cuts_and_leaves_no_task(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        host.answer = lambda each: None
        before = trio.lowlevel.current_statistics().tasks_living
        async with opened(host) as client:
            await client.requests.send(requests(1)[0])
            await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before
        assert client.statistics().unanswered == 1
        with pytest.raises(trio.BrokenResourceError):
            await client.requests.send(requests(1)[0])


async def test_what_the_block_raises_comes_out_as_it_is(
    autojump_clock: MockClock, host: FakeHost
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with opened(host):
            raise ZeroDivisionError


class TestAuthorization:
    async def test_an_expired_token_is_replaced_and_its_connection_left(
        self, autojump_clock: MockClock, host: FakeHost
    ) -> None:
        class Token:
            made = 1

            def header(self, now: float) -> bytes:
                return b"bearer %d" % self.made

            def expired(self, now: float) -> bool:
                self.made += 1
                return True

        def answer(each: Push) -> None:
            if each.headers["authorization"] == "bearer 1":
                each.refuse(403, "ExpiredProviderToken")
            else:
                each.accept()

        host.answer = answer
        (result,) = await push(host, requests(1), authorization=Token())
        assert (result.outcome, result.attempts) == (Outcome.ACCEPTED, 2)
        assert [each.connection for each in host.pushes] == host.connections
        assert len(host.connections) == 2

    async def test_the_wall_clock_is_asked(self, autojump_clock: MockClock, host: FakeHost) -> None:
        class Token:
            def header(self, now: float) -> bytes:
                return b"%d" % now

            def expired(self, now: float) -> bool:
                return False

        options = Options(scaling=ONE, authorization=Token())
        clock = Clock(lambda: 1_700_000_000)
        async with open_client("http://host", options, dial=host.dial, clock=clock) as client:
            await client.requests.send(requests(1)[0])
            await client.results.receive()
        assert host.pushes[0].headers["authorization"] == "1700000000"


async def test_what_was_not_written_yet_is_sent_elsewhere(
    autojump_clock: MockClock, host: FakeHost
) -> None:
    """A host that reads nothing more, and then breaks: what it cannot have seen is no loss."""
    first, *others = requests(5)
    async with opened(host) as client:
        await wait_all_tasks_blocked()
        stream = client._pool.connections[0]._stream
        assert isinstance(stream, trio.StapledStream)
        stream.send_stream.send_all_hook = trio.Event().wait  # type: ignore[attr-defined]
        await client.requests.send(first)
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed, client, others)
            await wait_all_tasks_blocked()
            host.connections[0].cut()
            results = {result.request: result async for result in client.results}
    assert results[first].outcome is Outcome.UNANSWERED, "it was being written"
    assert {results[each].outcome for each in others} == {Outcome.ACCEPTED}
    assert len(host.connections) == 2
