"""What the machine allows a swarm: open files, and ports to connect from."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from trio_push.capacity import raise_file_limit
from trio_push.errors import ConfigError
from trio_push.swarm.target import Target

#: files that are not devices: the driver's connections, calls on push, the loop, logs
FILES_KEPT_FREE = 256
#: processes of one swarm: each takes some memory, and files of the parent
MAX_WORKERS = 200
#: of the ports that a source address has, where there are further addresses: Linux gives out the
#: even half first and, once that is gone, walks through all of it for each new connection (20 µs
#: become 800)
PORTS_AT_EASE = 0.45
#: … and where there are not: the search for the last ones is longer still
PORTS_AT_MOST = 0.9

_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def devices_per_process() -> int:
    """How many devices fit into one process, which may open as many files as it may then."""
    return max(raise_file_limit() - FILES_KEPT_FREE, 0)


def workers_needed(devices: int, workers: int, fit: int, per_user: int = 1) -> int:
    """How many processes hold the devices, if `fit` go into each: `workers`, or for 0 the fewest.

    All of a user's devices are in the same one. ConfigError when they are too few, or would be too
    many.
    """
    users, users_fit = -(-devices // per_user), fit // per_user
    if fit > 0 and not users_fit:
        raise ConfigError(
            f"--devices-per-user {per_user}: all devices of a user are in one process, and one has "
            f"room for {fit}"
        )
    needed = -(-users // max(users_fit, 1))
    remedy = f"raise the limit (ulimit -Hn {devices + FILES_KEPT_FREE}, LimitNOFILE= of systemd)"
    why = (
        f"--devices {devices}: every device needs an open file and a process may open "
        f"{fit + FILES_KEPT_FREE}."
    )
    if needed > MAX_WORKERS:
        most = users_fit * per_user * MAX_WORKERS
        raise ConfigError(f"{why} Give at most {most}, or {remedy}")
    if 0 < workers < needed:
        raise ConfigError(f"{why} Give --workers {needed}, or {remedy}")
    return min(workers or needed, users)


def shares(devices: int, workers: int, per_user: int = 1) -> list[range]:
    """The devices of each worker, all but alike; a user's are together."""
    users = -(-devices // per_user)
    ends = [min(users * i // workers * per_user, devices) for i in range(workers + 1)]
    return [range(first, end) for first, end in pairwise(ends)]


def source_addresses(target: Target, devices: int, ports: int) -> list[str]:
    """The addresses to connect from, with `ports` ports each; none: let the kernel choose.

    Every address of 127.0.0.0/8 is ours, so that for a server on loopback there are always
    enough; 127.0.0.1 is left to those who let the kernel choose, as a driver does. For others
    there is one address: ConfigError when its ports are too few.
    """
    spreads = target.is_loopback and ":" not in target.address[0]
    per_address = int(ports * (PORTS_AT_EASE if spreads else PORTS_AT_MOST))
    needed = -(-devices // per_address)
    if needed == 1:
        return []
    if not spreads:
        raise ConfigError(
            f"--devices {devices}: one address of this machine has ports for {per_address} "
            f"connections to {target.url}. Add machines (--agents), or widen "
            f"net.ipv4.ip_local_port_range"
        )
    return [f"127.0.{i // 254}.{i % 254 + 1}" for i in range(1, needed + 1)]


def ephemeral_ports() -> int:
    """How many ports the kernel gives to outgoing connections of one source address."""
    try:
        lowest, highest = map(int, _PORT_RANGE.read_text("ascii").split())
    except FileNotFoundError:  # not Linux: what IANA sets aside for it (RFC 6335)
        lowest, highest = 49152, 65535
    return highest - lowest + 1
