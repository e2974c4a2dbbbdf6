"""A redis-server of the tests' own, which can be stopped, killed, slowed down and started again.

@pytest.mark.needs("redis-server")
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trio_push.engine.url import RedisUrl

#: seconds that a server may take to come up on a machine that runs other things too
PATIENCE_S = 30


class RedisServer:
    """One process on a Unix socket, or for a cluster on a port; what it wrote survives it."""

    def __init__(self, folder: Path, *, port: int = 0, options: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.socket = folder / "r.sock"
        self.port = port
        self._options = options
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
        self._process = subprocess.Popen([program, *where, *files, *self._options])
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.01)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(str(self.socket))
                sock.sendall(b"PING\r\n")
                return sock.recv(100).startswith(b"+PONG")
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
def redis_server(*options: str, port: int = 0) -> Iterator[RedisServer]:
    # Not under pytest's folder: the path of a Unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder), port=port, options=options)
        server.start()
        try:
            yield server
        finally:
            server.close()
