"""The settings of `serve`, each with its unit, default and meaning; the one list of them.

The command line, the environment, the TOML file and the reference page are made from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SECONDS = 1
MINUTES = 60 * SECONDS
HOURS = 60 * MINUTES
DAYS = 24 * HOURS


def _setting(default: Any, help: str, *, unit: str = "") -> Any:
    return field(default=default, metadata={"help": help, "unit": unit})


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeSettings:
    """What `trio-push serve` can be told. Durations are seconds, sizes bytes."""

    listen: tuple[str, ...] = _setting(
        ("127.0.0.1:8080",),
        "Address of the wire listener: devices, and APNs providers over HTTP/1.1 and h2c. "
        "Repeatable; port 0 takes a free one.",
    )
    tls_listen: tuple[str, ...] = _setting((), "Address of a wire listener over TLS. Repeatable.")
    tls_cert: str | None = _setting(None, "PEM file with the certificate chain of --tls-listen.")
    tls_key: str | None = _setting(None, "PEM file with the private key of --tls-cert.")
    tls_dev: bool = _setting(
        False,
        "Make (once) and use a development CA and certificate for localhost and Apple's push hosts.",
    )
    tls_dev_dir: str = _setting(
        "~/.local/share/trio-push/tls", "Where --tls-dev keeps its CA and certificate."
    )
    api: str = _setting("127.0.0.1:8081", "Address of the API listener; 'off' opens none.")
    no_auth: bool = _setting(
        False, "Serve on addresses other than loopback although nobody has to prove who they are."
    )
    keepalive_s: float = _setting(
        30 * SECONDS,
        "Time between keep-alive comments on a device's stream; 0 sends none.",
        unit="s",
    )
    write_timeout_s: float = _setting(
        10 * SECONDS, "Time a device has to take a push before it is disconnected.", unit="s"
    )
    head_timeout_s: float = _setting(
        10 * SECONDS,
        "Time a new connection has to send a whole request (and TLS handshake).",
        unit="s",
    )
    idle_timeout_s: float = _setting(
        1 * HOURS, "Time a provider's connection may lie idle before it is closed.", unit="s"
    )
    max_connections: int = _setting(
        0,
        "Most devices at a time; further ones get 503. 0: what the file limit allows.",
        unit="devices",
    )
    connect_rate: float = _setting(
        0,
        "Most devices that may connect in a second; further ones get 503. 0: no limit.",
        unit="1/s",
    )
    default_ttl_s: float = _setting(
        24 * HOURS, "How long a push without an expiration is kept for a device.", unit="s"
    )
    mailbox_capacity: int = _setting(
        64, "Pushes that may wait in memory for one connected device.", unit="pushes"
    )
    store_per_token: int = _setting(
        256, "Pushes that may be stored for one device token.", unit="pushes"
    )
    store_total: int = _setting(
        4_000_000, "Pushes that may be held (stored or delayed) in all.", unit="pushes"
    )
    drain_s: float = _setting(
        10 * SECONDS, "Time to close connections in on SIGTERM or SIGINT.", unit="s"
    )
    log_level: str = _setting("info", "Least level that is logged: debug, info, warning or error.")
    log_format: str = _setting("auto", "console, json, or auto: console on a terminal, else json.")


#: the longest time a push may be kept, whatever it asks for (Apple: "30 days or less")
MAX_TTL_S = 30 * DAYS
