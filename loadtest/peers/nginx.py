"""nginx with the Nchan module: one channel per device token, and one that all listen to.

`nginx.conf` is the template of its configuration.
"""

from __future__ import annotations

import os
import shutil
import socket
import string
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import trio

from loadtest.child import Address, Failed, running
from loadtest.peers.peer import Peer, Server, post

_MODULE: Final = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
_TEMPLATE: Final = Path(__file__).with_name("nginx.conf")
_START_S: Final = 10
#: Debian keeps nginx where only root's PATH looks
_PATH: Final = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))


def _nginx() -> str | None:
    return shutil.which("nginx", path=_PATH)


def _missing() -> str | None:
    if _nginx() is not None and _MODULE.exists():
        return None
    return "apt install nginx libnginx-mod-nchan"


@asynccontextmanager
async def _serve() -> AsyncIterator[Server]:
    wire, h2 = _free_address(), _free_address()
    nginx = _nginx()
    assert nginx is not None
    with tempfile.TemporaryDirectory(prefix="loadtest-nginx-") as directory:
        config = Path(directory) / "nginx.conf"
        config.write_text(
            string.Template(_TEMPLATE.read_text()).substitute(
                module=_MODULE,
                directory=directory,
                # a worker of root's nginx would become nobody and not reach the directory
                user="user root;" if os.geteuid() == 0 else "",
                wire=f"{wire[0]}:{wire[1]}",
                h2=f"{h2[0]}:{h2[1]}",
            )
        )
        async with running([nginx, "-p", directory, "-c", str(config)]) as child:
            await _until_accepting(wire)
            yield Server(child, wire, h2, partial(_broadcast, wire))


def _free_address() -> Address:
    """An address nobody listens on now; nginx cannot say which one it took for port 0."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
    return (host, port)


async def _until_accepting(address: Address) -> None:
    """Wait until connections are taken. Raises Failed when that does not come about."""
    with trio.move_on_after(_START_S):
        while True:
            try:
                await (await trio.open_tcp_stream(*address)).aclose()
                return
            except OSError:
                await trio.sleep(0.05)
    raise Failed(f"nginx does not accept on {address}")


async def _broadcast(wire: Address, text: str) -> None:
    await post(wire, "/broadcast", text.encode(), "text/plain")


NGINX = Peer("nginx + Nchan", _serve, _missing, broadcast_path="/all")
