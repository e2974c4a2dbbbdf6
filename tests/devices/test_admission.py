from __future__ import annotations

import pytest

from trio_push.devices.admission import RETRY_AFTER_S, Admission
from trio_push.errors import Refusal


def refusal(admission: Admission, connected: int = 0, now: float = 0.0) -> Refusal | None:
    try:
        admission.check(connected, now)
    except Refusal as refusal:
        return refusal
    return None


def admitted(admission: Admission, now: float, tries: int) -> int:
    return sum(refusal(admission, now=now) is None for _ in range(tries))


@pytest.mark.parametrize(("connected", "is_full"), [(0, False), (9, False), (10, True), (11, True)])
def test_max_connections(connected: int, is_full: bool) -> None:
    admission = Admission(max_connections=10, connect_rate=0)
    found = refusal(admission, connected)
    assert (found is not None) == is_full == bool(admission.refused)
    if found is not None:
        assert (found.status, found.retry_after_s) == (503, RETRY_AFTER_S)
        assert f"{connected} devices" in str(found)


@pytest.mark.parametrize(
    ("rate", "tries"),
    [
        pytest.param(5, [(0, 5), (0.1, 0), (0.2, 1), (1.2, 5), (9, 5)], id="5/s"),
        pytest.param(0.5, [(0, 1), (1, 0), (2, 1), (9, 1)], id="one in two seconds"),
        pytest.param(0, [(0, 50), (0, 50)], id="no limit"),
    ],
)
def test_connect_rate(rate: float, tries: list[tuple[float, int]]) -> None:
    admission = Admission(max_connections=10, connect_rate=rate)
    assert [admitted(admission, 100 + now, 50) for now, _ in tries] == [n for _, n in tries]
    if rate:
        found = refusal(admission, now=109)
        assert found is not None
        assert (found.status, found.retry_after_s) == (503, 1)


def test_refused_for_want_of_room_costs_no_token_of_the_rate() -> None:
    admission = Admission(max_connections=1, connect_rate=1)
    assert refusal(admission, connected=1)
    assert refusal(admission, connected=0) is None


def test_closed() -> None:
    admission = Admission(max_connections=1, connect_rate=1)
    admission.closed = True
    found = refusal(admission)
    assert found is not None
    assert (found.reason.name, found.retry_after_s) == ("Shutdown", RETRY_AFTER_S)
    assert admission.refused == 0
