"""What makes a run fail: `--fail-if 'p99>500ms'`. Pure: text and figures in, verdicts out."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from trio_push.errors import ConfigError
from trio_push.swarm.histogram import PERCENTILES

_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
_FORM: Final = re.compile(r"\s*(\w+)\s*(>=|<=|==|!=|>|<)\s*(\d+(?:\.\d+)?)\s*(µs|us|ms|s|%)?\s*")
_MS: Final = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}

#: durations, by the name in a threshold: where they stand in the report
_DURATIONS: Final = {
    prefix + name: (group, name)
    for group, prefixes in {
        "latency_ms": ("", "latency_"),
        "connect_ms": ("connect_",),
        "back_ms": ("back_",),
    }.items()
    for prefix in prefixes
    for name in (*PERCENTILES, "max")
}
#: counts, by the name in a threshold: group in the report, and what 100 % of them are
_COUNTS: Final = {
    "connected": ("devices", ("devices", "planned")),
    "peak": ("devices", ("devices", "planned")),
    "failed": ("devices", ("devices", "planned")),
    "reconnects": ("devices", ("devices", "planned")),
    "resumes": ("devices", ("devices", "reconnects")),
    "not_recovered": ("devices", ("devices", "reconnects")),
    "back": ("devices", ("devices", "dropped")),
    "sent": ("pushes", ("pushes", "planned")),
    "unsent": ("pushes", ("pushes", "planned")),
    "accepted": ("pushes", ("pushes", "sent")),
    "refused": ("pushes", ("pushes", "sent")),
    "unanswered": ("pushes", ("pushes", "sent")),
    "received": ("deliveries", ("pushes", "accepted")),
    "lost": ("deliveries", ("pushes", "accepted")),
    "duplicate": ("deliveries", ("deliveries", "received")),
    "late": ("deliveries", ("deliveries", "received")),
    "out_of_order": ("deliveries", ("deliveries", "received")),
}


class Threshold(NamedTuple):
    """A condition under which a run fails. Durations are in milliseconds."""

    text: str
    metric: str
    operator: str
    limit: float
    percent: bool

    def evaluate(self, figures: Mapping[str, Any]) -> dict[str, Any]:
        """The verdict on a report's figures.

        A figure that the run did not bring about (a percentile of nothing) fails nothing.
        """
        value = self._value(figures)
        failed = value is not None and _OPERATORS[self.operator](value, self.limit)
        return {"fail_if": self.text, "value": value, "failed": failed}

    def _value(self, figures: Mapping[str, Any]) -> float | None:
        if self.metric in _DURATIONS:
            group, name = _DURATIONS[self.metric]
            value: float | None = figures[group][name]
            return value
        group, (base_group, base_name) = _COUNTS[self.metric]
        count: int = figures[group][self.metric]
        if not self.percent:
            return count
        base = figures[base_group][base_name]
        return round(100 * count / base, 6) if base else None


def parse_threshold(text: str) -> Threshold:
    """Read one --fail-if. Raises ConfigError that says what is wrong and what to write."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise _error(text, "write it as 'p99>500ms', 'lost>0' or 'failed>1%'")
    metric, comparison, number, unit = match.groups()
    limit = float(number)
    if metric in _DURATIONS:
        if unit not in _MS:
            raise _error(text, f"{metric} is a duration: give its unit, us, ms or s")
        return Threshold(text, metric, comparison, limit * _MS[unit], percent=False)
    if metric not in _COUNTS:
        known = ", ".join([*_COUNTS, *_DURATIONS])
        raise _error(text, f"there is no figure {metric!r}; there are {known}")
    if unit not in (None, "%"):
        raise _error(text, f"{metric} is a count: give a plain number or a percentage")
    return Threshold(text, metric, comparison, limit, percent=unit == "%")


def _error(text: str, remedy: str) -> ConfigError:
    return ConfigError(f"{text!r}: {remedy}")
