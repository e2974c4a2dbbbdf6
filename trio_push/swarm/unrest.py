"""Devices that do not stay: churn, sleep, and a storm in which many drop at once.

What they do afterwards they do as always: connect again when it is time, and ask for what they
missed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import NoReturn

import trio

from trio_push.swarm.device import Device
from trio_push.swarm.population import Population

#: devices that leave before other tasks get a turn
_TURN = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Unrest:
    """How restless devices are. 0 is never, or none."""

    #: devices that leave in a second, each chosen at random, to come back
    churn_per_s: float = 0.0
    #: when a share of all drops, in seconds from the beginning
    storm_s: float = 0.0
    storm_share: float = 1.0
    #: share of devices that sleep and wake in turn, and how long they do, in seconds, on average
    sleepers: float = 0.0
    asleep_s: float = 30.0
    awake_s: float = 60.0


async def stir(
    unrest: Unrest, devices: Sequence[Device], population: Population, rng: random.Random
) -> NoReturn:
    """Disturb the devices until cancelled."""
    async with trio.open_nursery() as nursery:
        if unrest.churn_per_s:
            nursery.start_soon(_churn, unrest.churn_per_s, devices, rng)
        if unrest.sleepers:
            nursery.start_soon(_sleep_and_wake, unrest, devices, population, rng)
        if unrest.storm_s:
            nursery.start_soon(_storm, unrest, devices, population, rng)
        await trio.sleep_forever()


async def _churn(per_s: float, devices: Sequence[Device], rng: random.Random) -> NoReturn:
    at = trio.current_time()
    while True:
        # a Poisson process: people do not leave by the clock
        at += rng.expovariate(per_s)
        await trio.sleep_until(at)
        rng.choice(devices).leave()


async def _sleep_and_wake(
    unrest: Unrest, devices: Sequence[Device], population: Population, rng: random.Random
) -> NoReturn:
    """One task for all sleepers. Whom it leaves asleep, others have to wake."""
    now = trio.current_time()
    sleepers = rng.sample(devices, round(unrest.sleepers * len(devices)))
    # the first sleeps are spread as if it had been going on for long
    turns = [(now + rng.random() * unrest.awake_s, device.index, device) for device in sleepers]
    heapify(turns)
    while turns:
        at, index, device = turns[0]
        await trio.sleep_until(at)
        if index in population.sleep:
            population.sleep.wake(index)
            lasts_s = unrest.awake_s
        else:
            goes = device.leave()  # else it is away for another reason: this time it does not sleep
            if goes:
                population.sleep.put(index)
            lasts_s = unrest.asleep_s if goes else unrest.awake_s
        heapreplace(turns, (at + lasts_s * (0.5 + rng.random()), index, device))
    await trio.sleep_forever()


async def _storm(
    unrest: Unrest, devices: Sequence[Device], population: Population, rng: random.Random
) -> None:
    await trio.sleep(unrest.storm_s)
    struck = rng.sample(devices, round(unrest.storm_share * len(devices)))
    for i, device in enumerate(struck, 1):
        if device.leave(suddenly=True):  # else it is away already
            population.struck(device.index)
        if i % _TURN == 0:
            await trio.lowlevel.checkpoint()
