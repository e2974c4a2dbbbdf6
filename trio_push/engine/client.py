"""Opens the client of Redis that a node uses: one bounded pool, whatever the number of devices.

Whoever needs Redis opens it here, once per process. The client repeats no command by itself:
whether one may be repeated when its answer was lost, only its sender knows.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import anyio
import coredis
import structlog
import trio
from coredis.connection import TCPLocation
from coredis.exceptions import RedisError
from coredis.retry import NoRetryPolicy

from trio_push.config import SECONDS
from trio_push.engine.url import RedisUrl
from trio_push.errors import ConfigError, PushError, StoreFailed, Unreachable

log = structlog.get_logger()

#: connections of a node to each Redis. Commands share them, and only one that blocks (reading
#: the inbox) keeps one for itself: a few are used.
MAX_CONNECTIONS: Final = 8
#: time that Redis has to take a connection, and to answer: one that takes longer is away
CONNECT_TIMEOUT_S: Final = 2 * SECONDS
ANSWER_TIMEOUT_S: Final = 5 * SECONDS

#: time after which a client is opened in place of one that was lost
REOPEN_S: Final = 0.5 * SECONDS

Client: TypeAlias = "coredis.Redis[bytes] | coredis.RedisCluster[bytes]"

#: what a command may raise when Redis is not there, or not well; the last three when its client
#: was replaced under it
REDIS_ERRORS: Final = (
    *(RedisError, OSError, TimeoutError),
    *(RuntimeError, anyio.ClosedResourceError, anyio.BrokenResourceError),
)


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
        raise _ours(group) from None
    except REDIS_ERRORS as exc:  # a cluster is asked for its layout before there is a client
        failure = _unreachable(url, exc)
    if failure is not None:
        raise failure


class Link:
    """The way to Redis. A client that will not find back to it is replaced by another.

    That is one of a cluster: it learns of a new layout only from nodes that are there, and gives
    up when for a while there are none.
    """

    def __init__(self, url: RedisUrl) -> None:
        self._url = url
        self.is_cluster = url.is_cluster
        self._client: Client | None = None
        self._is_broken = trio.Event()

    @property
    def client(self) -> Client:
        """Raises StoreFailed while there is none."""
        if self._client is None:
            raise StoreFailed(f"Redis at {self._url} does not answer")
        return self._client

    def failed(self, why: BaseException) -> StoreFailed:
        """A command has failed; returns what is to be raised."""
        if self.is_cluster:
            self._is_broken.set()
        return StoreFailed(f"Redis: {_reason(why)}")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold a client open, until cancelled. Raises what `open_redis` does the first time."""
        async with trio.open_nursery() as nursery:
            retire = await nursery.start(self._hold)
            task_status.started()
            while True:
                await self._is_broken.wait()
                await trio.sleep(REOPEN_S)
                self._is_broken = trio.Event()
                try:
                    newer = await nursery.start(self._hold)
                except (Unreachable, ConfigError) as exc:
                    log.info("redis_client_lost", error=str(exc))
                    self._is_broken.set()
                else:
                    retire.set()
                    retire = newer

    async def _hold(self, *, task_status: trio.TaskStatus[trio.Event]) -> None:
        """Be the client until another takes over; who is using this one then may finish."""
        retire, is_open = trio.Event(), False
        try:
            async with open_redis(self._url) as client:
                self._client, is_open = client, True
                task_status.started(retire)
                await retire.wait()
                await trio.sleep(ANSWER_TIMEOUT_S + CONNECT_TIMEOUT_S)
        except ExceptionGroup as group:
            if not is_open:
                raise _unreachable(self._url, group.exceptions[0]) from group
            log.info("redis_client_lost", error=repr(group.exceptions[0]))
            self._is_broken.set()


@asynccontextmanager
async def open_link(url: RedisUrl) -> AsyncIterator[Link]:
    """A link that works now, for as long as the block runs. Raises as `open_redis` does."""
    try:
        async with trio.open_nursery() as nursery:
            link = Link(url)
            await nursery.start(link.run)
            yield link
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise _ours(group) from None


def _ours(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error of ours that is alone in a group; else the group."""
    only: BaseException = group
    while isinstance(only, BaseExceptionGroup) and len(only.exceptions) == 1:
        only = only.exceptions[0]
    return only if isinstance(only, PushError) else group


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
    return Unreachable(f"Redis at {url} does not answer: {_reason(why)}")


def _reason(why: BaseException) -> str:
    """In words; that it is not trusted is not in the client's own words."""
    cause: BaseException | None = why
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message} (see ?ca=FILE)"
        cause = cause.__cause__ or cause.__context__
    return str(why) or type(why).__name__


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
