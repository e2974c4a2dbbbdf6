from __future__ import annotations

from typing import Any

import pytest

from trio_push.errors import ConfigError
from trio_push.swarm.thresholds import parse_threshold

FIGURES: dict[str, Any] = {
    "devices": {"planned": 200, "connected": 197, "peak": 198, "failed": 2, "reconnects": 5},
    "pushes": {"planned": 110, "sent": 100, "accepted": 90, "refused": 10, "unanswered": 0},
    "deliveries": {"received": 80, "lost": 1, "duplicate": 4, "late": 8, "out_of_order": 0},
    "latency_ms": {"p50": 4.0, "p90": 90.0, "p99": 499.9, "p999": 1500.0, "max": 2000.0},
    "connect_ms": {"p50": None, "p90": None, "p99": None, "p999": None, "max": None},
}


@pytest.mark.parametrize(
    ("text", "value", "failed"),
    [
        ("p99>500ms", 499.9, False),
        ("p99 > 0.4s", 499.9, True),
        ("latency_p50>=4ms", 4.0, True),
        ("p50>4000us", 4.0, False),
        ("max>=2s", 2000.0, True),
        ("p999<1s", 1500.0, False),
        ("connect_p99>2s", None, False),
        ("lost>0", 1, True),
        ("lost>1", 1, False),
        ("out_of_order!=0", 0, False),
        ("refused==10", 10, True),
        ("failed>1%", 1.0, False),
        ("failed>=1%", 1.0, True),
        ("refused>9.5%", 10.0, True),
        ("late>10%", 10.0, False),
        ("connected<200", 197, True),
        ("connected<98%", 98.5, False),
        ("duplicate<=5%", 5.0, True),
    ],
)
def test_verdicts(text: str, value: float | None, failed: bool) -> None:
    threshold = parse_threshold(text)
    assert threshold.evaluate(FIGURES) == {"fail_if": text, "value": value, "failed": failed}


def test_percentage_of_nothing_fails_nothing() -> None:
    figures = {"pushes": {"sent": 0, "refused": 0}}
    threshold = parse_threshold("refused>=0%")
    assert threshold.evaluate(figures)["failed"] is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "write it as"),
        ("p99", "write it as"),
        ("p99>", "write it as"),
        ("p99>fast", "write it as"),
        ("p99>-1ms", "write it as"),
        ("p99>5h", "write it as"),
        ("p99>500", "p99 is a duration"),
        ("p99>5%", "p99 is a duration"),
        ("p98>5ms", "no figure 'p98'; there are connected"),
        ("lost>5ms", "lost is a count"),
    ],
)
def test_bad_thresholds_name_the_remedy(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_threshold(text)
