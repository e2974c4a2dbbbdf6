"""One node: one process, one trio loop, and the parts that its tasks share.

`server.py` starts its tasks; intake, devices and the API are handed it. Nothing
here is global: two nodes in one process (as in tests) know nothing of each other.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from trio_push.auth.apikey import ApiKeys
from trio_push.auth.apns_registry import Registry
from trio_push.auth.devices import DeviceAuth
from trio_push.auth.from_settings import open_api_keys, open_apns_registry, open_device_auth
from trio_push.clock import Clock
from trio_push.config import ServeSettings
from trio_push.engine.contract import Shared
from trio_push.engine.engine import Engine
from trio_push.engine.everywhere import Everywhere
from trio_push.engine.journal import SharedJournal
from trio_push.engine.live import Live
from trio_push.engine.members import Members
from trio_push.engine.providers import Providers
from trio_push.engine.rules import KIND as RULES
from trio_push.engine.rules import Rules
from trio_push.faults import Faults
from trio_push.mailbox.journal import Journal, NoJournal
from trio_push.router.channel import PushChannel
from trio_push.router.directory import Directory
from trio_push.router.router import Router
from trio_push.watch.ledger import Ledger
from trio_push.watch.whole import Alone, Whole


@dataclass(slots=True)
class Node:
    """The parts of a running node."""

    settings: ServeSettings
    clock: Clock
    ledger: Ledger
    directory: Directory
    journal: Journal
    router: Router
    #: settings that are changed while the server runs
    live: Live
    #: answers for all nodes, if there are several
    everywhere: Everywhere
    push_channel: PushChannel
    device_auth: DeviceAuth
    #: what users of the API show, and with --apns-auth providers; None: nothing
    api_keys: ApiKeys | None
    #: what the strict profile of APNs knows of providers; None under another profile
    apns_registry: Registry | None
    #: faults on demand: what befalls whom here
    faults: Faults
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    #: None: the node is alone
    engine: Engine | None = None
    #: "starting", "ready" or "draining"; only "ready" accepts pushes and devices
    phase: str = "starting"
    #: kind of question → how this node answers for itself; see `Whole.ask`, `Everywhere.ask`
    answers: dict[str, Callable[[bytes], Awaitable[bytes]]] = field(default_factory=dict)
    #: what the strict profile knows at all nodes, to be changed
    providers: Providers | None = field(default=None, init=False)
    #: the faults on demand of all nodes, to be listed and changed
    rules: Rules = field(init=False)
    #: the nodes that are one server with this one
    whole: Whole = field(init=False)

    @classmethod
    def make(
        cls,
        settings: ServeSettings,
        clock: Clock,
        journal: Journal | None = None,
        shared: Shared | None = None,
        *,
        whole: Whole | None = None,
        ledger: Ledger | None = None,
    ) -> Node:
        """A node with nothing running yet: see `Router.run` and `Engine.run`.

        Without a journal, memory only; with what is `shared`, one of several, and the journal is
        there. A worker brings the `whole` that it is part of, and a `ledger` that the others can
        read. Raises ConfigError when a file of keys cannot be used.
        """
        members = None if shared is None else Members(shared, secrets.token_hex(4))
        if shared is not None and members is not None:
            journal = SharedJournal(shared, members, clock)
        journal = journal or NoJournal()
        ledger = ledger or Ledger()
        directory = Directory()
        node_id = secrets.token_hex(4) if members is None else members.name
        faults = Faults(node_id, lambda rule: ledger.befall(rule.name, rule.action.kind))
        router = Router(settings, clock, ledger, directory, journal, faults)
        live = Live()
        answers: dict[str, Callable[[bytes], Awaitable[bytes]]] = {}
        per_user = settings.devices_per_user
        node = cls(
            settings=settings,
            clock=clock,
            ledger=ledger,
            directory=directory,
            journal=journal,
            router=router,
            live=live,
            everywhere=Everywhere(router, ledger, None, live, answers, per_user=per_user),
            push_channel=PushChannel(),
            device_auth=open_device_auth(settings, clock),
            api_keys=open_api_keys(settings),
            apns_registry=open_apns_registry(settings),
            faults=faults,
            id=node_id,
            answers=answers,
        )
        node.whole = whole or Alone(node)
        if shared is not None and members is not None and isinstance(journal, SharedJournal):
            node.join(shared, members, journal)
        if node.apns_registry is not None:
            node.providers = Providers(node.apns_registry, node.everywhere, live)
        node.rules = Rules(faults, node.everywhere, live, clock)
        node.answers[RULES] = node.rules.answer
        return node

    def join(self, shared: Shared, members: Members, journal: SharedJournal) -> None:
        """Make it one of several nodes."""
        self.engine = self.router.engine = Engine(
            shared,
            members,
            journal,
            self.router,
            self.directory,
            self.ledger,
            self.clock,
            self.live,
            self.answers,
            per_token=self.settings.store_per_token,
            per_user=self.settings.devices_per_user,
        )
        self.everywhere = Everywhere(
            self.router,
            self.ledger,
            self.engine,
            self.live,
            self.answers,
            per_user=self.settings.devices_per_user,
        )
        self.engine.on_ack = self.everywhere.acknowledge
        self.router.committer.is_shared = True
        self.router.delivery.on_gone = self.engine.local.evict
