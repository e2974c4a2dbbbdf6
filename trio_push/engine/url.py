"""The URL of `--redis`: where the server is, how it is spoken to, and as whom.

    redis://[user:password@]host[:port][/db]          rediss:// over TLS
    redis+cluster://host:port[,host:port…]            rediss+cluster:// over TLS
    unix:/path/to/redis.sock[?db=1]                   or unix:///path

`?ca=FILE` names the certificates that a `rediss` server is trusted by, if not the system's.
Pure; read by the settings and by the client.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from trio_push.errors import ConfigError

#: where Redis listens when the URL does not say
PORT: Final = 6379
_SCHEMES: Final = ("redis", "rediss", "redis+cluster", "rediss+cluster", "unix")
_EXAMPLES: Final = "redis://host:6379/0, redis+cluster://host:7000,host:7001 or unix:/run/r.sock"


class RedisUrl(NamedTuple):
    """Where Redis is. `path` is a Unix socket; else `addresses` are hosts and ports."""

    addresses: tuple[tuple[str, int], ...] = ()
    path: str = ""
    username: str | None = None
    password: str | None = None
    db: int = 0
    is_cluster: bool = False
    is_tls: bool = False
    ca_file: str | None = None

    @classmethod
    def parse(cls, text: str) -> RedisUrl:
        """Raises ConfigError, which shows no password, for what is no URL of a Redis."""
        scheme, colon, _ = text.partition(":")
        if not colon or scheme not in _SCHEMES:
            raise ConfigError(f"this is no URL of a Redis: write {_EXAMPLES}")
        parts = urlsplit(text)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        if unknown := query.keys() - {"db", "ca"}:
            raise ConfigError(f"a URL of a Redis has no {min(unknown)!r}: only db and ca")
        user, _, hosts = parts.netloc.rpartition("@")
        username, _, password = user.partition(":")
        common: dict[str, Any] = {  # Any: they are of several types
            "username": unquote(username) or None,
            "password": unquote(password) or None,
            "is_cluster": scheme.endswith("+cluster"),
            "is_tls": scheme.startswith("rediss"),
            "ca_file": query.get("ca"),
        }
        if scheme == "unix":
            if not parts.path:
                raise ConfigError("unix: needs the path of the socket: write unix:/run/r.sock")
            return cls(path=unquote(parts.path), db=_db(query.get("db", "0")), **common)
        addresses = tuple(_address(host) for host in hosts.split(","))
        db = _db(query.get("db") or parts.path.strip("/") or "0")
        if common["is_cluster"] and db:
            raise ConfigError("a Redis Cluster has no databases: leave out the number")
        if not common["is_cluster"] and len(addresses) > 1:
            raise ConfigError("several hosts are a cluster: write redis+cluster://")
        return cls(addresses, db=db, **common)

    def __str__(self) -> str:
        """Without user and password, for messages and logs."""
        if self.path:
            return f"unix:{self.path}"
        scheme = ("rediss" if self.is_tls else "redis") + ("+cluster" if self.is_cluster else "")
        hosts = ",".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.addresses
        )
        return f"{scheme}://{hosts}" + (f"/{self.db}" if self.db else "")


def _address(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ConfigError(f"{text!r} is no address of a Redis: write host:6379") from exc
    if not host:
        raise ConfigError(f"this is no URL of a Redis: write {_EXAMPLES}")
    return host, port or PORT


def _db(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(f"{text!r} is no database of a Redis: a number")
    return int(text)
