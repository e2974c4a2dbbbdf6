"""What compose.yaml describes: it is valid, and its programs together do what it promises.

Containers need an engine, which is not everywhere. So the commands that stand in the file are run
as plain processes, with the same flags and the same configuration of the balancer. Each service
has an address of loopback to itself, where it has the ports that it has in its container; names of
services are replaced by these addresses, and nothing else.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import yaml

from tests.serving import PATIENCE_S, Peer
from tests.workers.running import until

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
BALANCER = (ROOT / "haproxy.cfg").read_text()
NODES = ("node1", "node2")
#: where the API of each node is published
PUBLISHED = {"node1": 8181, "node2": 8182}


class Network:
    """An address for each service, in a corner of loopback that nobody else is likely to use."""

    def __init__(self) -> None:
        corner = f"127.{random.randint(64, 250)}.{random.randint(1, 250)}"
        self.addresses = {name: f"{corner}.{i}" for i, name in enumerate(SERVICES, 1)}

    def url(self, service: str, port: int) -> str:
        return f"http://{self.addresses[service]}:{port}"

    def translated(self, text: str, service: str) -> str:
        """What a service is told, with addresses for names."""
        names = "|".join(self.addresses)
        text = re.sub(rf"\b({names})(?=:\d)", lambda name: self.addresses[name[1]], text)
        return text.replace("0.0.0.0", self.addresses[service])

    def command(self, service: str) -> list[str]:
        return [self.translated(part, service) for part in SERVICES[service]["command"]]


class Cluster:
    """The running processes, by the names of their services."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network = network
        self.processes: dict[str, trio.Process] = {}
        self._folder = folder
        self.wire = network.url("balancer", 8080)
        self.apis = [network.url(node, 8081) for node in NODES]

    async def start(self, service: str, command: list[str], cwd: Path = ROOT) -> None:
        with (self._folder / f"{service}.log").open("wb") as log:
            self.processes[service] = await trio.lowlevel.open_process(
                command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    async def stop(self, service: str) -> int:
        process = self.processes.pop(service)
        process.terminate()
        with trio.fail_after(PATIENCE_S):
            return await process.wait()

    async def healthy(self, service: str, check: Callable[[], Awaitable[bool]]) -> None:
        """As soon as the service passes the check; fails when it has ended."""

        async def is_healthy() -> bool:
            code = self.processes[service].returncode
            assert code is None, (self._folder / f"{service}.log").read_text()
            try:
                return await check()
            except (OSError, AssertionError):
                return False

        await until(is_healthy)

    async def devices(self) -> list[int]:
        """How many each node has."""
        pages = [await get(url, "/v1/devices?limit=1") for url in self.apis]
        return [page["total"] for _, page in pages]


async def get(url: str, path: str) -> tuple[int, Any]:
    async with Peer.connected(url) as peer:
        response = await peer.request("GET", path, connection="close")
    is_json = "json" in response.headers["content-type"]
    return response.status, json.loads(response.body) if is_json else response.body


@pytest.fixture
async def cluster(tmp_path: Path, tool: Callable[[str], str]) -> AsyncIterator[Cluster]:
    async with running(tmp_path, tool) as cluster:
        yield cluster


@asynccontextmanager
async def running(folder: Path, tool: Callable[[str], str]) -> AsyncIterator[Cluster]:
    """All services, started in the order in which they depend on each other."""
    network = Network()
    cluster = Cluster(network, folder)
    try:
        # in a container it is reached at every address
        address = ["--bind", network.addresses["redis"]]
        redis = [tool("redis-server"), *network.command("redis")[1:], *address]
        await cluster.start("redis", redis, cwd=folder)
        await cluster.healthy("redis", partial(answers, network.addresses["redis"]))
        for node in NODES:
            await cluster.start(node, [sys.executable, "-m", "trio_push", *network.command(node)])
        for node, api in zip(NODES, cluster.apis, strict=True):
            await cluster.healthy(node, partial(is_ready, api))
        config = folder / "haproxy.cfg"
        config.write_text(network.translated(BALANCER, "balancer"))
        await cluster.start("balancer", [tool("haproxy"), "-f", str(config)])
        await cluster.healthy("balancer", partial(is_ready, network.url("balancer", 8081)))
        yield cluster
    finally:
        with trio.CancelScope(shield=True):
            for process in cluster.processes.values():
                process.kill()
                await process.wait()


async def answers(host: str) -> bool:
    """Whether a Redis does, to what its health check asks."""
    async with await trio.open_tcp_stream(host, 6379) as stream:
        await stream.send_all(b"PING\r\n")
        return bytes(await stream.receive_some()).startswith(b"+PONG")


async def is_ready(api: str) -> bool:
    return (await get(api, "/readyz"))[0] == 200


@pytest.mark.needs("docker-compose")
def test_the_file_is_valid(tool: Callable[[str], str]) -> None:
    done = subprocess.run(
        [tool("docker-compose"), "-f", "compose.yaml", "config"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["services"].keys() == SERVICES.keys()


def test_what_it_names_is_there() -> None:
    for service in SERVICES.values():
        if "build" in service:
            assert (ROOT / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / source).is_file()
        assert set(service.get("depends_on", ())) <= SERVICES.keys()
    assert {name for name, each in SERVICES.items() if "build" in each} == set(NODES)


def test_it_is_published_to_this_machine_alone() -> None:
    """Nobody is asked who they are: --no-auth."""
    ports = {
        name: [port.split(":") for port in service.get("ports", ())]
        for name, service in SERVICES.items()
    }
    assert {where[0] for each in ports.values() for where in each} == {"127.0.0.1"}
    assert {name: int(ports[name][0][1]) for name in NODES} == PUBLISHED
    assert ports["redis"] == []
    listening = re.findall(r"bind 0\.0\.0\.0:(\d+)", BALANCER)
    assert [inside for _, _, inside in ports["balancer"]] == listening


@pytest.mark.needs("haproxy", "redis-server")
async def test_a_swarm_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    flags = ["--devices=200", "--ramp=200", "--push-rate=100", "--via=apns-h2", "--duration=3s"]
    apis = [f"--api-url={url}" for url in cluster.apis]
    command = [sys.executable, "-m", "trio_push", "swarm", f"--url={cluster.wire}", *apis]
    with trio.fail_after(3 * PATIENCE_S):
        done = await trio.run_process(
            [*command, *flags, f"--json={report}"], cwd=ROOT, check=False, capture_stdout=True
        )
    assert done.returncode == 0, done.stdout.decode()
    figures = json.loads(report.read_bytes())
    assert figures["devices"]["connected"] == 200
    assert figures["pushes"]["accepted"] > 250
    assert figures["deliveries"]["received"] == figures["pushes"]["accepted"]
    assert figures["deliveries"]["lost"] == figures["deliveries"]["duplicate"] == 0
    assert figures["books"]["balanced"] is True, figures["books"]


@pytest.mark.needs("haproxy", "redis-server")
async def test_devices_are_spread_and_a_node_may_go(cluster: Cluster) -> None:
    tokens = [f"{n:04x}" for n in range(10)]
    async with trio.open_nursery() as nursery:
        for token in tokens:
            nursery.start_soon(keep_listening, cluster.wire, token)

        async def are_spread() -> bool:
            devices = await cluster.devices()
            return sum(devices) == len(tokens) and min(devices) > 0

        await until(are_spread)

        async def know_of_each_other() -> bool:
            return [(await get(api, "/v1/ledger"))[1]["elsewhere"] for api in cluster.apis] == [
                1,
                1,
            ]

        await until(know_of_each_other)
        assert await cluster.stop("node1") == 0
        cluster.apis.pop(0)

        async def are_all_at_the_other() -> bool:
            return await cluster.devices() == [len(tokens)]

        await until(are_all_at_the_other)
        async with Peer.connected(cluster.wire) as provider:
            for token in tokens:
                assert (await provider.push(token)).status == 200
        _, books = await get(cluster.apis[0], "/v1/ledger")
        assert books["ended"]["delivered"] == len(tokens)
        nursery.cancel_scope.cancel()


async def keep_listening(url: str, token: str) -> None:
    """A device that comes back."""
    while True:
        async with Peer.connected(url) as device:
            try:
                await device.listen(token)
                while await device.receive():
                    pass
            except (AssertionError, trio.BrokenResourceError):
                pass  # at a node that ends
        await trio.sleep(0.1)
