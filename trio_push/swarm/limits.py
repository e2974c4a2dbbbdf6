"""What the machine allows a swarm: open files, and ports to connect from."""

from __future__ import annotations

from pathlib import Path

from trio_push.capacity import raise_file_limit
from trio_push.errors import ConfigError
from trio_push.swarm.target import Target

#: files that are not devices: the driver's connections, calls on push, the loop, logs
FILES_KEPT_FREE = 256
#: of the ports that a source address has: when fewer are left, the kernel searches long for one
PORTS_USED = 0.9

_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def check_open_files(devices: int) -> None:
    """Let this process open as many files as it may; ConfigError when they are too few."""
    limit = raise_file_limit()
    if devices + FILES_KEPT_FREE > limit:
        raise ConfigError(
            f"--devices {devices}: every device needs an open file and this process may open "
            f"{limit}. Give at most {max(0, limit - FILES_KEPT_FREE)}, or raise the limit "
            f"(ulimit -Hn {devices + FILES_KEPT_FREE}, LimitNOFILE= of systemd)"
        )


def source_addresses(target: Target, devices: int, ports: int) -> list[str]:
    """The addresses to connect from, with `ports` ports each; none: let the kernel choose.

    Every address of 127.0.0.0/8 is ours, so that for a server on loopback there are always
    enough. For others there is one address: ConfigError when its ports are too few.
    """
    per_address = int(ports * PORTS_USED)
    needed = -(-devices // per_address)
    if needed == 1:
        return []
    if not target.is_loopback or ":" in target.address[0]:
        raise ConfigError(
            f"--devices {devices}: one address of this machine has ports for {per_address} "
            f"connections to {target.url}. Run the others on further machines, or widen "
            f"net.ipv4.ip_local_port_range"
        )
    return [f"127.0.{i // 254}.{i % 254 + 1}" for i in range(needed)]


def ephemeral_ports() -> int:
    """How many ports the kernel gives to outgoing connections of one source address."""
    try:
        lowest, highest = map(int, _PORT_RANGE.read_text("ascii").split())
    except FileNotFoundError:  # not Linux: what IANA sets aside for it (RFC 6335)
        lowest, highest = 49152, 65535
    return highest - lowest + 1
