"""One node: one process, one trio loop, and the parts that its tasks share.

`server.py` starts its tasks; intake, devices and the API are handed it. Nothing
here is global: two nodes in one process (as in tests) know nothing of each other.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from trio_push.auth.apikey import ApiKeys
from trio_push.auth.apns_registry import Registry
from trio_push.auth.devices import DeviceAuth
from trio_push.auth.from_settings import open_api_keys, open_apns_registry, open_device_auth
from trio_push.clock import Clock
from trio_push.config import ServeSettings
from trio_push.faults import Faults
from trio_push.mailbox.journal import Journal, NoJournal
from trio_push.router.channel import PushChannel
from trio_push.router.directory import Directory
from trio_push.router.router import Router
from trio_push.watch.ledger import Ledger


@dataclass(slots=True)
class Node:
    """The parts of a running node."""

    settings: ServeSettings
    clock: Clock
    ledger: Ledger
    directory: Directory
    journal: Journal
    router: Router
    push_channel: PushChannel
    device_auth: DeviceAuth
    #: what users of the API show, and with --apns-auth providers; None: nothing
    api_keys: ApiKeys | None
    #: what the strict profile of APNs knows of providers; None under another profile
    apns_registry: Registry | None
    #: faults on demand
    faults: Faults
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    #: "starting", "ready" or "draining"; only "ready" accepts pushes and devices
    phase: str = "starting"

    @classmethod
    def make(cls, settings: ServeSettings, clock: Clock, journal: Journal | None = None) -> Node:
        """A node with nothing running yet: see `Router.run`. Without a journal, memory only.

        Raises ConfigError when a file of keys cannot be used.
        """
        journal = journal or NoJournal()
        ledger = Ledger()
        directory = Directory()
        node_id = secrets.token_hex(4)
        faults = Faults(node_id, lambda rule: ledger.befall(rule.name, rule.action.kind))
        return cls(
            settings=settings,
            clock=clock,
            ledger=ledger,
            directory=directory,
            journal=journal,
            router=Router(settings, clock, ledger, directory, journal, faults),
            push_channel=PushChannel(),
            device_auth=open_device_auth(settings, clock),
            api_keys=open_api_keys(settings),
            apns_registry=open_apns_registry(settings),
            faults=faults,
            id=node_id,
        )
