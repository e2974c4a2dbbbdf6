"""The requests that a client has taken and not settled. Pure; used by the client alone."""

from __future__ import annotations

from collections.abc import Iterator

from trio_push.apns.flight import Flight
from trio_push.apns.request import Request


class Flights:
    """In the order of their requests, and found by them: thousands may be cancelled at once."""

    def __init__(self) -> None:
        #: more than one where the same request was sent again before it had its result
        self._of: dict[Request, list[Flight]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Flight]:
        for flights in self._of.values():
            yield from flights

    def __contains__(self, flight: Flight) -> bool:
        return flight in self._of.get(flight.request, ())

    def of(self, request: Request) -> list[Flight]:
        """Those of this very request."""
        return list(self._of.get(request, ()))

    def add(self, flight: Flight) -> None:
        self._of.setdefault(flight.request, []).append(flight)
        self._count += 1

    def remove(self, flight: Flight) -> None:
        flights = self._of[flight.request]
        flights.remove(flight)
        if not flights:
            del self._of[flight.request]
        self._count -= 1
