"""The report for people: a table on a terminal, the same as plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trio_push.swarm.report import Report

#: names of percentiles for people
_NAMES = {"p50": "p50", "p90": "p90", "p99": "p99", "p999": "p99.9", "max": "max"}

#: of the devices that fared worst; the JSON report has more
_WORST_SHOWN = 3

#: counts that are shown if there are any
_RETURNS = "resumes not_recovered sleeps"
_SELDOM_SEEN = "misdelivered foreign acknowledged marked read_marks slept_through"


def print_report(report: Report, console: Console) -> None:
    rows = list(_rows(report))
    if not console.is_terminal:
        for label, text, _ in rows:
            console.print(f"{label + ':':<12} {text}", soft_wrap=True, highlight=False)
        return
    table = Table(title="Swarm", show_header=False, title_style="bold")
    table.add_column(style="bold")
    table.add_column()
    for label, text, style in rows:
        table.add_row(label, Text(text, style))
    console.print(table)


def _rows(report: Report) -> list[tuple[str, str, str]]:
    """Label, text and style of each row."""
    figures = report.figures
    devices, pushes, deliveries = (figures[key] for key in ("devices", "pushes", "deliveries"))
    rows = [
        ("run", f"{figures['duration_s']:.1f} s, seed {figures['seed']}", ""),
        ("devices", _counts(devices, "planned connected peak failed reconnects", _RETURNS), ""),
        ("connecting", durations(figures["connect_ms"]), ""),
    ]
    if devices["dropped"]:
        back = f"{_counts(devices, 'dropped back')}, after {durations(figures['back_ms'])}"
        rows.append(("storm", back, ""))
    if devices["failures"]:
        rows.append(("failures", _reasons(devices["failures"]), "yellow"))
    if devices["closes"]:
        rows.append(("closes", _reasons(devices["closes"]), ""))
    if pushes["planned"]:
        rows.append(("pushes", _counts(pushes, "sent accepted refused", "unanswered unsent"), ""))
    if pushes["reasons"]:
        rows.append(("refusals", _reasons(pushes["reasons"]), "yellow"))
    seen = "received lost duplicate late out_of_order"
    rows.append(("deliveries", _counts(deliveries, seen, _SELDOM_SEEN), ""))
    if pushes["planned"]:
        rows.append(("latency", durations(figures["latency_ms"]), ""))
    if "on_push" in deliveries:
        rows.append(("calls", _counts(deliveries["on_push"], "succeeded failed skipped"), ""))
    if figures["books"]["faults"]:
        rows.append(("faults", _faults(figures["books"]["faults"]), ""))
    rows += _books(figures["books"])
    rows += [("worst", _worst(each), "yellow") for each in figures["worst"][:_WORST_SHOWN]]
    rows += [_threshold(verdict) for verdict in figures["thresholds"]]
    rows += [("warning", warning, "yellow") for warning in report.warnings]
    return rows


def durations(summary_ms: Mapping[str, float | None]) -> str:
    """Percentiles in one line."""
    found = [f"{_NAMES[name]} {_ms(ms)}" for name, ms in summary_ms.items() if ms is not None]
    return "  ".join(found) + " ms" if found else "nothing to measure"


def _ms(ms: float) -> str:
    """Three digits, or all before the point."""
    return f"{ms:,.0f}" if ms >= 100 else f"{ms:.1f}" if ms >= 10 else f"{ms:.2f}"


def _counts(group: Mapping[str, Any], names: str, if_any: str = "") -> str:
    """The counts `names`, and those `if_any` that are not zero."""
    shown = [*names.split(), *(name for name in if_any.split() if group[name])]
    return ", ".join(f"{group[name]:,} {name.replace('_', ' ')}" for name in shown)


def _reasons(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} × {reason}" for reason, count in reasons.items())


def _worst(device: Mapping[str, Any]) -> str:
    return f"{device['token']}: {_counts(device, '', 'unseen duplicate out_of_order')}"


def _faults(faults: Mapping[str, int]) -> str:
    """What the server was told to do wrong: no loss, and no bug."""
    return "on demand: " + _counts(faults, " ".join(faults))


def _books(books: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    balanced = books["balanced"]
    if balanced:
        return [("books", "balanced", "green")]
    style = "yellow" if balanced is None else "bold red"
    first = "not compared" if balanced is None else "NOT BALANCED"
    return [("books", f"{first}: {reason}", style) for reason in books["reasons"]]


def _threshold(verdict: Mapping[str, Any]) -> tuple[str, str, str]:
    value = verdict["value"]
    found = "nothing to measure" if value is None else f"{value:g}"
    failed = verdict["failed"]
    text = f"{verdict['fail_if']}  {'FAILED' if failed else 'passed'} ({found})"
    return ("fail if", text, "bold red" if failed else "green")
