from __future__ import annotations

import math

from trio_push.apns.flight import Flight
from trio_push.apns.request import Request
from trio_push.apns.waiting import Waiting


def test_in_the_order_they_are_due() -> None:
    waiting = Waiting()
    flights = [Flight(Request(token=f"{n}", payload=b"")) for n in range(4)]
    for at, flight in zip((3.0, 1.0, 2.0, 1.0), flights, strict=True):
        waiting.add(at, flight)
    assert (len(waiting), waiting.next_at) == (4, 1.0)
    assert waiting.due(0.9) is None
    waiting.remove(flights[2])
    due = []
    while flight := waiting.due(3.0):
        due.append(flight)
    assert due == [flights[1], flights[3], flights[0]]
    assert (len(waiting), waiting.next_at) == (0, math.inf)


def test_removed_and_cleared() -> None:
    waiting = Waiting()
    flight = Flight(Request(token="a", payload=b""))
    waiting.remove(flight)
    waiting.add(1.0, flight)
    waiting.clear()
    assert waiting.due(9.0) is None
