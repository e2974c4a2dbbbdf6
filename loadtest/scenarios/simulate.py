"""simulate: the traffic between nodes and Redis at sizes that no machine here holds.

Nothing is measured. Four moments of each size: a quiet one, a rollout in which every device gets a
push within a quarter of an hour, a rush in which it does within a minute, and a storm in which a
tenth of the devices come back at once. Commands are for each push, node is CPU of nodes for each
push, busiest is the primary that has most to do, and MiB is the registry's part in each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from loadtest.report import Bound, Column, Measured, Report, Sample
from loadtest.simulation import BUSY, Cluster, settle

#: of a quiet hour: every device gets a push, and has been connected for four
_QUIET_PUSH_S: Final = 3600
_SESSION_S: Final = 4 * 3600
#: in a rollout, and in a rush, every device gets a push within that time
_ROLLOUT_S: Final = 900
_RUSH_S: Final = 60
#: a tenth of the devices come back within that time, as their back-off spreads them
_STORM_SHARE: Final = 0.1
_STORM_S: Final = 30
#: pushes and connects that are drawn; more would change no digit shown
_EVENTS: Final = 100_000

_COLUMNS = (
    Column("nodes", "nodes"),
    Column("pushes", "pushes/s"),
    Column("connects", "connects/s"),
    Column("commands_per_push", "commands", 2),
    Column("kcommands", "Redis, k/s"),
    Column("busiest_percent", "busiest, %"),
    Column("round_trip_ms", "round trip, ms"),
    Column("node_us", "node, µs", 1),
    Column("registry_mib", "MiB"),
)


def run(
    devices: tuple[int, ...], devices_per_node: int, entries: int, shards: int, seed: int
) -> Report:
    """One row for each size and moment. A primary that is too busy misses the bound."""
    measured = Measured()
    for size in devices:
        for name, cluster in _moments(size, devices_per_node, entries, shards):
            measured.samples[f"{_short(size)} {name}"] = [_sample(cluster, seed)]
    most = {
        metric: max(measured.figure(name, metric) for name in measured.samples)
        for metric in ("busiest_percent", "round_trip_ms")
    }
    parameters = {
        "devices/node": devices_per_node,
        "entries": entries or "all",
        "primaries": shards,
        "seed": seed,
    }
    bounds = [
        Bound("busiest primary, % of its time", most["busiest_percent"], "at most", 100 * BUSY),
        Bound("longest round trip, ms", most["round_trip_ms"], "at most", 100, aim=5),
    ]
    return Report("simulate", parameters, _COLUMNS, measured, bounds)


def _moments(
    devices: int, devices_per_node: int, entries: int, shards: int
) -> Iterator[tuple[str, Cluster]]:
    quiet = Cluster(
        devices=devices,
        devices_per_node=devices_per_node,
        entries=entries,
        shards=shards,
        pushes_per_s=devices / _QUIET_PUSH_S,
        connects_per_s=devices / _SESSION_S,
    )
    yield "quiet", quiet
    yield "rollout", replace(quiet, pushes_per_s=devices / _ROLLOUT_S)
    yield "rush", replace(quiet, pushes_per_s=devices / _RUSH_S)
    yield "storm", replace(quiet, connects_per_s=_STORM_SHARE * devices / _STORM_S)


def _sample(cluster: Cluster, seed: int) -> Sample:
    cluster, traffic = settle(cluster, _EVENTS, seed)
    return {
        "nodes": cluster.nodes,
        "pushes": cluster.pushes_per_s,
        "connects": cluster.connects_per_s,
        "commands_per_push": traffic.commands_per_push,
        "commands_per_connect": traffic.commands_per_connect,
        "pushes_per_message": traffic.pushes_per_message,
        "kcommands": traffic.commands_per_s / 1e3,
        "busiest_percent": traffic.busiest_shard * 100,
        "round_trip_ms": cluster.round_trip_s * 1e3,
        "node_us": traffic.node_us_per_push,
        "registry_mib": traffic.registry_bytes_per_shard / 2**20,
    }


def _short(devices: int) -> str:
    return f"{devices / 1e6:g}M" if devices >= 1e6 else f"{devices / 1e3:g}k"
