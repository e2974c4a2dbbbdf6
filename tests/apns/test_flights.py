from __future__ import annotations

from trio_push.apns.flight import Flight
from trio_push.apns.flights import Flights
from trio_push.apns.request import Request


def test_found_by_their_requests() -> None:
    requests = [Request(token="aa", payload=b"") for _ in range(3)]
    first, second, third = (Flight(request) for request in requests)
    again = Flight(requests[0])
    flights = Flights()
    for flight in (first, second, third, again):
        flights.add(flight)
    assert (len(flights), set(flights)) == (4, {first, second, third, again})
    assert flights.of(requests[0]) == [first, again]
    flights.remove(first)
    flights.remove(second)
    assert (len(flights), list(flights)) == (2, [again, third])
    assert flights.of(requests[1]) == []
    assert again in flights
    assert first not in flights
    assert second not in flights
