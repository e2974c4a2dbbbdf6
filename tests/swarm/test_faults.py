"""A swarm against a server that misbehaves on demand: what is no loss is none, and all balances."""

from __future__ import annotations

import pytest
import trio

from tests.swarm.test_swarm import counts, run_swarm, server_of, settings_for
from trio_push.faults import SCENARIOS, Match, Rule
from trio_push.faults.actions import (
    Action,
    DisconnectDevice,
    Duplicate,
    Lose,
    Reorder,
    ResetStream,
    Status,
    TcpReset,
)
from trio_push.faults.latency import Fixed
from trio_push.server import Server


def befall(server: Server, *actions: Action, share: float = 0.2) -> None:
    rules = [Rule(match=Match(share=share), action=action) for action in actions]
    server.node.faults.add(rules, trio.current_time())


@pytest.mark.parametrize("via", ["apns", "apns-h2", "api"])
async def test_what_is_lost_on_demand_is_set_apart(via: str) -> None:
    async with server_of() as server:
        befall(server, Lose(), Duplicate())
        report = await run_swarm(settings_for(server.addresses.wire[0], via=via))
    books = report.figures["books"]
    lost, doubled = books["faults"]["lose"], books["faults"]["duplicate"]
    assert lost > 5
    assert doubled > 5
    assert books["balanced"], books
    assert books["server"]["lost_by_fault"] == lost
    assert counts(report, "deliveries", "lost", "duplicate") == (0, doubled)
    [accepted] = counts(report, "pushes", "accepted")
    assert counts(report, "deliveries", "received") == (accepted - lost,)
    assert report.exit_code == 0


async def test_out_of_order_on_demand() -> None:
    async with server_of() as server:
        befall(server, Reorder(by=Fixed(0.3)))
        settings = settings_for(server.addresses.wire[0], devices=2, push_rate=100)
        report = await run_swarm(settings)
    assert report.figures["deliveries"]["out_of_order"] > 5
    assert report.figures["deliveries"]["lost"] == 0
    assert report.figures["books"]["balanced"], report.figures["books"]


@pytest.mark.parametrize("via", ["apns", "apns-h2"])
async def test_refused_and_cut_off(via: str) -> None:
    async with server_of() as server:
        befall(server, Status(reason="TooManyRequests", status=429))
        befall(server, TcpReset(), TcpReset(processed=True), share=0.02)
        befall(server, ResetStream(), ResetStream(processed=True), share=0.1)
        report = await run_swarm(settings_for(server.addresses.wire[0], via=via))
    figures = report.figures
    assert figures["pushes"]["reasons"]["TooManyRequests"] > 5
    assert figures["deliveries"]["lost"] == 0
    assert figures["books"]["balanced"], figures


async def test_devices_that_are_disconnected() -> None:
    async with server_of() as server:
        befall(server, DisconnectDevice("before"), DisconnectDevice("after"), share=0.05)
        settings = settings_for(server.addresses.wire[0], push_rate=50)
        report = await run_swarm(settings)
    assert report.figures["devices"]["reconnects"] > 0
    assert report.figures["deliveries"]["lost"] == 0
    assert report.figures["books"]["balanced"], report.figures["books"]


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_every_scenario_balances(scenario: str) -> None:
    async with server_of(scenario=(scenario,)) as server:
        settings = settings_for(server.addresses.wire[0], via="apns-h2", devices=100)
        report = await run_swarm(settings)
    figures = report.figures
    assert figures["deliveries"]["lost"] == 0
    assert figures["books"]["balanced"], figures
    assert (scenario == "magic-tokens") or figures["books"]["faults"]
