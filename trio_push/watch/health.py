"""`/healthz`, `/stats` and `/memstats` of the wire listener, with the keys of Fleet's mock.

So that what watches Fleet's mock can watch this server; `api` tells the swarm where the
ledger is.
"""

from __future__ import annotations

import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from trio_push import __version__
from trio_push.node import Node
from trio_push.push import State
from trio_push.watch.whole import Figures, figures_of
from trio_push.wire.page import AnyRequest, Page, json_page
from trio_push.wire.query import split_target


class Health:
    """Answers of one node. Cheap: counters are read, nothing is walked."""

    def __init__(self, node: Node, api_url: str | None) -> None:
        self._node = node
        self._api_url = api_url

    def answer(self, request: AnyRequest) -> Page | None:
        """The answer to a request; None for one that is not for these paths."""
        if request.method not in (b"GET", b"HEAD"):
            return None
        path, _ = split_target(request.target)
        if path == b"/healthz":
            return Page(200, b"text/plain; charset=utf-8", b"ok\n")
        if path == b"/stats":
            return json_page(self.stats())
        if path == b"/memstats":
            return json_page(dict(memstats()))
        return None

    def stats(self) -> dict[str, Any]:
        node = self._node
        all_nodes = node.whole.figures()
        return {
            "node_id": node.id,
            "cluster_id": node.whole.id,
            "nodes": len(all_nodes),
            "node": _counters([figures_of(node)]),
            "cluster": _counters([*all_nodes, node.whole.past()]),
            "server": "trio-push",
            "version": __version__,
            "phase": node.phase,
            "api": self._api_url,
        }


def _counters(nodes: Sequence[Figures]) -> dict[str, int]:
    """The sums over some nodes."""

    def total(state: State) -> int:
        return sum(each.counts[state] for each in nodes)

    return {
        "active_connections": sum(each.devices for each in nodes),
        "total_pushes": sum(each.accepted for each in nodes),
        "delivered_live": total(State.DELIVERED_LIVE),
        "delivered_on_connect": total(State.DELIVERED_ON_CONNECT),
        # Fleet counts what was ever stored, of which we know what is or was delivered late
        "stored": total(State.STORED) + total(State.DELIVERED_ON_CONNECT),
        "coalesced": total(State.COALESCED),
        "discarded": total(State.DISCARDED),
        "claim_misses": 0,
        "redis_errors": 0,
    }


def memstats() -> dict[str, int]:
    """Memory of this process in bytes; `goroutines` are trio's tasks."""
    resident = _status_kib("VmRSS") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    data = _status_kib("VmData")
    return {
        "goroutines": trio.lowlevel.current_statistics().tasks_living,
        "heap_bytes": data * 1024,
        "stack_bytes": _status_kib("VmStk") * 1024,
        "in_use_bytes": resident * 1024,
    }


def _status_kib(key: str) -> int:
    """A line of /proc/self/status in KiB; 0 where there is no such file."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(key + ":")), 0)
