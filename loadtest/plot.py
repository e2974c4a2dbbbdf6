"""Draws curves over time as one SVG file that needs nothing else. Pure.

Panels stand one above the other and share the axis of time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

_WIDTH: Final = 900
_PANEL: Final = 170
_LEFT: Final = 70
_RIGHT: Final = 20
_TOP: Final = 60
_GAP: Final = 50
_COLOURS: Final = ("#1b6ca8", "#d1495b", "#66a182", "#edae49")


@dataclass(frozen=True)
class Curve:
    """Values at the times of the plot."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True)
class Panel:
    """Curves with one axis, which begins at 0."""

    title: str
    curves: Sequence[Curve]


@dataclass(frozen=True)
class Stretch:
    """A part of the time with a name, shown behind the curves."""

    name: str
    begin_s: float
    end_s: float


def svg(
    title: str, times_s: Sequence[float], panels: Sequence[Panel], stretches: Sequence[Stretch]
) -> str:
    """The whole file."""
    end_s = max(times_s)
    height = _TOP + len(panels) * (_PANEL + _GAP)
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        _text(_LEFT, 24, title, size=16),
    ]
    for number, panel in enumerate(panels):
        top = _TOP + number * (_PANEL + _GAP)
        parts += _panel(panel, top, times_s, end_s, stretches)
    parts.append("</svg>\n")
    return "\n".join(parts)


def _panel(
    panel: Panel, top: float, times_s: Sequence[float], end_s: float, stretches: Sequence[Stretch]
) -> list[str]:
    most = _round_up(max((max(curve.values) for curve in panel.curves), default=1.0))
    return [
        *_background(top, end_s, stretches),
        *_axes(top, end_s, most),
        _text(_LEFT, top - 8, panel.title, size=13),
        *_curves(panel.curves, top, times_s, end_s, most),
    ]


def _background(top: float, end_s: float, stretches: Sequence[Stretch]) -> Iterator[str]:
    for number, stretch in enumerate(stretches):
        left, right = _x(stretch.begin_s, end_s), _x(stretch.end_s, end_s)
        fill = "#f2f2f2" if number % 2 else "#fafafa"
        size = f'width="{right - left:.1f}" height="{_PANEL}"'
        yield f'<rect x="{left:.1f}" y="{top}" {size} fill="{fill}"/>'
        yield _text(left + 4, top + 14, stretch.name, fill="#777")


def _axes(top: float, end_s: float, most: float) -> Iterator[str]:
    for share in (0.0, 0.5, 1.0):
        y = top + _PANEL * (1 - share)
        yield f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}" stroke="#ccc"/>'
        yield _text(_LEFT - 6, y + 4, f"{most * share:g}", anchor="end")
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        at_s = end_s * share
        yield _text(_x(at_s, end_s), top + _PANEL + 16, f"{at_s:.0f} s", anchor="middle")


def _curves(
    curves: Sequence[Curve], top: float, times_s: Sequence[float], end_s: float, most: float
) -> Iterator[str]:
    for number, curve in enumerate(curves):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(
            f"{_x(at, end_s):.1f},{top + _PANEL * (1 - value / most):.1f}"
            for at, value in zip(times_s, curve.values, strict=True)
        )
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        # the names stand at the right, one beside the other
        right = _WIDTH - _RIGHT - 130 * (len(curves) - number - 1)
        yield _text(right, top - 8, curve.name, fill=colour, anchor="end")


def _x(at_s: float, end_s: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * at_s / end_s


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20 … that is not below it."""
    scale = 1.0
    while scale * 10 < value:
        scale *= 10
    return next((scale * step for step in (1, 2, 5, 10) if scale * step >= value), scale * 10)


def _text(
    x: float, y: float, text: str, *, size: int = 12, fill: str = "#222", anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )
