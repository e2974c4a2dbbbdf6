"""The report of a run: figures for programs (JSON), lines for people, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from trio_push.swarm.audit import Audit
from trio_push.swarm.books import Books
from trio_push.swarm.connections import Connections
from trio_push.swarm.histogram import Histogram
from trio_push.swarm.on_push import Calls
from trio_push.swarm.settings import SwarmSettings
from trio_push.swarm.thresholds import parse_threshold
from trio_push.swarm.worst import Worst

#: of the swarm's own lateness (99th percentile) and of its CPU: beyond, it measures itself
_LATENESS_MS: Final = 100.0
_CPU: Final = 0.9

_JWT_REFUSED: Final = (
    "it does not take JWTs signed with this --jwt-key, or for this --jwt-audience, or expired ones"
)

#: reasons for which a server refuses every push of a swarm → what there is to do about it
_REFUSED: Final = {
    "MissingProviderToken": "the server asks who pushes: --api-key, --key or --cert says it",
    "MissingTopic": "the server asks what they are for: --topic says it",
    "InvalidPushType": "--push-type does not go with --topic",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What a run has counted, at its end."""

    settings: SwarmSettings
    connections: Connections
    audit: Audit
    books: Books
    #: the devices that fared worst
    worst: Sequence[Worst] = ()
    #: the driver's lateness, and the loop's
    behind: Histogram
    lag: Histogram
    #: calls on push, where they were asked for
    calls: Calls | None
    duration_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of a run, under the names that the JSON report has for them."""

    figures: dict[str, Any]
    #: why the figures may tell more about the swarm than about the server
    warnings: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0, or 99: a threshold was crossed or the books do not balance."""
        crossed = any(threshold["failed"] for threshold in self.figures["thresholds"])
        return 99 if crossed or self.figures["books"]["balanced"] is False else 0


def make_report(run: Measured) -> Report:
    figures: dict[str, Any] = {
        "devices": _devices(run.settings, run.connections, run.lag),
        "pushes": _pushes(run.audit, run.behind),
        "deliveries": _deliveries(run.audit, run.books.lost, run.calls),
        "latency_ms": run.audit.latency.summary_ms(),
        "connect_ms": run.connections.connect.summary_ms(),
        "back_ms": run.connections.back_after.summary_ms(),
        "books": run.books.as_json(),
        "worst": [each._asdict() for each in run.worst],
    }
    figures["thresholds"] = [
        parse_threshold(text).evaluate(figures) for text in run.settings.fail_if
    ]
    figures["duration_s"] = round(run.duration_s, 3)
    figures["seed"] = run.settings.seed
    cpu = run.cpu_s / max(run.duration_s, 1e-3)
    return Report(figures, tuple(_warnings(figures, cpu, run.settings.jwt_key)))


def _devices(settings: SwarmSettings, connections: Connections, lag: Histogram) -> dict[str, Any]:
    return {
        "planned": settings.devices,
        "connected": connections.now,
        "peak": connections.peak,
        "failed": connections.tried - connections.ever,
        "reconnects": connections.reconnects,
        "failures": dict(connections.failures.most_common()),
        "closes": dict(connections.closes.most_common()),
        "resumes": connections.resumes,
        "not_recovered": connections.not_recovered,
        "dropped": connections.dropped,
        "back": connections.back,
        "sleeps": connections.sleeps,
        "loop_lag_ms": lag.summary_ms(),
    }


def _pushes(audit: Audit, behind: Histogram) -> dict[str, Any]:
    pushes = audit.pushes
    return {
        "planned": pushes.planned,
        "sent": pushes.sent,
        "accepted": pushes.accepted,
        "refused": pushes.refused,
        "unanswered": pushes.unanswered,
        "unsent": pushes.unsent,
        "reasons": dict(pushes.reasons.most_common()),
        "behind_ms": behind.summary_ms(),
    }


def _deliveries(audit: Audit, lost: int, calls: Calls | None) -> dict[str, Any]:
    deliveries = audit.deliveries
    figures: dict[str, Any] = {
        "received": deliveries.received,
        "lost": lost,
        "duplicate": deliveries.duplicate,
        "late": deliveries.late,
        "out_of_order": deliveries.out_of_order,
        "misdelivered": deliveries.misdelivered,
        "foreign": deliveries.foreign,
        "acknowledged": deliveries.acknowledged,
        "marked": deliveries.marked,
        "read_marks": deliveries.read_marks,
        "slept_through": deliveries.slept_through,
    }
    if calls is not None:
        figures["on_push"] = {
            "succeeded": calls.succeeded,
            "failed": calls.failed,
            "skipped": calls.skipped + calls.open,
        }
    return figures


def _warnings(figures: dict[str, Any], cpu: float, jwt_key: str | None) -> list[str]:
    warnings = []
    lag_ms = figures["devices"]["loop_lag_ms"]["p99"] or 0.0
    behind_ms = figures["pushes"]["behind_ms"]["p99"] or 0.0
    if max(lag_ms, behind_ms) > _LATENESS_MS:
        warnings.append(
            f"the swarm itself was {max(lag_ms, behind_ms):.0f} ms late (p99): its latencies "
            f"contain that. Give it fewer devices, a lower rate or a processor of its own"
        )
    if cpu > _CPU:
        warnings.append(f"the swarm used {cpu:.0%} of a processor: it may have been the bottleneck")
    if figures["devices"]["failures"].get("status 401"):
        remedy = "--jwt-key FILE has them show a JWT" if jwt_key is None else _JWT_REFUSED
        warnings.append(f"devices were asked who they are (401): {remedy}")
    for reason, remedy in _REFUSED.items():
        if figures["pushes"]["reasons"].get(reason):
            warnings.append(f"pushes were refused ({reason}): {remedy}")
    if unsent := figures["pushes"]["unsent"]:
        warnings.append(f"{unsent} planned pushes were not sent: the server did not keep up")
    return warnings
