"""What a scenario hands back: its samples, what they were to be, and both as table and as JSON.

Made by the scenarios, printed by `__main__`. A figure is the median of its samples.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isnan, nan
from statistics import median
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

#: one measurement of one subject: metric → value
Sample = dict[str, float]


@dataclass
class Measured:
    """The samples of every subject, one for each round."""

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    #: subjects that were not measured, and why
    skipped: dict[str, str] = field(default_factory=dict)

    def figure(self, subject: str, metric: str) -> float:
        """The median over the rounds; nan when that was not measured."""
        samples = self.samples.get(subject, ())
        values = [sample[metric] for sample in samples if metric in sample]
        return median(values) if values else nan

    def set_ratios(
        self, subjects: Iterable[str], limit: str, metric: str, *, name: str = "ratio"
    ) -> None:
        """Give each sample, as metric `name`, the ratio to what `limit` did in the same round.

        The two were taken next to each other, so what else the machine did in that minute
        touched both; the median of these ratios is steadier than the ratio of the medians.
        """
        for subject in subjects:
            rounds = zip(self.samples.get(subject, ()), self.samples.get(limit, ()), strict=False)
            for sample, limit_sample in rounds:
                if limit_sample[metric]:  # else too little was done to be measured
                    sample[name] = sample[metric] / limit_sample[metric]


@dataclass(frozen=True)
class Column:
    """A metric and how the table shows it."""

    metric: str
    title: str
    digits: int = 0


@dataclass(frozen=True)
class Bound:
    """What a figure of our server must be (`limit`) and should be (`aim`)."""

    what: str
    figure: float
    kind: Literal["at most", "at least"]
    limit: float
    aim: float | None = None

    @property
    def verdict(self) -> str:
        if isnan(self.figure):
            return "not measured"
        if not self._within(self.limit):
            return "miss"
        return "ok, aim reached" if self.aim is not None and self._within(self.aim) else "ok"

    def _within(self, limit: float) -> bool:
        return self.figure <= limit if self.kind == "at most" else self.figure >= limit


@dataclass(frozen=True)
class Report:
    """One run of a scenario."""

    scenario: str
    parameters: Mapping[str, object]
    columns: Sequence[Column]
    measured: Measured
    bounds: Sequence[Bound]

    @property
    def ok(self) -> bool:
        """Whether no bound was missed."""
        return all(bound.verdict != "miss" for bound in self.bounds)


def print_report(report: Report, console: Console) -> None:
    """The table, the bounds with their verdicts, and what was left out."""
    console.print(_title(report), soft_wrap=True, highlight=False)
    console.print(_table(report))
    for bound in report.bounds:
        console.print(_line(bound), soft_wrap=True)
    for subject, why in report.measured.skipped.items():
        console.print(f"skipped {subject}: {escape(why)}", soft_wrap=True)


def _table(report: Report) -> Table:
    """Subjects by metrics. What there is more of stands in rows: a row too many is no harm."""
    subjects = list(report.measured.samples)
    cells = [
        [it.title, *(_cell(report.measured, subject, it) for subject in subjects)]
        for it in report.columns
    ]
    rows = [["", *subjects], *cells]
    if len(subjects) >= len(report.columns):
        rows = [list(row) for row in zip(*rows, strict=True)]
    head, *body = rows
    table = Table()
    table.add_column("", no_wrap=True)
    for title in head[1:]:
        table.add_column(title, justify="right")
    for row in body:
        table.add_row(*row)
    return table


def _title(report: Report) -> str:
    parameters = ", ".join(f"{name} {value}" for name, value in report.parameters.items())
    return f"{report.scenario} ({parameters})"


def _cell(measured: Measured, subject: str, column: Column) -> str:
    figure = measured.figure(subject, column.metric)
    return "" if isnan(figure) else f"{figure:,.{column.digits}f}"


def _line(bound: Bound) -> str:
    aim = "" if bound.aim is None else f", aim {_number(bound.aim)}"
    asked = f"({bound.kind} {_number(bound.limit)}{aim})"
    if isnan(bound.figure):
        return f"{bound.what}: {bound.verdict} {asked}"
    colour = "red" if bound.verdict == "miss" else "green"
    return f"{bound.what}: {_number(bound.figure)} {asked} [{colour}]{bound.verdict}[/]"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def as_json(report: Report) -> dict[str, Any]:
    """The report as JSON values: medians, every sample, and the machine it was taken on."""
    measured = report.measured
    return {
        "scenario": report.scenario,
        "parameters": dict(report.parameters),
        "machine": {
            "cpus": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
        },
        "medians": {
            subject: {metric: measured.figure(subject, metric) for metric in samples[0]}
            for subject, samples in measured.samples.items()
        },
        "samples": measured.samples,
        "bounds": [{**asdict(bound), "verdict": bound.verdict} for bound in report.bounds],
        "skipped": measured.skipped,
        "ok": report.ok,
    }
