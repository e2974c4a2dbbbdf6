"""A running server: opens every part in order of need, owns the nursery tree, drains.

`serve` is the command; `open_server` is the same without signals and without touching the
process, for tests and for the demo. What is opened last is closed first:

    core       router, sweeps, API           end when every device is gone
    handlers   one task per connection       end within the drain time
    listeners  one task per listening socket end at once
"""

from __future__ import annotations

import signal
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
import trio

from trio_push.banner import Addresses
from trio_push.capacity import capacity, file_limit, raise_file_limit
from trio_push.clock import Clock
from trio_push.config import MEMORY, SQLITE, ServeSettings
from trio_push.devices.accept import Acceptor, Turn
from trio_push.devices.ack import AckPage
from trio_push.devices.admission import Admission
from trio_push.devices.expiry import Expiry
from trio_push.devices.farewell import farewell
from trio_push.devices.front import FrontDoor
from trio_push.devices.heartbeat import Heartbeat
from trio_push.devices.session import Session
from trio_push.devices.websocket import EchoTransport, WebSocketTransport
from trio_push.engine.contract import Shared
from trio_push.engine.url import RedisUrl
from trio_push.errors import ConfigError, Refusal
from trio_push.faults import RuleRefused
from trio_push.faults_file import open_rules
from trio_push.intake.apns import Profile
from trio_push.intake.apns_mdm import MdmProfile
from trio_push.intake.apns_strict import StrictProfile
from trio_push.intake.faults import Fates
from trio_push.intake.http1 import WEBSOCKET, Http1Intake
from trio_push.intake.http2 import Http2Intake
from trio_push.listeners import Listeners, url_of
from trio_push.mailbox.journal import Journal, NoJournal
from trio_push.mailbox.sqlite import SqliteJournal
from trio_push.node import Node
from trio_push.tls import ask_for_certificates, dev_context, server_context
from trio_push.watch.garbage import keep_frozen
from trio_push.watch.health import Health
from trio_push.watch.ledger import Ledger
from trio_push.watch.whole import Whole

log = structlog.get_logger()

#: time that providers have, after the last device went, to read their last answers
PROVIDER_GRACE_S = 1.0
#: the same after its connection was taken, for who has said nothing yet, when another goes on
LATE_S = 0.1
#: time that the API has to finish its last answers
API_GRACE_S = 1.0
#: time that the store has, when all else has ended, to write down what it is to keep
STORE_GRACE_S = 5.0


async def serve(
    settings: ServeSettings, *, task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return; a second signal ends it at once.

    Takes the process for itself: raises its file limit, tunes its garbage collector. Raises
    ConfigError when a setting cannot be used.
    """
    raise_file_limit()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_server(settings) as server, trio.open_nursery() as nursery:
            # Not while it drains: who goes then is not worth a look.
            async with trio.open_nursery() as serving:
                serving.start_soon(keep_frozen, server.node.directory.__len__)
                task_status.started(server.addresses)
                async for number in signals:
                    name = signal.Signals(number).name
                    log.info("stopping", signal=name, drain_s=settings.drain_s)
                    break
                serving.cancel_scope.cancel()
            nursery.start_soon(_hurry, signals, nursery.cancel_scope)
            await server.drain()
            nursery.cancel_scope.cancel()


async def _hurry(signals: AsyncIterator[int], draining: trio.CancelScope) -> None:
    """A second signal: whoever sent it will not wait."""
    async for _ in signals:
        draining.cancel()


@asynccontextmanager
async def open_server(
    settings: ServeSettings,
    *,
    clock: Clock | None = None,
    debug_echo: bool = False,
    inherited: Inherited | None = None,
) -> AsyncIterator[Server]:
    """A server that is ready to be used, for as long as the block runs.

    Leaving the block drops every connection; `drain()` before that is the polite way. With
    `debug_echo` WebSocket devices at /echo get back what they say, for tests of the protocol.
    A worker is given what it has `inherited`; else the server has listeners of its own.
    """
    with ExitStack() as files:
        inherited = inherited or Inherited(Listeners.open(settings, files))
        async with _open_shared(settings) as shared:
            server = Server(
                settings, clock or Clock(), files, shared, inherited, debug_echo=debug_echo
            )
            async with trio.open_nursery() as nursery:
                await nursery.start(server.run)
                yield server
                nursery.cancel_scope.cancel()


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a server did not make itself: as a worker it shares it with the others."""

    listeners: Listeners
    whole: Whole | None = None
    ledger: Ledger | None = None
    #: whose connections are next on the shared listeners
    turn: Turn | None = None


class Server:
    """One node with its listeners. Made by `open_server`."""

    def __init__(
        self,
        settings: ServeSettings,
        clock: Clock,
        files: ExitStack,
        shared: Shared | None,
        inherited: Inherited,
        *,
        debug_echo: bool,
    ) -> None:
        journal = _open_journal(settings.store, files)
        self.node = Node.make(
            settings, clock, journal, shared, whole=inherited.whole, ledger=inherited.ledger
        )
        self._settings = settings
        _add_faults(self.node, settings)
        listeners = inherited.listeners
        self._plain, self._tls, self._api = listeners.plain, listeners.tls, listeners.api
        self._turn = inherited.turn
        self._tls_context, ca_file = tls_context(settings)
        registry = self.node.apns_registry
        if self._tls_context is not None and registry is not None:
            ask_for_certificates(self._tls_context, registry.certificate_authorities)
        self.addresses = addresses_of(settings, listeners, ca_file)
        fits = capacity(settings.max_connections, file_limit())
        #: devices that it takes
        self.capacity = fits.devices
        self._admission = Admission(
            max_connections=fits.devices, connect_rate=settings.connect_rate
        )
        self._heartbeat = Heartbeat(self.node.router.delivery, settings.keepalive_s)
        self._expiry = Expiry(self.node.router.delivery, self.node.clock)
        self._front = self._make_front(debug_echo=debug_echo)
        self._listeners = trio.CancelScope()
        self._handlers = trio.CancelScope()
        self._core = trio.CancelScope()
        self._api_stop = trio.Event()
        self._api_done = trio.Event()

    def _make_front(self, *, debug_echo: bool) -> FrontDoor:
        settings = self._settings
        delivery = self.node.router.delivery
        session = Session(self.node.router)
        epoch = self.node.router.epoch
        websockets = {WEBSOCKET: WebSocketTransport(delivery, session.hear, epoch=epoch)}
        if debug_echo:
            websockets[b"/echo"] = EchoTransport(delivery)
        profile = _profile(self.node)
        fates = Fates(self.node)
        pages = (
            Health(self.node, self.addresses.api),
            AckPage(self.node.router, self.node.device_auth),
        )
        patience = {
            "head_timeout_s": settings.head_timeout_s,
            "idle_timeout_s": settings.idle_timeout_s,
        }
        return FrontDoor(
            self.node,
            Http1Intake(profile, pages, fates, websockets=websockets.keys(), **patience),
            Http2Intake(profile, pages, fates, **patience),
            self._admission,
            self._heartbeat,
            self._expiry,
            websockets,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, or until `drain` is through."""
        with self._core:
            async with trio.open_nursery() as core:
                await core.start(self.node.router.run, self.node.push_channel)
                if self.node.engine is not None:
                    await core.start(self.node.engine.run)
                core.start_soon(self._heartbeat.run)
                core.start_soon(self._front.watch_visitors)
                core.start_soon(self._expiry.run)
                if self._api is not None:
                    await core.start(self._run_api, self._api)
                core.start_soon(self._run_wire)
                self.node.phase = "ready"
                task_status.started()

    async def _run_wire(self) -> None:
        """Listeners inside, handlers outside: accepting ends while connections go on."""
        with self._handlers:
            async with trio.open_nursery() as handlers:
                with self._listeners:
                    async with trio.open_nursery() as listeners:
                        for sock in self._plain:
                            acceptor = Acceptor(sock, self._front.serve, handlers, self._turn)
                            listeners.start_soon(acceptor.run)
                        for sock in self._tls:
                            assert self._tls_context is not None
                            serve_tls = partial(self._front.serve_tls, context=self._tls_context)
                            acceptor = Acceptor(sock, serve_tls, handlers, self._turn)
                            listeners.start_soon(acceptor.run)

    async def _run_api(self, sock: socket.socket, *, task_status: trio.TaskStatus[None]) -> None:
        # Here and not above: Quart and Hypercorn take half a second to import.
        from trio_push.api.serve import serve_api

        try:
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
            await serve_api(self.node, [listener], shutdown=self._api_stop, task_status=task_status)
        finally:
            self._api_done.set()

    def connections(self) -> int:
        """Devices, and who has not said yet whether it is one."""
        return len(self.node.directory) + len(self._front.visitors)

    async def drain(self, *, retiring: bool = False) -> None:
        """Stop within the drain time: refuse pushes, say good-bye, close. Cancelled: at once.

        When others go on, a server that is `retiring` first lets the providers go to them, and
        no push is refused.
        """
        deadline = trio.current_time() + self._settings.drain_s
        self._admission.closed = True
        self._listeners.cancel()
        for sock in (*self._plain, *self._tls):
            sock.close()
        try:
            if retiring:
                await self._hand_over()
            self.node.phase = "draining"
            self.node.push_channel.close()
            await farewell(self.node.directory, self.node.router.delivery, self._settings.drain_s)
            await self._dismiss_providers(deadline)
        finally:
            await self._close_books()
            self._core.cancel()

    async def _hand_over(self) -> None:
        """Whoever sends pushes reads its last answers, and then turns to another worker."""
        self._api_stop.set()
        # Who was let in at the last moment has yet to say what it wants.
        await trio.sleep(LATE_S)
        self._front.dismiss_visitors()
        with trio.move_on_after(PROVIDER_GRACE_S):
            while self._front.visitors:
                await trio.sleep(0.01)
            if self._api is not None:
                await self._api_done.wait()

    async def _dismiss_providers(self, deadline: float) -> None:
        self._front.dismiss_visitors()
        with trio.move_on_at(max(deadline, trio.current_time()) + PROVIDER_GRACE_S):
            while self._front.visitors or self._front.leaving:
                await trio.sleep(0.01)
        self._handlers.cancel()
        self._api_stop.set()
        if self._api is not None:
            with trio.move_on_after(API_GRACE_S):
                await self._api_done.wait()

    async def _close_books(self) -> None:
        """What is still held is written down, or lost; then nothing is left to do."""
        router = self.node.router
        lost = router.abandon()
        try:
            with trio.move_on_after(STORE_GRACE_S, shield=True):
                await router.commit()
        except Refusal as refusal:
            log.error("store_failed", error=str(refusal))
        if self.node.engine is not None:
            await self.node.engine.leave()
        books = self.node.ledger.snapshot(router.held())
        held = sum(books["open"].values())
        log.info("stopped", accepted=books["accepted"], ended=books["ended"], held=held, lost=lost)


def _open_journal(store: str, files: ExitStack) -> Journal:
    """The journal of `--store`; its file is closed with `files`. Raises ConfigError."""
    if store == MEMORY:
        return NoJournal()
    journal = SqliteJournal(str(Path(store.removeprefix(SQLITE)).expanduser()))
    files.callback(journal.close)
    return journal


def _profile(node: Node) -> Profile:
    """How pushes are judged: the strict profile is the one with a registry."""
    if node.apns_registry is None:
        return MdmProfile(node)
    return StrictProfile(node, node.apns_registry)


def _add_faults(node: Node, settings: ServeSettings) -> None:
    """The rules to begin with. Raises ConfigError."""
    rules = open_rules(settings)
    try:
        node.faults.add(rules, trio.current_time())
    except RuleRefused as refused:
        raise ConfigError(f"--faults, --scenario: {refused}") from refused
    if rules:
        log.warning("faults_on_demand", rules=len(rules))


@asynccontextmanager
async def _open_shared(settings: ServeSettings) -> AsyncIterator[Shared | None]:
    """What the nodes of `--redis` share. Raises ConfigError or Unreachable."""
    if settings.redis is None:
        yield None
        return
    # Here and not above: the client takes a third of a second to import.
    from trio_push.engine.client import open_link
    from trio_push.engine.redis import RedisShared

    async with open_link(RedisUrl.parse(settings.redis)) as link:
        yield RedisShared(link, settings.redis_prefix)


def addresses_of(settings: ServeSettings, listeners: Listeners, ca_file: str | None) -> Addresses:
    """Where the server can be reached."""
    return Addresses(
        wire=tuple(url_of("http", sock) for sock in listeners.plain),
        tls=tuple(url_of("https", sock) for sock in listeners.tls),
        api=None if listeners.api is None else url_of("http", listeners.api),
        ca_file=ca_file,
        asked=settings.asked,
        strict=settings.apns == "strict",
    )


def tls_context(settings: ServeSettings) -> tuple[ssl.SSLContext | None, str | None]:
    """The context of --tls-listen, and the CA to trust when it is a development one."""
    if settings.tls_dev:
        return dev_context(Path(settings.tls_dev_dir).expanduser())
    if settings.tls_cert and settings.tls_key:
        return server_context(settings.tls_cert, settings.tls_key), None
    return None, None
