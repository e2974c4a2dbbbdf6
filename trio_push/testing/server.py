"""The push server of a test, in the test's own trio loop."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import trio

from trio_push.body import Body
from trio_push.config import ServeSettings
from trio_push.errors import ConfigError
from trio_push.faults import SCENARIOS, Rule
from trio_push.faults.actions import Action
from trio_push.faults.magic import magic_rules
from trio_push.server import Server, open_server
from trio_push.testing.credentials import ProviderCredentials
from trio_push.testing.record import Received, Record

#: seconds that a test waits for a push unless it says otherwise
PATIENCE_S = 5.0


class PushServer:
    """What a test sees of its server. Made by `push_server`; of its trio loop only."""

    def __init__(self, server: Server, credentials: ProviderCredentials | None) -> None:
        self._node = server.node
        self._record = Record(server.node.push_channel, server.node.ledger)
        server.node.push_channel = self._record
        addresses = server.addresses
        #: the server's URLs, without a slash at the end: in plain text, over TLS, of the API
        self.url = addresses.wire[0]
        self.tls_url = addresses.tls[0].replace("127.0.0.1", "localhost")
        self.api_url = addresses.api
        #: PEM file with the CA of `tls_url`
        self.ca_file = str(addresses.ca_file)
        #: what a provider has to show with `apns="strict"`, unless the test brought its own
        self.credentials = credentials

    def ssl_context(self) -> ssl.SSLContext:
        """For a client that trusts the server, and nobody else."""
        return ssl.create_default_context(cafile=self.ca_file)

    # -- what was pushed

    def received(self, token: str | None = None) -> list[Received]:
        """The pushes accepted so far for a token, or for all of them, in order."""
        return self._record.of(None if token is None else token.lower())

    async def wait_for(self, token: str, n: int = 1, *, timeout_s: float = PATIENCE_S) -> Received:
        """The `n`th push for a token, as soon as it is there. Raises NotReceived."""
        return await self._record.wait_for(token.lower(), n, timeout_s)

    def forget(self) -> None:
        """Begin anew: nothing was received."""
        self._record.forget()

    @property
    def refused(self) -> dict[str, int]:
        """How many requests were refused, by reason."""
        return dict(self._node.ledger.refused)

    def ledger(self) -> dict[str, Any]:
        """The books, as `GET /v1/ledger` shows them."""
        return self._node.ledger.snapshot(self._node.router.held())

    # -- what is to go wrong

    def inject(self, action: Action, *, seed: int = 0, **match: Any) -> str:
        """Add a fault: what happens, and for whom (the fields of `Match`). Returns its name.

        Raises ConfigError for what makes no sense.
        """
        rule = {"match": match, "action": msgspec.to_builtins(action), "seed": seed}
        try:
            rules = [msgspec.convert(rule, Rule)]
        except msgspec.ValidationError as exc:
            raise ConfigError(str(exc)) from exc
        [added] = self._node.faults.add(rules, trio.current_time())
        return added.rule.name

    @contextmanager
    def injected(self, action: Action, *, seed: int = 0, **match: Any) -> Iterator[None]:
        """A fault for as long as the block runs."""
        name = self.inject(action, seed=seed, **match)
        try:
            yield
        finally:
            self._node.faults.remove(name)

    def apply(self, scenario: str) -> None:
        """Add the faults of a scenario. Raises ConfigError when there is none of the name."""
        if scenario not in SCENARIOS:
            raise ConfigError(f"there is no scenario {scenario}: there are {', '.join(SCENARIOS)}")
        self._node.faults.add(SCENARIOS[scenario].rules, trio.current_time())

    def clear_faults(self) -> None:
        """Remove every fault but the magic tokens."""
        self._node.faults.clear()
        self._node.faults.add(magic_rules(), trio.current_time())

    @property
    def faults(self) -> dict[str, int]:
        """How often each fault was applied, by name."""
        return {name: times for (name, _), times in self._node.ledger.faults.items()}

    def unregister(self, token: str) -> int:
        """Refuse a token from now on with 410; since when, in epoch milliseconds."""
        return self._node.router.unregister(token.lower())


@asynccontextmanager
async def push_server(**settings: Any) -> AsyncIterator[PushServer]:
    """A server on free ports of loopback, plain and over TLS, for as long as the block runs.

    `settings` are those of `ServeSettings`; without `api` it has none, which starts sooner. Magic
    tokens do what they say. Raises ConfigError.
    """
    with tempfile.TemporaryDirectory(prefix="trio-push-") as folder:
        defaults: dict[str, Any] = {
            "listen": ("127.0.0.1:0",),
            "tls_listen": ("127.0.0.1:0",),
            "tls_dev": True,
            "tls_dev_dir": folder,
            "api": "off",
        }
        credentials = None
        if settings.get("apns") == "strict" and "apns_credentials" not in settings:
            credentials = ProviderCredentials.make(Path(folder) / "apns")
            defaults["apns_credentials"] = credentials.server_file
        body = Body()
        with body.unwrapped():
            async with open_server(ServeSettings(**{**defaults, **settings})) as server:
                test_server = PushServer(server, credentials)
                server.node.faults.add(magic_rules(), trio.current_time())
                with body.running():
                    yield test_server
