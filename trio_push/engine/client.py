"""Opens the client of Redis that a node uses: one bounded pool, whatever the number of devices.

Whoever needs Redis opens it here, once per process. The client repeats no command by itself:
whether one may be repeated when its answer was lost, only its sender knows.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import coredis
from coredis.connection import TCPLocation
from coredis.exceptions import RedisError
from coredis.retry import NoRetryPolicy

from trio_push.config import SECONDS
from trio_push.engine.url import RedisUrl
from trio_push.errors import ConfigError, PushError, Unreachable

#: connections of a node to each Redis. Commands share them, and only one that blocks (reading
#: the inbox) keeps one for itself: a few are used.
MAX_CONNECTIONS: Final = 8
#: time that Redis has to take a connection, and to answer: one that takes longer is away
CONNECT_TIMEOUT_S: Final = 2 * SECONDS
ANSWER_TIMEOUT_S: Final = 5 * SECONDS

Client: TypeAlias = "coredis.Redis[bytes] | coredis.RedisCluster[bytes]"

#: what a command may raise when Redis is not there, or not well
REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)


@asynccontextmanager
async def open_redis(url: RedisUrl) -> AsyncIterator[Client]:
    """A client for as long as the block runs, of a Redis that answers now.

    Raises Unreachable when it does not, ConfigError when it cannot be used. Later the client
    reconnects by itself; until then commands raise one of REDIS_ERRORS. What is raised inside
    the block leaves it in a group, unless it is an error of ours alone.
    """
    failure: ConfigError | Unreachable | None = None
    try:
        async with _client(url) as client:
            failure = await _check(client, url)
            if failure is None:
                yield client
    except BaseExceptionGroup as group:
        ours = group.exceptions[0] if len(group.exceptions) == 1 else group
        raise ours if isinstance(ours, PushError) else group from None
    except REDIS_ERRORS as exc:  # a cluster is asked for its layout before there is a client
        failure = _unreachable(url, exc)
    if failure is not None:
        raise failure


async def _check(client: Client, url: RedisUrl) -> ConfigError | Unreachable | None:
    """Why it cannot be used, if so. Not raised, or the client would put it in a group."""
    try:
        info = await client.info("cluster")
    except REDIS_ERRORS as exc:
        return _unreachable(url, exc)
    if not url.is_cluster and info.get("cluster_enabled") == 1:
        return ConfigError(f"--redis: {url} is a node of a Redis Cluster: write redis+cluster://")
    return None


def _unreachable(url: RedisUrl, why: BaseException) -> Unreachable:
    return Unreachable(f"Redis at {url} does not answer: {why or type(why).__name__}")


def _client(url: RedisUrl) -> Client:
    common: dict[str, Any] = {  # Any: they are of many types
        "username": url.username,
        "password": url.password,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "stream_timeout": ANSWER_TIMEOUT_S,
        "pool_timeout": ANSWER_TIMEOUT_S,
        "max_connections": MAX_CONNECTIONS,
        "retry_policy": NoRetryPolicy(),
        "ssl_context": _tls(url),
    }
    if url.is_cluster:
        cluster: coredis.RedisCluster[bytes] = coredis.RedisCluster(
            startup_nodes=[TCPLocation(*address) for address in url.addresses],
            max_connections_per_node=True,
            **common,
        )
        return cluster
    host, port = (None, None) if url.path else url.addresses[0]
    path = url.path or None
    client: coredis.Redis[bytes] = coredis.Redis(
        host, port, url.db, unix_socket_path=path, **common
    )
    return client


def _tls(url: RedisUrl) -> ssl.SSLContext | None:
    """Unlike the client's own, it checks whose certificate it is."""
    if not url.is_tls:
        return None
    try:
        return ssl.create_default_context(cafile=url.ca_file)
    except OSError as exc:
        raise ConfigError(f"--redis: the file {url.ca_file} cannot be used: {exc}") from exc
