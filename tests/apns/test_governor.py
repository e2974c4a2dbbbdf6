"""The governor by tables: what it is told at each look, and how many connections it wants then."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from trio_push.apns.governor import Governor, Load
from trio_push.apns.scaling import Constant, Exponential, Incremental, Scaling


class Look(NamedTuple):
    """One look: is the input waiting, is the output, how much is in flight of 10 for each."""

    waits: bool = False
    output_waits: bool = False
    share: float = 0.0
    #: of the connections that are wanted, how many are not open (yet)
    missing: int = 0


BLOCKED = Look(waits=True, share=1.0)
CONSUMER = Look(waits=True, output_waits=True, share=1.0)
BUSY = Look(share=0.9)
HALF = Look(share=0.5)
IDLE = Look()


def wanted(scaling: Scaling, looks: list[Look], connections: int = 1) -> list[int]:
    """The target at each look, one a second; what is wanted is there at the next."""
    governor = Governor(scaling)
    governor.wanted = connections
    targets = []
    for second, look in enumerate(looks):
        there = governor.wanted - look.missing
        capacity = 10 * there
        load = Load(
            connections=there,
            input_waited=look.waits,
            output_waited=look.output_waits,
            in_flight=round(look.share * capacity),
            capacity=capacity,
        )
        targets.append(governor.look(load, float(second)))
    return targets


SCALING = Scaling(law=Exponential(2), least=1, most=8, sustain_s=2, settle_s=3, idle_s=5)


@pytest.mark.parametrize(
    ("looks", "targets"),
    [
        # it must have waited for the whole of sustain_s
        ([BLOCKED] * 3, [1, 1, 2]),
        ([BLOCKED, BLOCKED, BUSY, BLOCKED, BLOCKED], [1, 1, 1, 1, 1]),
        # and nothing happens for settle_s; what was before the change does not count
        ([BLOCKED] * 13, [1, 1, 2, 2, 2, 4, 4, 4, 8, 8, 8, 8, 8]),
        # a consumer that does not keep up is not helped by connections
        ([CONSUMER] * 9, [1] * 9),
        # and has to keep up for sustain_s first
        ([CONSUMER] * 4 + [BLOCKED] * 3, [1, 1, 1, 1, 1, 1, 2]),
        # busy is not blocked
        ([BUSY] * 9, [1] * 9),
        # nothing is decided while connections are opened
        ([BLOCKED, BLOCKED, Look(True, False, 1.0, missing=1), BLOCKED], [1, 1, 1, 2]),
    ],
)
def test_growth(looks: list[Look], targets: list[int]) -> None:
    assert wanted(SCALING, looks) == targets


@pytest.mark.parametrize(
    ("looks", "targets"),
    [
        ([IDLE] * 7, [8, 8, 8, 8, 8, 4, 4]),
        # down to the least
        ([IDLE] * 40, None),
        # half of the places taken would fill the half that is left
        ([HALF] * 9, [8] * 9),
        # one look with more starts it over
        ([IDLE] * 5 + [HALF] + [IDLE] * 5, [8] * 11),
        ([Look(share=0.3)] * 7, [8, 8, 8, 8, 8, 4, 4]),
        # whose consumer stands still holds all places
        ([CONSUMER] * 9, [8] * 9),
    ],
)
def test_winding_down(looks: list[Look], targets: list[int] | None) -> None:
    seen = wanted(SCALING, looks, connections=8)
    if targets is None:
        assert seen[-1] == 1
        assert seen == sorted(seen, reverse=True)
    else:
        assert seen == targets


def test_the_least_is_wanted_from_the_start() -> None:
    assert Governor(Scaling(least=5, most=8)).wanted == 5


def test_a_connection_that_is_lost_is_wanted_back() -> None:
    lost = Look(share=1.0, missing=3)
    assert wanted(SCALING, [IDLE, lost, lost, lost], connections=8) == [8] * 4


def test_no_more_than_the_most() -> None:
    scaling = Scaling(law=Incremental(5), least=1, most=7, sustain_s=0, settle_s=0)
    assert wanted(scaling, [BLOCKED] * 4) == [6, 7, 7, 7]


def test_a_constant_number_stays() -> None:
    scaling = Scaling(law=Constant(), least=3, most=9, sustain_s=0, settle_s=0, idle_s=0)
    assert wanted(scaling, [BLOCKED, IDLE, BLOCKED], connections=3) == [3, 3, 3]
