"""The figures of a node for Prometheus, read from where they are counted when they are asked for.

Nothing is counted for Prometheus alone but how long the loop's turns take. METRICS is the one
list of names; the API serves them at `/metrics`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import trio
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from trio_push.push import State

if TYPE_CHECKING:
    from trio_push.node import Node


class MetricInfo(NamedTuple):
    """One metric, as it is documented."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str


WORKER_DEATHS: Final = MetricInfo(
    "trio_push_worker_deaths_total", "counter", (), "Workers that ended without being told to."
)
METRICS: Final = (
    MetricInfo("trio_push_accepted_total", "counter", (), "Pushes accepted."),
    MetricInfo(
        "trio_push_restored_total", "counter", (), "Pushes taken over from a durable store."
    ),
    MetricInfo("trio_push_taken_over_total", "counter", (), "Pushes handed over by other nodes."),
    MetricInfo("trio_push_repeated_total", "counter", (), "Pushes that another node ended, too."),
    MetricInfo("trio_push_open", "gauge", ("state",), "Accepted pushes that have not ended."),
    MetricInfo(
        "trio_push_ended_total",
        "counter",
        ("outcome", "reason"),
        "Accepted pushes that have ended; the reason says why one was dropped.",
    ),
    MetricInfo(
        "trio_push_refused_total", "counter", ("reason",), "Requests refused, never accepted."
    ),
    MetricInfo("trio_push_devices", "gauge", ("transport",), "Devices connected."),
    MetricInfo(
        "trio_push_dismissed_total",
        "counter",
        ("reason",),
        "Devices disconnected by the server, by the name of the close code.",
    ),
    MetricInfo(
        "trio_push_replayed_total",
        "counter",
        (),
        "Pushes sent again to devices that came back and said what they have.",
    ),
    MetricInfo(
        "trio_push_faults_total",
        "counter",
        ("listener",),
        "Connections ended by a fault of ours, each with a line in the log.",
    ),
    MetricInfo("trio_push_nodes", "gauge", (), "Nodes that these figures are the sum of."),
    WORKER_DEATHS,
    MetricInfo(
        "trio_push_injected_faults_total",
        "counter",
        ("rule", "action"),
        "Faults on demand, each time that a rule was applied.",
    ),
    MetricInfo(
        "trio_push_loop_turn_seconds",
        "histogram",
        (),
        "Time that a turn of the event loop took: how late everything else was at worst.",
    ),
    # by prometheus-client, under the names that its dashboards know
    MetricInfo("process_virtual_memory_bytes", "gauge", (), "Virtual memory size in bytes."),
    MetricInfo("process_resident_memory_bytes", "gauge", (), "Resident memory size in bytes."),
    MetricInfo(
        "process_start_time_seconds",
        "gauge",
        (),
        "Start time of the process since unix epoch in seconds.",
    ),
    MetricInfo(
        "process_cpu_seconds_total",
        "counter",
        (),
        "Total user and system CPU time spent in seconds.",
    ),
    MetricInfo("process_open_fds", "gauge", (), "Number of open file descriptors."),
    MetricInfo("process_max_fds", "gauge", (), "Maximum number of open file descriptors."),
)
_BY_NAME: Final = {info.name: info for info in METRICS}

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

#: seconds; a turn of a loop that keeps up takes a few milliseconds
TURN_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class LoopTurns(trio.abc.Instrument):
    """How long the loop's turns take: from one wait for the kernel to the next.

    Two calls of half a microsecond in each turn.
    """

    def __init__(self) -> None:
        #: turns up to each bound, and beyond the last
        self.counts = [0] * (len(TURN_BOUNDS) + 1)
        self.total_s = 0.0
        self._woke_at = perf_counter()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count the turns of the running loop inside."""
        self._woke_at = perf_counter()
        trio.lowlevel.add_instrument(self)
        try:
            yield
        finally:
            trio.lowlevel.remove_instrument(self)

    def after_io_wait(self, timeout: float) -> None:
        self._woke_at = perf_counter()

    def before_io_wait(self, timeout: float) -> None:
        turn_s = perf_counter() - self._woke_at
        self.counts[bisect_left(TURN_BOUNDS, turn_s)] += 1
        self.total_s += turn_s


class Metrics(Collector):
    """The figures of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.loop = LoopTurns()
        #: connections that a fault of ours ended, by listener
        self.faults: Counter[str] = Counter()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def expose(self) -> bytes:
        """The text for Prometheus, of CONTENT_TYPE."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing is collected on registering: the node may not be complete yet."""
        return ()

    def collect(self) -> Iterator[Metric]:
        ledger = self._node.ledger
        ended: Counter[tuple[str, str]] = Counter()
        for state in State:
            if not state.is_open:
                ended[state.outcome, state.reason or ""] += ledger.counts[state]
        open_ = {(s.name.lower(),): ledger.counts[s] for s in State if s.is_open}
        yield _family("trio_push_accepted_total", {(): ledger.accepted})
        yield _family("trio_push_restored_total", {(): ledger.restored})
        yield _family("trio_push_taken_over_total", {(): ledger.taken_over})
        yield _family("trio_push_repeated_total", {(): ledger.repeated})
        yield _family("trio_push_open", open_)
        yield _family("trio_push_ended_total", ended)
        yield _family("trio_push_refused_total", _labelled(ledger.refused))
        devices = Counter(each.transport.name for each in self._node.directory.connections())
        yield _family("trio_push_devices", {(name,): devices[name] for name in ("sse", "ws")})
        delivery = self._node.router.delivery
        yield _family("trio_push_dismissed_total", _labelled(delivery.dismissed))
        yield _family("trio_push_replayed_total", {(): delivery.replayed})
        yield _family("trio_push_faults_total", _labelled(self.faults))
        yield _family("trio_push_injected_faults_total", ledger.faults)
        yield _family("trio_push_nodes", {(): 1})
        # counted by the parent of the workers, which adds its own to the sum
        yield _family(WORKER_DEATHS.name, {(): 0})
        yield self._turns()

    def _turns(self) -> Metric:
        info = _BY_NAME["trio_push_loop_turn_seconds"]
        bounds = [*map(str, TURN_BOUNDS), "+Inf"]
        family = HistogramMetricFamily(info.name, info.help)
        family.add_metric(
            [],
            buckets=list(zip(bounds, accumulate(self.loop.counts), strict=True)),
            sum_value=self.loop.total_s,
        )
        return family


def _labelled(counts: Mapping[str, int]) -> dict[tuple[str, ...], int]:
    return {(label,): count for label, count in counts.items()}


def _family(name: str, values: Mapping[Any, int]) -> Metric:
    """A family with its values, each by the tuple of its labels."""
    info = _BY_NAME[name]
    kind = CounterMetricFamily if info.type == "counter" else GaugeMetricFamily
    family = kind(info.name, info.help, labels=info.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
