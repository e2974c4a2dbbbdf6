"""A redis-server of the tests' own, which can be stopped, killed, slowed down and started again.

@pytest.mark.needs("redis-server")
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import trustme

from tests.serving import PATIENCE_S
from trio_push.engine.url import RedisUrl


class RedisServer:
    """One process on a Unix socket, or for a cluster on a port; what it wrote survives it."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        options: tuple[str, ...] = (),
        within: tuple[str, ...] = (),
    ) -> None:
        """`within`: what the command begins with."""
        self.folder = folder
        self.socket = folder / "r.sock"
        self.port = port
        self._options = options
        self._within = within
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> RedisUrl:
        return RedisUrl.parse(self.url_text)

    @property
    def url_text(self) -> str:
        return f"unix:{self.socket}"

    def start(self) -> None:
        program = shutil.which("redis-server")
        assert program, "mark the test with needs"
        where = ("--port", str(self.port), "--unixsocket", str(self.socket))
        files = ("--dir", str(self.folder), "--save", "", "--appendonly", "yes", "--logfile", "log")
        # Not our output: whoever reads that to its end would wait for this process too.
        command = [*self._within, program, *where, *files, *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_S
        while not self.says("PING", b"+PONG"):
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.01)

    def says(self, command: str, answer: bytes) -> bool:
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(str(self.socket))
                sock.sendall(command.encode() + b"\r\n")
                return answer in sock.recv(4096)
            except OSError:
                return False

    def pause(self) -> None:
        """It answers no more, and holds its connections."""
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        self._send(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()
        self.socket.unlink(missing_ok=True)
        self._process = None

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def close(self) -> None:
        if self._process is not None:
            self.go_on()
            self.kill()


@contextmanager
def redis_server(
    *options: str, port: int = 0, within: tuple[str, ...] = ()
) -> Iterator[RedisServer]:
    # Not under pytest's folder: the path of a Unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder), port=port, options=options, within=within)
        server.start()
        try:
            yield server
        finally:
            server.close()


@contextmanager
def redis_with_tls(folder: Path) -> Iterator[str]:
    """The URL of a redis-server that speaks nothing but TLS."""
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(folder / "cert.pem", append=True)
    [port] = free_ports(1)
    options = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    for name in ("cert", "key", "ca"):
        option = "--tls-ca-cert-file" if name == "ca" else f"--tls-{name}-file"
        options += [option, str(folder / f"{name}.pem")]
    with redis_server(*options):
        yield f"rediss://localhost:{port}?ca={folder}/ca.pem"


class RedisCluster:
    """Three primaries on ports of loopback, and if asked for a replica of each."""

    def __init__(self, servers: list[RedisServer]) -> None:
        self.servers = servers

    @property
    def url(self) -> RedisUrl:
        return RedisUrl.parse(self.url_text)

    @property
    def url_text(self) -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        return f"redis+cluster://{hosts}"

    def create(self, replicas: int) -> None:
        hosts = [f"127.0.0.1:{server.port}" for server in self.servers]
        options = ("--cluster-yes", "--cluster-replicas", str(replicas))
        command = ["redis-cli", "--cluster", "create", *hosts, *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_S
        while not self._is_up(replicas):
            assert time.monotonic() < deadline, "the cluster does not come up"
            time.sleep(0.05)

    def _is_up(self, replicas: int) -> bool:
        ok = [server.says("CLUSTER INFO", b"cluster_state:ok") for server in self.servers]
        synced = [
            server.says("INFO replication", b"master_link_status:up") for server in self.servers
        ]
        return all(ok) and sum(synced) == 3 * replicas


@contextmanager
def redis_cluster(replicas: int = 0) -> Iterator[RedisCluster]:
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
    options += ("--repl-diskless-sync-delay", "0")
    with ExitStack() as stack:
        servers = [
            stack.enter_context(redis_server(*options, port=port))
            for port in free_ports(3 * (1 + replicas))
        ]
        cluster = RedisCluster(servers)
        cluster.create(replicas)
        yield cluster


def free_ports(count: int) -> list[int]:
    """Ports that are free now, as is what a cluster's node also takes: 10000 above.

    Both are below those that the kernel gives to whoever asks for any: nobody comes by one of them
    before it is used.
    """
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < count:
            sock, bus = (stack.enter_context(socket.socket()) for _ in range(2))
            port = random.SystemRandom().randrange(12_000, 22_000)
            try:
                sock.bind(("127.0.0.1", port))
                bus.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            found.append(port)
    return found
