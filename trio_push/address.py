"""Where a listener listens, as the settings have it. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from trio_push.errors import ConfigError


class Address(NamedTuple):
    """Where a listener listens. An empty host is every interface, as in `:8080`."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Of `127.0.0.1:8080`, `localhost:8080`, `[::1]:0` or `:8080`; else ConfigError."""
        host, colon, port = text.rpartition(":")
        if not colon or not (port.isascii() and port.isdigit()):
            raise ConfigError(f"{text!r} is not an address: write 127.0.0.1:8080 or :8080")
        if int(port) > 65535:
            raise ConfigError(f"{text!r} has port {port}: the highest is 65535")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            if not isinstance(_ip(host), IPv6Address):
                raise ConfigError(f"{text!r} has no IPv6 address in its brackets")
        elif ":" in host:
            raise ConfigError(f"{text!r} is ambiguous: put brackets around the IPv6 address")
        elif any(not (char.isalnum() or char in ".-_") for char in host):
            raise ConfigError(f"{text!r} is not an address: {host!r} is not a host")
        return cls(host, int(port))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it; a name other than localhost may be any."""
        ip = _ip(self.host)
        return self.host == "localhost" if ip is None else ip.is_loopback

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for every interface."""
        ip = _ip(self.host)
        return not self.host or (ip is not None and ip.is_unspecified)

    def collides(self, other: Address) -> bool:
        """Whether only one of the two can be opened."""
        same_host = self.host == other.host or self.is_wildcard or other.is_wildcard
        return same_host and self.port == other.port != 0


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
