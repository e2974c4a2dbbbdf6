from __future__ import annotations

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes import FakeDevice
from trio_push.clock import Clock
from trio_push.config import ServeSettings
from trio_push.node import Node
from trio_push.push import State
from trio_push.watch.metrics import METRICS, TURN_BOUNDS, LoopTurns, Metrics
from trio_push.wire.close_codes import TOO_SLOW


def make_node() -> Node:
    return Node.make(ServeSettings(), Clock())


def scrape(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels."""
    text = metrics.expose()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_what_is_shown_is_what_is_listed() -> None:
    node = make_node()
    node.ledger.refuse("Shutdown")
    node.router.delivery.disconnect(FakeDevice("aa"), TOO_SLOW)
    node.ledger.befall("apple-shutdown-503", "status")
    metrics = Metrics(node)
    metrics.faults["api"] += 1
    text = metrics.expose()
    shown = {}
    for family in text_string_to_metric_families(text.decode()):
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = {label for s in family.samples for label in s.labels if label != "le"}
        shown[name] = (family.type, labels, family.documentation)
    assert shown == {info.name: (info.type, set(info.labels), info.help) for info in METRICS}


def test_the_ledger_is_shown() -> None:
    node = make_node()
    for token in ("aa", "bb"):
        node.directory.attach(FakeDevice(token))
    for n, state in enumerate(State, 1):
        node.ledger.enter(state, n)
    samples = scrape(Metrics(node))
    assert samples["trio_push_accepted_total",] == sum(range(1, len(State) + 1))
    assert samples["trio_push_open", "in_flight"] == State.IN_FLIGHT + 1
    both = State.DELIVERED_LIVE + State.DELIVERED_ON_CONNECT + 2
    assert samples["trio_push_ended_total", "delivered", ""] == both
    dropped = samples["trio_push_ended_total", "dropped", "mailbox_full"]
    assert dropped == State.DROPPED_MAILBOX_FULL + 1
    assert (samples["trio_push_devices", "sse"], samples["trio_push_devices", "ws"]) == (2, 0)
    open_ = sum(value for name, value in samples.items() if name[0] == "trio_push_open")
    ended = sum(value for name, value in samples.items() if name[0] == "trio_push_ended_total")
    assert open_ + ended == samples["trio_push_accepted_total",]


def test_two_nodes_know_nothing_of_each_other() -> None:
    one, other = Metrics(make_node()), Metrics(make_node())
    one.faults["api"] += 1
    assert ("trio_push_faults_total", "api") not in scrape(other)


async def test_long_turns_of_the_loop_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("trio_push.watch.metrics.perf_counter", lambda: now)
    metrics = Metrics(make_node())
    with metrics.loop.watching():
        await trio.sleep(0.01)
        now += 0.03
        await trio.sleep(0.01)
    samples = scrape(metrics)
    name = "trio_push_loop_turn_seconds_bucket"
    assert samples[name, "+Inf"] - samples[name, "0.025"] == 1
    assert samples["trio_push_loop_turn_seconds_sum",] == 0.03
    before = sum(metrics.loop.counts)
    await trio.lowlevel.checkpoint()
    assert sum(metrics.loop.counts) == before


def test_turns_are_counted_up_to_their_bound() -> None:
    turns = LoopTurns()
    assert len(turns.counts) == len(TURN_BOUNDS) + 1
