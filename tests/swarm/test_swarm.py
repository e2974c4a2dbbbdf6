"""The swarm against the real server, and against servers that are not ours."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from tests.serving import PATIENCE_S
from tests.swarm.fake_server import HEAD, read_request, serving, unused_target
from trio_push.config import ServeSettings
from trio_push.errors import ConfigError, Unreachable
from trio_push.push import State
from trio_push.server import Server, open_server
from trio_push.swarm.lanes import MakeLanes, api_lanes, lanes_of
from trio_push.swarm.provider import Provider
from trio_push.swarm.report import Report
from trio_push.swarm.run import Run
from trio_push.swarm.settings import SwarmSettings
from trio_push.swarm.swarm import open_run, swarm
from trio_push.swarm.tokens import GeneratedTokens
from trio_push.wire.close_codes import GOING_AWAY

KEYS = {
    "devices": {"planned", "connected", "peak", "failed", "reconnects"},
    "pushes": {"sent", "accepted", "refused"},
    "deliveries": {"received", "lost", "duplicate", "late", "out_of_order"},
    "latency_ms": {"p50", "p90", "p99", "p999", "max"},
    "connect_ms": {"p50", "p90", "p99", "p999", "max"},
    "back_ms": {"p50", "p90", "p99", "p999", "max"},
    "books": {"balanced", "server", "swarm"},
}


@asynccontextmanager
async def server_of(**settings: Any) -> AsyncIterator[Server]:
    defaults = {"listen": ("127.0.0.1:0",), "api": "127.0.0.1:0", "drain_s": 1.0}
    async with open_server(ServeSettings(**defaults | settings)) as server:
        yield server


def settings_for(url: str, **settings: Any) -> SwarmSettings:
    return SwarmSettings(
        **{"url": url, "devices": 20, "ramp": 400, "duration_s": 1.0, "push_rate": 100} | settings
    )


async def run_swarm(settings: SwarmSettings, make_lanes: MakeLanes | None = None) -> Report:
    with trio.fail_after(PATIENCE_S):
        async with open_run(settings, make_lanes) as run:
            return await run.run()


def counts(report: Report, group: str, *names: str) -> tuple[int, ...]:
    return tuple(report.figures[group][name] for name in names)


@pytest.mark.parametrize("transport", ["sse", "ws", "mixed"])
@pytest.mark.parametrize("via", ["apns", "apns-h2", "api"])
async def test_every_push_is_accounted_for(via: str, transport: str) -> None:
    async with server_of() as server:
        settings = settings_for(server.addresses.wire[0], via=via, transport=transport)
        report = await run_swarm(settings)
    figures = report.figures
    assert set(figures) == {*KEYS, "worst", "thresholds", "duration_s", "seed"}
    assert all(keys <= set(figures[group]) for group, keys in KEYS.items())
    assert counts(report, "devices", "planned", "connected", "peak", "failed") == (20, 20, 20, 0)
    sent, accepted, refused = counts(report, "pushes", "sent", "accepted", "refused")
    assert sent == accepted == 100
    assert refused == 0
    assert counts(report, "deliveries", "received", "lost") == (accepted, 0)
    assert counts(report, "deliveries", "duplicate", "out_of_order") == (0, 0)
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["max"]
    assert figures["connect_ms"]["p50"] > 0
    assert figures["books"]["balanced"] is True
    assert figures["books"]["server"]["accepted"] == accepted
    assert report.exit_code == 0


@pytest.mark.parametrize("transport", ["sse", "ws", "mixed"])
async def test_library_devices(transport: str) -> None:
    async with server_of() as server:
        url = server.addresses.wire[0]
        report = await run_swarm(
            settings_for(url, client="library", devices=5, transport=transport)
        )
    assert counts(report, "devices", "connected", "failed") == (5, 0)
    assert report.figures["books"]["balanced"] is True
    assert report.figures["deliveries"]["received"] == report.figures["pushes"]["accepted"] > 0


@pytest.mark.parametrize(("via", "transport"), [("apns", "sse"), ("apns-h2", "ws")])
async def test_over_tls(
    via: str, transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca = trustme.CA()
    cert = ca.issue_cert("127.0.0.1")
    for name, blob in {"ca": ca.cert_pem, "key": cert.private_key_pem}.items():
        blob.write_to_path(str(tmp_path / name))
    cert.cert_chain_pems[0].write_to_path(str(tmp_path / "cert"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca"))
    async with server_of(
        tls_listen=("127.0.0.1:0",), tls_cert=str(tmp_path / "cert"), tls_key=str(tmp_path / "key")
    ) as server:
        url = server.addresses.tls[0]
        report = await run_swarm(
            settings_for(url, client="library", via=via, devices=5, transport=transport)
        )
        with pytest.raises(ConfigError, match="give --client library"):
            await run_swarm(settings_for(url))
    assert report.figures["books"]["balanced"] is True
    assert report.figures["deliveries"]["received"] == report.figures["pushes"]["accepted"] > 0


async def test_several_ways_at_once_and_delays() -> None:
    """As the demo does."""

    def make_lanes(*where: Any) -> Any:
        _, api, audit = where
        lanes = lanes_of("apns-h2", Provider(), 50)(*where)
        return [*lanes, *api_lanes(api, audit, delay_s=4)]

    async with server_of() as server:
        report = await run_swarm(settings_for(server.addresses.wire[0]), make_lanes)
    pushes = report.figures["pushes"]["accepted"]
    assert counts(report, "deliveries", "received", "lost") == (pushes, 0)
    assert report.figures["books"]["balanced"] is True
    # half of them were delayed, and that is no latency
    assert report.figures["latency_ms"]["p90"] < 4000


async def test_refusals_are_counted_by_reason(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("".join(f"{i:02x}\n" for i in range(10)))
    async with server_of() as server:
        server.node.router.unregister("07")
        report = await run_swarm(
            settings_for(server.addresses.wire[0], devices=10, token_file=str(tokens))
        )
    pushes = report.figures["pushes"]
    assert pushes["reasons"] == {"Unregistered": pushes["refused"]}
    assert 0 < pushes["refused"] == pushes["sent"] - pushes["accepted"]
    assert report.figures["devices"]["failed"] == 1
    # it may have tried again
    assert report.figures["devices"]["failures"].keys() == {"status 410"}
    assert report.figures["books"]["balanced"] is True


@pytest.mark.parametrize("client", ["lean", "library"])
@pytest.mark.parametrize("ack", [False, True])
async def test_acknowledged_or_not_nothing_is_lost_over_websocket(client: str, ack: bool) -> None:
    """The server drops every device once, while pushes go on."""
    async with server_of() as server, trio.open_nursery() as nursery:
        nursery.start_soon(drop_all, server)
        url = server.addresses.wire[0]
        report = await run_swarm(
            settings_for(url, via="api", transport="ws", ack=ack, client=client, duration_s=3.0)
        )
    figures = report.figures
    accepted = figures["pushes"]["accepted"]
    assert counts(report, "devices", "reconnects", "resumes", "not_recovered") == (20, 20, 0)
    assert counts(report, "deliveries", "received", "lost", "foreign") == (accepted, 0, 0)
    assert figures["deliveries"]["acknowledged"] >= accepted * ack
    assert figures["books"]["balanced"] is True, figures["books"]
    if ack:
        assert figures["books"]["server"]["acknowledged"] == accepted
    assert figures["devices"]["closes"] == {"going_away": 20}


async def test_acknowledgements_that_the_server_forgets_are_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trio_push.swarm.run.SETTLE_S", 0.5)
    forgotten = 0
    async with server_of() as server:
        acks = server.node.router.acks
        acknowledge = acks.acknowledge

        def forget_some(token: str, push_id: str) -> bool:
            nonlocal forgotten
            if push_id.startswith("0"):
                forgotten += 1
                return False
            return acknowledge(token, push_id)

        monkeypatch.setattr(acks, "acknowledge", forget_some)
        settings = settings_for(
            server.addresses.wire[0], via="api", transport="ws", ack=True, push_rate=200
        )
        report = await run_swarm(settings)
    why = f"{forgotten} pushes were acknowledged and the server still waits for that"
    assert report.figures["books"]["reasons"] == [why]
    assert report.exit_code == 99


@pytest.mark.parametrize("transport", ["sse", "ws"])
@pytest.mark.parametrize("client", ["lean", "library"])
async def test_storm(client: str, transport: str) -> None:
    """Who has an event can ask for what followed: it is all there, in the end."""
    async with server_of() as server:
        settings = settings_for(
            server.addresses.wire[0],
            via="api",
            transport=transport,
            client=client,
            reconnect="scale",
            storm_s=1.0,
            storm_share=0.5,
            duration_s=0,
            fail_if=("back<100%", "back_max>60s"),
        )
        async with open_run(settings) as run, trio.open_nursery() as nursery:

            async def stop_when_all_are_back() -> None:
                while run.look().connections.back < 10:
                    await trio.sleep(0.05)
                run.stop()

            nursery.start_soon(stop_when_all_are_back)
            with trio.fail_after(PATIENCE_S):
                report = await run.run()
    assert counts(report, "devices", "dropped", "back", "connected") == (10, 10, 20)
    assert counts(report, "devices", "reconnects", "not_recovered") == (10, 0)
    assert counts(report, "deliveries", "lost", "foreign") == (0, 0)
    assert report.exit_code == 0, report.figures


@pytest.mark.parametrize("transport", ["sse", "ws"])
async def test_churn_loses_nothing(transport: str) -> None:
    async with server_of() as server:
        settings = settings_for(
            server.addresses.wire[0],
            via="api",
            transport=transport,
            reconnect="scale",
            churn=50,
            duration_s=2.0,
            push_rate=400,
        )
        report = await run_swarm(settings)
    assert report.figures["devices"]["reconnects"] == pytest.approx(100, abs=60)
    assert report.figures["devices"]["not_recovered"] == 0
    assert counts(report, "deliveries", "lost", "duplicate", "foreign") == (0, 0, 0)
    assert report.figures["books"]["balanced"] is True, report.figures["books"]


@pytest.mark.parametrize("transport", ["sse", "ws"])
@pytest.mark.parametrize("client", ["lean", "library"])
async def test_slow_readers_read_all_in_the_end(client: str, transport: str) -> None:
    async with server_of() as server:
        settings = settings_for(
            server.addresses.wire[0], transport=transport, client=client, slow_readers=0.5
        )
        report = await run_swarm(settings)
    assert report.figures["latency_ms"]["p90"] > 300
    assert counts(report, "deliveries", "lost", "duplicate") == (0, 0)
    assert report.figures["books"]["balanced"] is True, report.figures["books"]


async def test_devices_that_resume_over_sse() -> None:
    async with server_of() as server, trio.open_nursery() as nursery:
        nursery.start_soon(drop_all, server)
        settings = settings_for(server.addresses.wire[0], via="api", duration_s=3.0)
        report = await run_swarm(settings)
    assert counts(report, "devices", "reconnects", "resumes", "not_recovered") == (20, 20, 0)
    assert counts(report, "deliveries", "lost", "duplicate", "foreign") == (0, 0, 0)
    assert report.figures["books"]["balanced"] is True


async def amid_the_pushes(server: Server) -> None:
    """Wait until all devices are there, and have been pushed to."""
    with trio.fail_after(PATIENCE_S):
        while server.node.ledger.accepted < 40:
            await trio.sleep(0.01)
    assert len(server.node.directory) == 20


async def drop_all(server: Server) -> None:
    await amid_the_pushes(server)
    for token in server.node.directory.tokens(None, 100):
        connection = server.node.directory.get(token)
        assert connection is not None
        server.node.router.delivery.disconnect(connection, GOING_AWAY)


async def test_devices_that_come_back_get_what_was_stored() -> None:
    """The server drops every device once; APNs keeps the newest push for each."""
    async with server_of() as server, trio.open_nursery() as nursery:

        async def drop_all() -> None:
            await amid_the_pushes(server)
            for token in server.node.directory.tokens(None, 100):
                connection = server.node.directory.get(token)
                assert connection is not None
                connection.close()

        nursery.start_soon(drop_all)
        report = await run_swarm(settings_for(server.addresses.wire[0], duration_s=3.0))
    assert report.figures["devices"]["reconnects"] == 20
    assert report.figures["books"]["balanced"] is True
    server_side = report.figures["books"]["server"]
    assert server_side["delivered_on_connect"] > 0
    assert server_side["coalesced"] > 0
    assert report.figures["deliveries"]["lost"] == 0


async def test_only_listening_while_others_push() -> None:
    async with server_of() as server, trio.open_nursery() as nursery:
        url = server.addresses.wire[0]

        async def somebody_else(listening: Run) -> None:
            while len(server.node.directory) < 20:
                await trio.sleep(0.01)
            # other devices' tokens would be other pushes: the same seed gives the same tokens
            await run_swarm(settings_for(url, path="/none?{token}"))
            listening.stop()

        async with open_run(settings_for(url, push_rate=0, duration_s=0)) as listening:
            nursery.start_soon(somebody_else, listening)
            with trio.fail_after(PATIENCE_S):
                report = await listening.run()
    assert report.figures["pushes"]["sent"] == 0
    assert report.figures["deliveries"]["received"] == report.figures["deliveries"]["foreign"] > 0
    assert report.figures["books"]["balanced"] is True
    assert report.figures["latency_ms"]["p50"] is None


async def test_thresholds_set_the_exit_code() -> None:
    async with server_of() as server:
        settings = settings_for(
            server.addresses.wire[0], duration_s=0.3, fail_if=("lost>0", "p50>0us", "failed>1%")
        )
        report = await run_swarm(settings)
    assert [verdict["failed"] for verdict in report.figures["thresholds"]] == [False, True, False]
    assert report.exit_code == 99


async def test_books_that_do_not_balance_set_the_exit_code() -> None:
    async with server_of() as server, trio.open_nursery() as nursery:

        async def cook_the_books() -> None:
            await trio.sleep(0.5)
            server.node.ledger.accepted += 1

        nursery.start_soon(cook_the_books)
        report = await run_swarm(settings_for(server.addresses.wire[0], duration_s=0.8))
    assert report.figures["books"]["balanced"] is False
    assert "the server's own ledger does not balance" in report.figures["books"]["reasons"]
    assert report.exit_code == 99


@pytest.mark.parametrize("workers", [1, 2])
async def test_devices_whose_pushes_get_lost_are_named(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server says to have delivered to two of them what it has not."""
    monkeypatch.setattr("trio_push.swarm.run.SETTLE_S", 0.5)
    monkeypatch.setattr("trio_push.swarm.run.QUIET_S", 0.3)
    tokens = GeneratedTokens(20, seed=0)
    async with server_of() as server:
        delivery = server.node.router.delivery
        deliver = delivery.deliver

        def forget(connection: Any, numbered: Any) -> State:
            if numbered.push.token in (tokens[3], tokens[15]):
                return State.DELIVERED_LIVE
            return deliver(connection, numbered)

        monkeypatch.setattr(delivery, "deliver", forget)
        report = await run_swarm(settings_for(server.addresses.wire[0], workers=workers))
    assert report.figures["deliveries"]["lost"] == 10
    named = {each["token"]: each["unseen"] for each in report.figures["worst"]}
    assert named == {tokens[3]: 5, tokens[15]: 5}
    assert report.exit_code == 99


@pytest.mark.parametrize("workers", [1, 2])
async def test_stopped_while_connecting(workers: int) -> None:
    async with server_of() as server:
        settings = settings_for(server.addresses.wire[0], ramp=5, devices=1000, workers=workers)
        async with open_run(settings) as run, trio.open_nursery() as nursery:

            async def stop() -> None:
                while not run.look().connections.now:
                    await trio.sleep(0.05)
                run.stop()

            nursery.start_soon(stop)
            with trio.fail_after(PATIENCE_S):
                report = await run.run()
    assert 0 < report.figures["devices"]["connected"] < 1000
    assert report.figures["devices"]["failed"] == 0
    assert report.figures["books"]["balanced"] is True


async def test_server_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_push.swarm.driver.ANSWERS_S", 0.5)
    monkeypatch.setattr("trio_push.swarm.run.SETTLE_S", 0.5)
    async with trio.open_nursery() as nursery, server_of() as server:
        reports: list[Report] = []

        async def watch() -> None:
            settings = settings_for(server.addresses.wire[0], duration_s=3.0)
            async with open_run(settings) as run:
                reports.append(await run.run())

        nursery.start_soon(watch)
        await amid_the_pushes(server)
        await server.drain()
    figures = reports[0].figures
    assert figures["books"]["balanced"] is False
    assert figures["devices"]["connected"] == 0
    assert figures["deliveries"]["lost"] == 0
    assert figures["pushes"]["unsent"] > 0
    assert reports[0].exit_code == 99


class TestForeignServers:
    """Servers that speak SSE and know nothing of ledgers."""

    async def test_own_side_alone(self) -> None:
        async def handler(stream: trio.SocketStream, request: bytes) -> None:
            if b"GET /sub/" in request:
                chunk = b"data: hello\n\n"
                await stream.send_all(HEAD.replace(b"Connection: close", b"X: y") + chunk)
                await trio.sleep_forever()
            await stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

        async with serving(handler) as target:
            settings = settings_for(
                target.url, path="/sub/{token}", push_rate=0, duration_s=0.3, devices=5
            )
            report = await run_swarm(settings)
        assert report.figures["books"]["balanced"] is None
        assert report.figures["books"]["server"] is None
        assert "audits its own side alone" in report.figures["books"]["reasons"][0]
        assert counts(report, "devices", "connected", "failed") == (5, 0)
        assert counts(report, "deliveries", "received", "lost") == (5, 0)
        assert report.exit_code == 0

    async def test_losses_of_an_apns_mock_without_a_ledger(self) -> None:
        """It accepts every push and delivers none."""

        async def handler(stream: trio.SocketStream, request: bytes) -> None:
            if request.startswith(b"GET /events"):
                await stream.send_all(HEAD)
                await trio.sleep_forever()
            while request:
                await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                request = await read_request(stream)

        async with serving(handler) as target:
            report = await run_swarm(
                settings_for(target.url, duration_s=0.3, fail_if=("lost>0",), devices=5)
            )
        accepted = report.figures["pushes"]["accepted"]
        assert report.figures["deliveries"]["lost"] == accepted > 0
        assert report.exit_code == 99

    async def test_server_at_its_limit(self) -> None:
        async def handler(stream: trio.SocketStream, request: bytes) -> None:
            await stream.send_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")

        async with serving(handler) as target:
            report = await run_swarm(
                settings_for(target.url, push_rate=0, duration_s=0.2, fail_if=("failed>1%",))
            )
        assert counts(report, "devices", "connected", "failed") == (0, 20)
        assert set(report.figures["devices"]["failures"]) == {"status 503"}
        assert report.exit_code == 99


async def test_nobody_listens() -> None:
    target = await unused_target()
    with pytest.raises(Unreachable, match="does not answer: connection refused"):
        await run_swarm(settings_for(target.url))


async def test_what_cannot_work_here() -> None:
    async with server_of(api="off") as server:
        url = server.addresses.wire[0]
        with pytest.raises(ConfigError, match="a process may open"):
            await run_swarm(settings_for(url, devices=10**8))
        with pytest.raises(ConfigError, match="give --api-url"):
            await run_swarm(settings_for(url, via="api"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_command(
    number: signal.Signals, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    async with server_of() as server, trio.open_nursery() as nursery:
        settings = settings_for(server.addresses.wire[0], duration_s=0, json=str(path))

        async def interrupt() -> None:
            while not server.node.ledger.counts[State.DELIVERED_LIVE]:
                await trio.sleep(0.05)
            signal.raise_signal(number)

        nursery.start_soon(interrupt)
        with trio.fail_after(PATIENCE_S):
            code = await swarm(settings)
    assert code == 0
    printed = capsys.readouterr().out
    assert "deliveries:" in printed
    assert "books:       balanced" in printed
    figures = json.loads(path.read_bytes())
    assert figures["deliveries"]["received"] > 0


async def test_report_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--json"):
        await swarm(settings_for("http://127.0.0.1:1", json=str(tmp_path / "absent" / "x")))
