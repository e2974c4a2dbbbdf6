"""Counts of what became of the devices' connections. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from trio_push.swarm.histogram import Histogram


@dataclass(slots=True)
class Connections:
    """Counts of the devices' connections."""

    #: devices connected now, and the most there have been
    now: int = 0
    peak: int = 0
    #: devices that have tried to connect, and that were connected at least once
    tried: int = 0
    ever: int = 0
    reconnects: int = 0
    #: attempts that came to nothing, by reason
    failures: Counter[str] = field(default_factory=Counter)
    #: from connecting to the head of the response
    connect: Histogram = field(default_factory=Histogram)
    #: WebSockets closed with a close code, by its name
    closes: Counter[str] = field(default_factory=Counter)
    #: times that a server said that a device has all that it missed, or that it has not
    resumes: int = 0
    not_recovered: int = 0
    #: devices that a storm has dropped, those of them that are back, and how long that took
    dropped: int = 0
    back: int = 0
    back_after: Histogram = field(default_factory=Histogram)
    #: times that a device went to sleep, and devices that sleep now
    sleeps: int = 0
    asleep: int = 0
