"""The parts of a swarm, made from its settings. What cannot work comes out here, at the start."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from trio_push.swarm.audit import Audit
from trio_push.swarm.crowd import Crowd, Share, check_client, local_crowd, wall_offset_s
from trio_push.swarm.driver import Driver
from trio_push.swarm.lanes import MakeLanes
from trio_push.swarm.limits import (
    devices_per_process,
    ephemeral_ports,
    source_addresses,
    workers_needed,
)
from trio_push.swarm.settings import SwarmSettings
from trio_push.swarm.stamp import Stamper
from trio_push.swarm.target import Target
from trio_push.swarm.tokens import GeneratedTokens, read_tokens
from trio_push.swarm.worker_processes import forked
from trio_push.swarm.workers import Workers, orders


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What a run consists of; nothing of it has begun."""

    audit: Audit
    crowd: Crowd
    #: None: the swarm only listens
    driver: Driver | None


async def make_parts(
    settings: SwarmSettings, target: Target, api: Target | None, make_lanes: MakeLanes
) -> Parts:
    """Raises ConfigError for what cannot work here, Unreachable for hosts that are not known."""
    check_client(settings, target)
    workers = workers_needed(settings.devices, settings.workers, devices_per_process())
    audit = Audit(settings.devices)
    share = Share(
        run=secrets.token_hex(4),
        tokens=_tokens(settings),
        sources=source_addresses(target, settings.devices, ephemeral_ports()),
        seed=settings.seed,
    )
    driver = None
    if settings.push_rate:
        driver = Driver(
            make_lanes(target, api, audit),
            share.tokens,
            audit,
            Stamper(share.run, settings.payload_bytes),
            rate=settings.push_rate,
            seed=settings.seed,
            wall_offset_s=wall_offset_s(),
        )
    crowd: Crowd
    if workers == 1:
        crowd = await local_crowd(settings, share, target, audit)
    else:
        crowd = Workers(orders(settings, share, workers), forked, audit)
    return Parts(audit=audit, crowd=crowd, driver=driver)


def _tokens(settings: SwarmSettings) -> Sequence[str]:
    if settings.token_file is not None:
        return read_tokens(settings.token_file, settings.devices)
    return GeneratedTokens(settings.devices, prefix=settings.token_prefix, seed=settings.seed)
