"""Autobahn's test suite for WebSocket, the whole protocol, against both of our ends.

Its fuzzing client meets an endpoint of the server that echoes. Its fuzzing server meets the
swarm's lean device, which here echoes, too.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from wsproto.frame_protocol import FrameProtocol

from tests.conftest import AUTOBAHN
from tests.interop.conftest import ENVIRONMENT
from tests.interop.running import running
from tests.serving import PATIENCE_S
from trio_push.swarm.audit import Audit
from trio_push.swarm.device import ConnectFailed
from trio_push.swarm.lean_websocket import LeanWebSocketDevice
from trio_push.swarm.population import Destination, Population
from trio_push.swarm.stamp import Stamper
from trio_push.swarm.target import Target, look_up
from trio_push.wire import websocket_client
from trio_push.wire.websocket import Event, Message

pytestmark = pytest.mark.needs("autobahn")

#: Groups of cases: framing, pings, reserved bits, opcodes, fragmentation, UTF-8, closing, limits
#: and performance, and one that is different. 12 and 13 are compression, which is declined.
GROUPS = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1}
#: seconds that all of them together may take
ALL_CASES_S = 900.0

#: What Autobahn gives no verdict on, at either end: the RFC leaves it open.
NO_VERDICT = {
    "7.1.6",  # a close frame right behind a message of 256 KiB: we close before all is echoed
    "7.13.1",  # code 5000, and
    "7.13.2",  # code 65535, which no frame should have: both are protocol errors to us
}

#: case → verdicts on its conversation and on how that was closed
Verdicts = dict[str, tuple[str, str]]


@pytest.fixture(scope="module", params=["server", "device"])
def verdicts(
    request: pytest.FixtureRequest, tls_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Verdicts:
    """What a run of all groups says about one of our ends."""
    folder = tmp_path_factory.mktemp("autobahn")
    if request.param == "server":
        run_fuzzing_client(folder, tls_dir)
    else:
        run_fuzzing_server(folder)
    index = json.loads((folder / "reports" / "index.json").read_text())
    return {
        case: (verdict["behavior"], verdict["behaviorClose"])
        for case, verdict in index["trio-push"].items()
    }


@pytest.mark.parametrize(("group", "cases"), GROUPS.items())
def test_every_case_is_passed(verdicts: Verdicts, group: str, cases: int) -> None:
    of_group = {case: v for case, v in verdicts.items() if case.partition(".")[0] == group}
    assert len(of_group) == cases
    good = {("OK", "OK")}
    for case, verdict in of_group.items():
        allowed = good | {("INFORMATIONAL",) * 2} if case in NO_VERDICT else good
        assert verdict in allowed, case


@contextmanager
def wstest(folder: Path, mode: str, **spec: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Autobahn's command, running all groups while the block runs; reports go into `folder`."""
    run = {
        "outdir": str(folder / "reports"),
        "cases": [f"{group}.*" for group in GROUPS],
        "exclude-cases": [],
        "exclude-agent-cases": {},
        **spec,
    }
    (folder / "run.json").write_text(json.dumps(run))
    # without the web page that it else serves on port 8080
    command = [AUTOBAHN / "bin" / "wstest", "-m", mode, "-s", folder / "run.json", "-u", "0"]
    environment = ENVIRONMENT | {"PYTHONUSERBASE": str(AUTOBAHN)}
    with (
        (folder / "output").open("wb") as output,
        subprocess.Popen(command, env=environment, stdout=output, stderr=output) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


# -- against our server


def run_fuzzing_client(folder: Path, tls_dir: Path) -> None:
    # Pings of ours would be events that no case expects.
    with running(tls_dir, debug_echo=True, keepalive_s=0) as server:
        url = f"{server.plain.replace('http', 'ws')}/echo?token=aa"
        servers = [{"agent": "trio-push", "url": url}]
        with wstest(folder, "fuzzingclient", servers=servers) as client:
            assert client.wait(ALL_CASES_S) == 0, (folder / "output").read_text()


# -- against our device


def run_fuzzing_server(folder: Path) -> None:
    port = free_port()
    with wstest(folder, "fuzzingserver", url=f"ws://127.0.0.1:{port}"):
        trio.run(be_every_case, f"http://127.0.0.1:{port}")


def free_port() -> int:
    """A port nobody listens on now: wstest cannot say which one it took for port 0."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


async def be_every_case(url: str) -> None:
    """Be the device of each case in turn, and have the reports written."""
    target = await look_up(url, "--url")
    with trio.fail_after(PATIENCE_S):
        await until_listening(target)
    with trio.fail_after(ALL_CASES_S):
        for case in range(1, sum(GROUPS.values()) + 1):
            await EchoDevice(target, f"/runCase?case={case}&agent=trio-push").live()
        await EchoDevice(target, "/updateReports?agent=trio-push").live()


async def until_listening(target: Target) -> None:
    while True:
        try:
            return await EchoDevice(target, "/getCaseCount").live()
        except ConnectFailed:
            await trio.sleep(0.05)


class EchoDevice(LeanWebSocketDevice):
    """A lean device that says back what it hears, as much as that may be.

    One that expects pushes says little, and takes a server that does not read for gone; so here
    all that is to be said, in its order, goes through a buffer.
    """

    __slots__ = ("_unsent",)

    def __init__(self, target: Target, path: str) -> None:
        destination = Destination(
            target=target, tokens=["aa"], path=path, connect_timeout_s=PATIENCE_S
        )
        super().__init__(
            0, Population(destination, Audit(1), Stamper("run"), seed=0, wall_offset_s=0)
        )
        self._unsent = bytearray()

    async def live(self) -> None:
        """From connecting to the end of the stream. Raises ConnectFailed."""
        await self.connect()
        try:
            while self.read():
                await self._flush()
                await trio.lowlevel.wait_readable(self._socket)
            await self._flush()
        finally:
            await self.close()

    def _act(self, event: Event) -> bytes:
        if isinstance(event, Message):
            self._unsent += echo(event)
        else:
            self._unsent += super()._act(event)
        return b""

    async def _flush(self) -> None:
        assert self._socket is not None
        while self._unsent:
            try:
                del self._unsent[: self._socket.send(self._unsent)]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._socket)
            except OSError:
                return  # who is gone hears nothing


def echo(message: Message) -> bytes:
    """The message as a device's frame. Devices of the swarm never send a binary one."""
    if message.is_text:
        return websocket_client.text_frame(message.payload)
    frames = FrameProtocol(client=True, extensions=[])
    return bytes(frames.send_data(message.payload, fin=True))
