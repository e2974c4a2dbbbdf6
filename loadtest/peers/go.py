"""Go's net/http holding event streams: the plain handler, and one that hijacks the connection.

`go/main.go` is what a Go programmer would write for the same two endpoints.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from loadtest.child import Address, running
from loadtest.peers.peer import Peer, Server, post

_SOURCE = Path(__file__).parent / "go" / "main.go"


def _missing() -> str | None:
    return None if shutil.which("go") else "apt install golang-go"


@asynccontextmanager
async def _serve(flags: Sequence[str]) -> AsyncIterator[Server]:
    with tempfile.TemporaryDirectory(prefix="loadtest-go-") as directory:
        program = str(Path(directory) / "pushserver")
        await trio.run_process(
            ["go", "build", "-o", program, str(_SOURCE)],
            env={**os.environ, "GO111MODULE": "off", "GOFLAGS": ""},
        )
        async with running([program, *flags]) as child:
            wire = await child.listening("wire")
            yield Server(child, wire, None, partial(_broadcast, wire))


async def _broadcast(wire: Address, text: str) -> None:
    await post(wire, "/broadcast", text.encode(), "text/plain")


GO = Peer("Go net/http", partial(_serve, ()), _missing)
GO_HIJACKED = Peer("Go, hijacked", partial(_serve, ("-hijack",)), _missing)
