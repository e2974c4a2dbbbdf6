"""What one worker is told of the settings that hold for all workers together. Pure."""

from __future__ import annotations

from dataclasses import replace

from trio_push.config import ServeSettings


def split(settings: ServeSettings, place: int) -> ServeSettings:
    """The settings of the worker of `place` (from 1): its part of each limit on devices."""
    return replace(
        settings,
        workers=1,
        max_connections=part(settings.max_connections, settings.workers, place),
        connect_rate=settings.connect_rate / settings.workers,
    )


def part(whole: int, parts: int, number: int) -> int:
    """The parts are as equal as can be, and add up to the whole."""
    return whole // parts + (number <= whole % parts)
