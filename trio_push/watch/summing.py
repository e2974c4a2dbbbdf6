"""The figures of several nodes as those of one: what `/metrics` and `/v1/ledger` show of them.

Pure: texts and books in, text and books out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

#: what grows as long as its process lives
_COUNTING: Final = ("counter", "histogram")
#: of several nodes, the oldest counts
_OLDEST: Final = "process_start_time_seconds"

#: how often a rule was applied, as `Ledger.snapshot` shows it
Fault: TypeAlias = dict[str, Any]


def sum_metrics(texts: Iterable[bytes]) -> bytes:
    """Metrics in the text format of Prometheus, summed by name and labels."""
    registry = CollectorRegistry()
    registry.register(_Sum(texts))
    return generate_latest(registry)


def counters_of(text: bytes) -> bytes:
    """Of such metrics only those that count, not those that stand for a moment."""
    registry = CollectorRegistry()
    registry.register(_Sum([text], kinds=_COUNTING))
    return generate_latest(registry)


class _Sum(Collector):
    """Collects the sums, in the order in which the metrics come."""

    def __init__(self, texts: Iterable[bytes], kinds: Iterable[str] | None = None) -> None:
        self._families: dict[str, Metric] = {}
        self._values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
        for text in texts:
            for family in text_string_to_metric_families(text.decode()):
                if kinds is None or family.type in kinds:
                    self._add(family)

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        for name, family in self._families.items():
            summed = Metric(name, family.documentation, family.type)
            for (sample, labels), value in self._values[name].items():
                summed.add_sample(sample, dict(labels), value)
            yield summed

    def _add(self, family: Metric) -> None:
        self._families.setdefault(family.name, family)
        values = self._values.setdefault(family.name, {})
        for sample in family.samples:
            key = sample.name, tuple(sample.labels.items())
            if sample.name == _OLDEST:
                values[key] = min(values.get(key, sample.value), sample.value)
            else:
                values[key] = values.get(key, 0) + sample.value


def sum_books(books: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Books of several nodes (`Ledger.snapshot`) as one; balanced when all of them are."""
    summed: dict[str, Any] = {"balanced": True}
    for each in books:
        for name, value in each.items():
            if name == "balanced":
                summed[name] = summed[name] and value
            elif name == "faults":
                summed[name] = _plus_faults(summed.get(name, []), value)
            elif isinstance(value, Mapping):
                summed[name] = _plus(summed.get(name, {}), value)
            else:
                summed[name] = summed.get(name, 0) + value
    return summed


def settle_between(books: dict[str, Any]) -> None:
    """Leave out what the nodes of these books have handed over to each other.

    What is left of `handed_over` is with others, or lies between.
    """
    settled = min(books["taken_over"], books["ended"]["handed_over"])
    books["taken_over"] -= settled
    books["ended"]["handed_over"] -= settled


def _plus(some: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    return {name: some.get(name, 0) + more.get(name, 0) for name in {**some, **more}}


def _plus_faults(some: Iterable[Fault], more: Iterable[Fault]) -> list[Fault]:
    """Counts of faults on demand, by rule and action."""
    times: Counter[tuple[str, str]] = Counter()
    for fault in (*some, *more):
        times[fault["rule"], fault["action"]] += fault["times"]
    return [{"rule": rule, "action": action, "times": n} for (rule, action), n in times.items()]
