"""Whatever the host does, each request has exactly one result, and it is true.

Hypothesis draws what happens to each push and to the connections, how slow the results are taken,
what is cancelled and whether the client gives up; then the host's books and ours are compared.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import trio
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError as H2ProtocolError
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.apns.fake_host import FakeHost, Push
from trio_push.apns import (
    Exponential,
    Options,
    Outcome,
    Request,
    Result,
    Retries,
    Scaling,
    open_client,
)

#: what the host may do with a push; most of them go well
ACTIONS = (
    *("accept",) * 8,
    *("slow", "slow", "hold", "refuse", "busy", "refused_stream", "reset", "cut"),
    *("goaway_before", "goaway_at", "goaway_all", "throttle", "open_up", "garbage", "down"),
)


class Chaos:
    """Does to each push what comes next in the list, and remembers what it took."""

    def __init__(self, host: FakeHost, nursery: trio.Nursery, actions: list[str]) -> None:
        self.host = host
        self.nursery = nursery
        self.actions = iter(actions)
        #: token → how often it was accepted, how often another attempt was allowed
        self.accepted: Counter[str] = Counter()

    def answer(self, push: Push) -> None:
        connection, stream_id = push.connection, push.stream_id
        match next(self.actions, "accept"):
            case "accept":
                self._accept(push)
            case "slow":
                self.nursery.start_soon(self._accept_later, push)
            case "hold":
                pass
            case "refuse":
                push.refuse(410, "Unregistered")
            case "busy":
                push.refuse(429, "TooManyRequests")
            case "refused_stream":
                push.reset(ErrorCodes.REFUSED_STREAM)
            case "reset":
                push.reset(ErrorCodes.INTERNAL_ERROR)
            case "cut":
                self._accept(push)
                connection.cut()
            case "goaway_before":
                connection.goaway(max(0, stream_id - 2))
            case "goaway_at":
                connection.goaway(stream_id)
                self._accept(push)
            case "goaway_all":
                connection.goaway(0)
                connection.flush()
            case "throttle":
                connection.set_max_streams(1)
                self._accept(push)
            case "open_up":
                connection.set_max_streams(20)
                self._accept(push)
            case "garbage":
                connection.h2._data_to_send += b"\0" * 40
                connection.flush()
            case "down":
                self.nursery.start_soon(self._be_down)
                connection.cut()

    def _accept(self, push: Push) -> None:
        with suppress(H2ProtocolError):  # we have given it up meanwhile
            push.accept()
            self.accepted[push.token] += 1

    async def _accept_later(self, push: Push) -> None:
        await trio.sleep(0.5)
        if not push.connection.closed and push.stream_id <= push.connection.last:
            self._accept(push)

    async def _be_down(self) -> None:
        self.host.is_down = True
        await trio.sleep(3)
        self.host.is_down = False


async def run(
    actions: list[str], count: int, cancelled: set[int], pace_s: float, give_up_after: int | None
) -> tuple[list[Request], list[Result], Chaos, Any]:
    wanted = [Request(token=f"{n:04x}", payload=b"{}") for n in range(count)]
    results: list[Result] = []
    sent: list[Request] = []
    async with trio.open_nursery() as nursery:
        host = FakeHost(nursery, max_streams=4)
        chaos = Chaos(host, nursery, actions)
        host.answer = chaos.answer
        options = Options(
            scaling=Scaling(law=Exponential(2), most=4, sustain_s=0.5, settle_s=0.5),
            retries=Retries(first_s=0.5),
            answer_s=5,
        )
        with trio.fail_after(100_000):
            async with open_client("http://host", options, dial=host.dial) as client:

                async def feed() -> None:
                    try:
                        async with client.requests:
                            for n, request in enumerate(wanted):
                                await client.requests.send(request)
                                sent.append(request)
                                if n in cancelled:
                                    await trio.sleep(0.1)
                                    client.cancel(request)
                    except trio.BrokenResourceError:
                        assert give_up_after is not None

                nursery.start_soon(feed)
                async for result in client.results:
                    results.append(result)
                    await trio.sleep(pace_s)
                    if len(results) == give_up_after:
                        client.give_up()
        nursery.cancel_scope.cancel()
    return sent, results, chaos, client.statistics()


@settings(max_examples=60)
@given(
    actions=st.lists(st.sampled_from(ACTIONS), max_size=120),
    count=st.integers(1, 60),
    cancelled=st.sets(st.integers(0, 59), max_size=5),
    pace_s=st.sampled_from([0.0, 0.0, 0.2]),
    give_up_after=st.none() | st.integers(1, 30),
)
def test_one_true_result_each(
    actions: list[str],
    count: int,
    cancelled: set[int],
    pace_s: float,
    give_up_after: int | None,
) -> None:
    sent, results, chaos, statistics = trio.run(
        run, actions, count, cancelled, pace_s, give_up_after, clock=MockClock(autojump_threshold=0)
    )
    told = Counter(result.request for result in results)
    assert set(told.values()) <= {1}, "answered twice"
    assert set(sent) <= set(told), "lost"
    if give_up_after is None:
        assert len(results) == count
    counts = Counter(result.outcome for result in results)
    figures = (statistics.accepted, statistics.refused, statistics.unanswered, statistics.unsent)
    assert figures == tuple(counts[outcome] for outcome in Outcome)
    assert (statistics.taken, statistics.open) == (len(results), 0)
    for result in results:
        times = chaos.accepted[result.request.token]
        match result.outcome:
            case Outcome.ACCEPTED:
                assert times == 1, "pushed twice"
            case Outcome.REFUSED | Outcome.UNSENT:
                assert times == 0
            case Outcome.UNANSWERED:
                assert times <= 1
