"""The parts of a swarm, made from its settings. What cannot work comes out here, at the start."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trio_push.swarm.agents import Agents
from trio_push.swarm.audit import Audit
from trio_push.swarm.crowd import (
    Crowd,
    Share,
    check_client,
    local_crowd,
    users_of,
    wall_offset_s,
)
from trio_push.swarm.driver import Driver
from trio_push.swarm.lane import Lane, Plan
from trio_push.swarm.lanes import MakeLanes, lanes_of, user_lanes_of
from trio_push.swarm.limits import (
    devices_per_process,
    ephemeral_ports,
    source_addresses,
    workers_needed,
)
from trio_push.swarm.provider import Provider
from trio_push.swarm.settings import SwarmSettings
from trio_push.swarm.stamp import Stamper
from trio_push.swarm.target import Target, look_up_server
from trio_push.swarm.tokens import GeneratedTokens, read_tokens
from trio_push.swarm.users import UserPlan
from trio_push.swarm.worker_processes import forked
from trio_push.swarm.workers import Start, Workers, orders


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What a run consists of; nothing of it has begun."""

    audit: Audit
    crowd: Crowd
    #: None: the swarm only listens
    driver: Driver | None


class Processes(NamedTuple):
    """Where the devices of a swarm live."""

    number: int
    #: starts them; None: it is this one
    start: Start | None


async def make_parts(
    settings: SwarmSettings, target: Target, api: Target | None, make_lanes: MakeLanes | None
) -> Parts:
    """`make_lanes` takes the place of `--via`.

    Raises ConfigError for what cannot work here, Unreachable for hosts that are not known.
    """
    # first: what follows takes memory and time for each device
    processes = await find_processes(settings)
    audit = Audit(settings.devices)
    share = share_of_all(settings, target)
    crowd = await make_crowd(settings, processes, share, target, audit)
    # devices of plain sockets speak no TLS, and a certificate is shown over nothing else
    pushed = target if settings.apns is None else await look_up_server(settings.apns, "--apns")
    driver = _driver(settings, share, pushed, api, audit, make_lanes)
    return Parts(audit=audit, crowd=crowd, driver=driver)


def share_of_all(settings: SwarmSettings, target: Target) -> Share:
    """All devices of a swarm, and the addresses that each machine has for its part of them."""
    here = settings.devices if target.is_loopback else devices_of_a_machine(settings)
    return Share(
        run=secrets.token_hex(4),
        tokens=_tokens(settings),
        users=users_of(settings),
        sources=source_addresses(target, here, ephemeral_ports()),
        seed=settings.seed,
    )


def devices_of_a_machine(settings: SwarmSettings) -> int:
    return -(-settings.devices // max(len(settings.agents), 1))


async def find_processes(settings: SwarmSettings) -> Processes:
    """As many as are asked for or needed, here or on the agents.

    Raises ConfigError when they cannot hold the devices, Unreachable.
    """
    if not settings.agents:
        number = _workers(settings, settings.workers, devices_per_process())
        return Processes(number, forked if number > 1 else None)
    agents = Agents(settings.agents, settings.agent_secret)
    fit = await agents.fit()
    number = _workers(settings, settings.workers, fit)
    if not settings.workers:
        number = _workers(settings, max(number, len(agents)), fit)
    return Processes(number, agents.start)


def _workers(settings: SwarmSettings, workers: int, fit: int) -> int:
    return workers_needed(settings.devices, workers, fit, settings.devices_per_user or 1)


async def make_crowd(
    settings: SwarmSettings, processes: Processes, share: Share, target: Target, audit: Audit
) -> Crowd:
    check_client(settings, target)
    if processes.start is None:
        return await local_crowd(settings, share, target, audit)
    return Workers(orders(settings, share, processes.number), processes.start, audit)


def make_driver(
    settings: SwarmSettings,
    share: Share,
    plan: Plan,
    lanes: Sequence[Lane],
    rate: float,
    addressees: Sequence[str] | None = None,
) -> Driver:
    """Sends to all devices, unless told to whom."""
    return Driver(
        lanes,
        share.tokens if addressees is None else addressees,
        plan,
        Stamper(share.run, settings.payload_bytes),
        rate=rate,
        seed=settings.seed,
        wall_offset_s=wall_offset_s(),
    )


def _driver(
    settings: SwarmSettings,
    share: Share,
    target: Target,
    api: Target | None,
    audit: Audit,
    make_lanes: MakeLanes | None,
) -> Driver | None:
    if not settings.push_rate:
        return None
    addressees: Sequence[str] = share.tokens
    plan: Plan = audit
    if make_lanes is None and share.users is not None and settings.addresses_users:
        addressees, plan = share.users, UserPlan(audit, share.users)
        make_lanes = user_lanes_of(
            share.users, share.tokens, settings.topic, ack=settings.ack, api_key=settings.api_key
        )
    via = "apns-h2" if settings.apns else settings.via
    make_lanes = make_lanes or lanes_of(
        via,
        Provider.of(settings),
        settings.push_rate,
        ack=settings.ack,
        api_key=settings.api_key,
    )
    lanes = make_lanes(target, api, audit)
    return make_driver(settings, share, plan, lanes, settings.push_rate, addressees)


def _tokens(settings: SwarmSettings) -> Sequence[str]:
    if settings.token_file is not None:
        return read_tokens(settings.token_file, settings.devices)
    return GeneratedTokens(settings.devices, prefix=settings.token_prefix, seed=settings.seed)
