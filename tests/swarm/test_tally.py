from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trio_push.swarm.histogram import Histogram
from trio_push.swarm.tally import Tally


def count(tally: Tally, *, connected: int = 0, latency_ms: int = 0, failure: str = "") -> None:
    tally.connections.now += connected
    tally.connections.peak = max(tally.connections.peak, tally.connections.now)
    tally.deliveries.distinct += 1
    tally.latency.record(latency_ms / 1e3)
    tally.calls.succeeded += 2
    if failure:
        tally.connections.failures[failure] += 1


def test_since() -> None:
    tally = Tally()
    count(tally, connected=5, latency_ms=9, failure="refused")
    before = tally.since(Tally())
    count(tally, connected=-2, latency_ms=4, failure="reset")
    news = tally.since(before)
    assert news.connections.now == -2
    assert news.connections.failures == {"reset": 1}
    assert news.deliveries.distinct == 1
    assert news.calls.succeeded == 2
    assert news.latency.count == sum(news.latency.counts.values()) == 1
    assert before.connections.now == 5, "what was counted before does not change"


def test_nothing_new_is_nothing() -> None:
    tally = Tally()
    count(tally, latency_ms=3, failure="refused")
    news = tally.since(tally.since(Tally()))
    assert news == Tally(latency=Histogram(max_us=3000))


def test_the_peak_is_of_all_at_once() -> None:
    one, two, total = Tally(), Tally(), Tally()
    count(one, connected=10)
    total.add(one)
    before = one.since(Tally())
    count(one, connected=-10)
    total.add(one.since(before))
    count(two, connected=8)
    total.add(two)
    assert (total.connections.now, total.connections.peak) == (8, 10)


events = st.tuples(
    st.integers(0, 2),
    st.integers(0, 5000),
    st.sampled_from(["", "refused", "reset"]),
    st.booleans(),
)


@given(st.lists(events, max_size=40))
def test_what_workers_say_adds_up_to_what_one_would_have_counted(
    events: list[tuple[int, int, str, bool]],
) -> None:
    whole, total = Tally(), Tally()
    workers = [Tally() for _ in range(3)]
    told = [Tally() for _ in range(3)]

    def tell(number: int) -> None:
        news = workers[number].since(told[number])
        total.add(news)
        told[number].add(news)

    for number, latency_ms, failure, says in events:
        for tally in (workers[number], whole):
            count(tally, connected=1, latency_ms=latency_ms, failure=failure)
        if says:
            tell(number)
    for number in range(3):
        tell(number)
    assert total == whole
