from __future__ import annotations

from trio_push.wire.calm import BURST, RATE_PER_S, Calm


def disturb(calm: Calm, times: int) -> None:
    for _ in range(times):
        calm.disturb()


def test_a_burst_is_borne_and_not_more() -> None:
    calm = Calm()
    disturb(calm, BURST)
    assert calm.allows(0.0)
    calm.disturb()
    assert not calm.allows(0.0)


def test_room_comes_back_with_time_up_to_a_burst() -> None:
    calm = Calm()
    disturb(calm, BURST)
    assert calm.allows(100.0)
    disturb(calm, int(RATE_PER_S))
    assert calm.allows(101.0)
    calm.disturb()
    assert not calm.allows(101.0)

    rested = Calm()
    disturb(rested, 1)
    assert rested.allows(0.0)
    disturb(rested, BURST + 1)
    assert not rested.allows(1e6)


def test_a_ping_a_minute_is_borne_for_ever() -> None:
    calm = Calm()
    for minute in range(10 * BURST):
        calm.disturb()
        assert calm.allows(minute * 60.0)
