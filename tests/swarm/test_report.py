from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing
from rich.console import Console

from trio_push.swarm.audit import Audit
from trio_push.swarm.books import Books
from trio_push.swarm.connections import Connections
from trio_push.swarm.display import LINE_INTERVAL_S, LIVE_INTERVAL_S, Progress, show_progress
from trio_push.swarm.histogram import Histogram
from trio_push.swarm.on_push import Calls
from trio_push.swarm.report import Measured, Report, make_report
from trio_push.swarm.report_text import print_report
from trio_push.swarm.settings import SwarmSettings
from trio_push.swarm.stamp import Stamp
from trio_push.swarm.worst import Worst

BALANCED = Books(balanced=True, server={"accepted": 1}, swarm={"accepted": 1}, lost=0)


def histogram(*values_s: float) -> Histogram:
    result = Histogram()
    for value in values_s:
        result.record(value)
    return result


def audited() -> Audit:
    """Eight pushes: five accepted (one received twice, one late), one of each other fate."""
    audit = Audit(1)
    for _ in range(5):
        audit.plan(0)
        audit.accept()
    audit.refuse(0, audit.plan(0), "BadTopic")
    audit.leave_unanswered(0, audit.plan(0))
    audit.leave_unsent(0, audit.plan(0))
    for n, after_s in ((1, 0.1), (1, 0.1), (3, 0.2), (2, 2.0)):
        audit.receive(0, Stamp(0, n, 100.0), 100.0 + after_s)
    audit.receive(0, None, 100.0)
    return audit


def measured(**more: Any) -> Measured:
    connections = Connections(
        now=8,
        peak=9,
        tried=10,
        ever=9,
        reconnects=2,
        failures=Counter({"reset": 3}),
        closes=Counter({"too_slow": 2}),
        resumes=1,
    )
    connections.connect.record(0.001)
    values: dict[str, Any] = {
        "settings": SwarmSettings(devices=10, seed=42),
        "connections": connections,
        "audit": audited(),
        "books": BALANCED,
        "behind": histogram(),
        "lag": histogram(0.002),
        "calls": None,
        "duration_s": 12.3456,
        "cpu_s": 1.0,
    }
    return Measured(**values | more)


def test_figures() -> None:
    figures = make_report(measured(calls=Calls(5, 4, 3, 2))).figures
    lag = {"p50": 2.0, "p90": 2.0, "p99": 2.0, "p999": 2.0, "max": 2.0}
    nothing = dict.fromkeys(lag)
    assert figures == {
        "devices": {
            "planned": 10,
            "connected": 8,
            "peak": 9,
            "failed": 1,
            "reconnects": 2,
            "failures": {"reset": 3},
            "closes": {"too_slow": 2},
            "resumes": 1,
            "not_recovered": 0,
            "dropped": 0,
            "back": 0,
            "sleeps": 0,
            "loop_lag_ms": lag,
        },
        "pushes": {
            "planned": 8,
            "sent": 7,
            "accepted": 5,
            "refused": 1,
            "unanswered": 1,
            "unsent": 1,
            "reasons": {"BadTopic": 1},
            "behind_ms": nothing,
        },
        "deliveries": {
            "received": 4,
            "lost": 0,
            "duplicate": 1,
            "late": 1,
            "out_of_order": 1,
            "misdelivered": 0,
            "foreign": 1,
            "acknowledged": 0,
            "marked": 0,
            "read_marks": 0,
            "slept_through": 0,
            "on_push": {"succeeded": 5, "failed": 4, "skipped": 5},
        },
        "latency_ms": pytest.approx(
            {"p50": 200, "p90": 2000, "p99": 2000, "p999": 2000, "max": 2000}, rel=1 / 128
        ),
        "connect_ms": {"p50": 1.0, "p90": 1.0, "p99": 1.0, "p999": 1.0, "max": 1.0},
        "back_ms": nothing,
        "books": {
            "balanced": True,
            "server": {"accepted": 1},
            "swarm": {"accepted": 1},
            "faults": {},
            "reasons": [],
        },
        "worst": [],
        "thresholds": [],
        "duration_s": 12.346,
        "seed": 42,
    }


@pytest.mark.parametrize(
    ("balanced", "fail_if", "exit_code"),
    [
        (True, (), 0),
        (None, (), 0),
        (False, (), 99),
        (True, ("late>0",), 99),
        (True, ("late>1",), 0),
        (None, ("late>1", "p50>1ms"), 99),
    ],
)
def test_exit_code(balanced: bool | None, fail_if: tuple[str, ...], exit_code: int) -> None:
    books = Books(balanced=balanced, server=None, swarm={}, lost=0)
    settings = SwarmSettings(fail_if=fail_if)
    assert make_report(measured(books=books, settings=settings)).exit_code == exit_code


@pytest.mark.parametrize(
    ("more", "warning"),
    [
        ({"lag": histogram(0.2)}, "the swarm itself was 200 ms late"),
        ({"behind": histogram(0.3)}, "the swarm itself was 300 ms late"),
        ({"cpu_s": 11.9}, "the swarm used 96% of a processor"),
    ],
)
def test_warns_when_the_swarm_was_the_bottleneck(more: dict[str, Any], warning: str) -> None:
    warnings = make_report(measured(audit=Audit(1), **more)).warnings
    assert len(warnings) == 1
    assert warning in warnings[0]


def test_warns_of_pushes_that_were_not_sent() -> None:
    (warning,) = make_report(measured()).warnings
    assert warning == "1 planned pushes were not sent: the server did not keep up"


def test_no_warning() -> None:
    assert make_report(measured(audit=Audit(1))).warnings == ()


def printed(report: Report, *, terminal: bool) -> str:
    out = io.StringIO()
    print_report(report, Console(file=out, force_terminal=terminal, width=80, color_system=None))
    return out.getvalue()


def test_plain_lines() -> None:
    books = replace(BALANCED, faults={"lose": 3, "tcp_reset": 2})
    report = make_report(measured(calls=Calls(5, 4, 3, 2), books=books))
    assert printed(report, terminal=False).splitlines() == [
        "run:         12.3 s, seed 42",
        "devices:     10 planned, 8 connected, 9 peak, 1 failed, 2 reconnects, 1 resumes",
        "connecting:  p50 1.00  p90 1.00  p99 1.00  p99.9 1.00  max 1.00 ms",
        "failures:    3 × reset",
        "closes:      2 × too_slow",
        "pushes:      7 sent, 5 accepted, 1 refused, 1 unanswered, 1 unsent",
        "refusals:    1 × BadTopic",
        "deliveries:  4 received, 0 lost, 1 duplicate, 1 late, 1 out of order, 1 foreign",
        "latency:     p50 201  p90 2,000  p99 2,000  p99.9 2,000  max 2,000 ms",
        "calls:       5 succeeded, 4 failed, 5 skipped",
        "faults:      on demand: 3 lose, 2 tcp reset",
        "books:       balanced",
        "warning:     1 planned pushes were not sent: the server did not keep up",
    ]


def test_only_what_happened_is_told() -> None:
    report = make_report(measured(audit=Audit(1), connections=Connections()))
    labels = [line.split(":")[0] for line in printed(report, terminal=False).splitlines()]
    assert labels == ["run", "devices", "connecting", "deliveries", "books"]


def test_the_worst_devices_are_named() -> None:
    worst = [Worst(f"{n:02x}", 9 - n, 0, 1) for n in range(5)]
    report = make_report(measured(worst=worst))
    assert report.figures["worst"][4] == {
        "token": "04",
        "unseen": 5,
        "duplicate": 0,
        "out_of_order": 1,
    }
    lines = printed(report, terminal=False).splitlines()
    assert [line for line in lines if line.startswith("worst")] == [
        f"worst:       {n:02x}: {9 - n} unseen, 1 out of order" for n in range(3)
    ]


def test_verdicts() -> None:
    settings = SwarmSettings(fail_if=("late>0", "lost>0", "connect_p99>1s"))
    books = Books(balanced=False, server={}, swarm={}, lost=0, reasons=("why", "and why"))
    text = printed(make_report(measured(settings=settings, books=books)), terminal=False)
    assert [line for line in text.splitlines() if line.startswith(("books", "fail if"))] == [
        "books:       NOT BALANCED: why",
        "books:       NOT BALANCED: and why",
        "fail if:     late>0  FAILED (1)",
        "fail if:     lost>0  passed (0)",
        "fail if:     connect_p99>1s  passed (1)",
    ]
    alone = Books(balanced=None, server=None, swarm={}, lost=0, reasons=("no ledger",))
    text = printed(make_report(measured(books=alone)), terminal=False)
    assert "books:       not compared: no ledger" in text


def test_table_on_a_terminal() -> None:
    text = printed(make_report(measured()), terminal=True)
    assert "Swarm" in text
    assert "│ devices " in text
    assert all(len(line) <= 80 for line in text.splitlines())


def look() -> Progress:
    run = measured()
    return Progress(
        phase="running",
        elapsed_s=trio.current_time(),
        devices=10,
        connections=run.connections,
        audit=run.audit,
    )


async def shown(for_s: float, *, terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=80, color_system=None)
    with trio.move_on_after(for_s):
        await show_progress(console, look)
    return out.getvalue()


async def test_progress_in_lines(autojump_clock: trio.testing.MockClock) -> None:
    text = await shown(2.5 * LINE_INTERVAL_S, terminal=False)
    first, second = text.splitlines()
    assert first == (
        "   5.0 s  running: devices 8 of 10 connected, 2 reconnects, 3 attempts failed; "
        "received 4; pushes 5 accepted, 0 on the way, 1 refused; "
        "latency p50 201  p90 2,000  p99 2,000  p99.9 2,000  max 2,000 ms"
    )
    assert second.startswith("  10.0 s")


async def test_progress_tells_who_sleeps(autojump_clock: trio.testing.MockClock) -> None:
    def look_at_sleepers() -> Progress:
        connections = Connections(now=8, ever=10, asleep=2)
        return replace(look(), connections=connections)

    out = io.StringIO()
    with trio.move_on_after(1.5 * LINE_INTERVAL_S):
        await show_progress(Console(file=out, width=80), look_at_sleepers)
    assert "running: devices 8 of 10 connected, 2 asleep; received" in out.getvalue()


async def test_progress_on_a_terminal(autojump_clock: trio.testing.MockClock) -> None:
    text = await shown(3.5 * LIVE_INTERVAL_S, terminal=True)
    # the last one on leaving
    assert text.count("8 of 10 connected") == 4 + 1
