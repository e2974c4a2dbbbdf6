"""What the devices of a swarm have in common: where they connect to and whom they report to."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import orjson
import trio

from trio_push.push import MARK_READ
from trio_push.swarm.audit import Audit
from trio_push.swarm.connections import Connections
from trio_push.swarm.credentials import Signer
from trio_push.swarm.read_marks import ReadMarks
from trio_push.swarm.reading import Reading
from trio_push.swarm.reconnect import Schedule, fleet_s
from trio_push.swarm.sleep import Sleep
from trio_push.swarm.stamp import Stamp, Stamper
from trio_push.swarm.target import Target
from trio_push.swarm.users import Users
from trio_push.wire.cursor import Cursor

#: devices that may be connecting at the same time: far below the backlog of a listening socket
#: (4096), which drops what exceeds it and makes the kernel try again a second later
CONNECTING_AT_ONCE = 512

#: the event by which a server answers `Last-Event-ID`; no push
SYNC_RESULT = "sync_result"

#: a slow reader takes so many bytes after each wait: less than a push in a second
SLOW_BYTES = 64
SLOW_S = 1.0
#: and its kernel holds as little as it can be told to: the rest is the server's to keep
SLOW_RECEIVE_BYTES = 4096

#: where devices of each transport connect to, unless told otherwise
EVENTS_PATH = "/events?token={token}"
WEBSOCKET_PATH = "/ws?token={token}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """Where and how the devices connect."""

    target: Target
    tokens: Sequence[str]
    #: None: that of the transport
    path: str | None
    connect_timeout_s: float
    #: addresses to connect from, in turn; none: the kernel chooses
    sources: Sequence[str] = ()
    #: whether devices over WebSocket acknowledge what they get
    ack: bool = False
    #: makes the JWTs that devices show; None: they show none
    signer: Signer | None = None
    #: whose the devices are; None: nobody's
    users: Users | None = None

    def request_path(self, index: int, usual: str) -> str:
        path = (self.path or usual).replace("{token}", quote(self.tokens[index], safe=""))
        if self.users is None or self.path or self.signer:
            return path  # a JWT says whose it is
        return f"{path}&user={quote(self.users[self.users.owner(index)], safe='')}"

    def authorization(self, index: int) -> str | None:
        """What a device shows in the header of that name; made anew for each connection."""
        user = None if self.users is None else self.users[self.users.owner(index)]
        return self.proof(self.tokens[index], user).get("Authorization")

    def proof(self, token: str, user: str | None = None) -> dict[str, str]:
        """Headers that prove whose token it is."""
        return {"Authorization": f"Bearer {self.signer.sign(token, user)}"} if self.signer else {}

    def source(self, index: int) -> str | None:
        return self.sources[index % len(self.sources)] if self.sources else None


class Population:
    """The devices' shared part. Its methods are called by devices and never block."""

    __slots__ = (
        "_addressees",
        "_all_tried",
        "_marks",
        "_on_push",
        "_stamper",
        "_struck",
        "_wall_offset_s",
        "audit",
        "connecting",
        "connections",
        "destination",
        "random",
        "reading",
        "schedule",
        "sleep",
        "slow_readers",
        "start",
        "start_id",
    )

    def __init__(
        self,
        destination: Destination,
        audit: Audit,
        stamper: Stamper,
        *,
        seed: int,
        wall_offset_s: float,
        on_push: Callable[[int, str], None] | None = None,
        schedule: Schedule = fleet_s,
        slow_readers: float = 0.0,
        connecting_at_once: int = CONNECTING_AT_ONCE,
        start: Cursor | None = None,
        addresses_users: bool = False,
        mark_read: bool = False,
    ) -> None:
        """`wall_offset_s` + trio's time = epoch time, as the driver stamps it on pushes.

        `slow_readers` is the share of devices that read as slowly as they can. From `start` on
        a device asks that has connected and seen nothing; None: it does not. `addresses_users`:
        the stamps of our pushes name users; `mark_read`: one of their devices marks each push.
        """
        self.destination = destination
        self.audit = audit
        self.connections = Connections()
        #: reads for the lean ones
        self.reading = Reading()
        #: held by a device while it connects
        self.connecting = trio.Semaphore(connecting_at_once)
        self.random = random.Random(seed)
        self.schedule = schedule
        #: may be set to 0 for all to read what is left
        self.slow_readers = slow_readers
        self.start = start
        #: the same as an event id
        self.start_id = "" if start is None else str(start)
        #: devices that a storm has dropped and that are not back, and when it did
        self._struck: dict[int, float] = {}
        self.sleep = Sleep(self.connections)
        users = destination.users
        self._addressees = users if addresses_users else None
        self._marks = ReadMarks(users, audit) if users and mark_read else None
        self._stamper = stamper
        self._wall_offset_s = wall_offset_s
        self._on_push = on_push
        self._all_tried = trio.Event()

    async def wait_all_tried(self) -> None:
        """Wait until every device has tried to connect, for better or worse."""
        await self._all_tried.wait()

    def tried(self) -> None:
        """A device's first attempt to connect is over."""
        self.connections.tried += 1
        if self.connections.tried == len(self.destination.tokens):
            self._all_tried.set()

    def connected(self, index: int, took_s: float, *, again: bool) -> None:
        connections = self.connections
        if self._marks is not None:
            self._marks.came(index)
        connections.connect.record(took_s)
        connections.now += 1
        connections.peak = max(connections.peak, connections.now)
        if again:
            connections.reconnects += 1
            if (dropped_at := self._struck.pop(index, None)) is not None:
                connections.back += 1
                connections.back_after.record(trio.current_time() - dropped_at)
        else:
            connections.ever += 1

    def reads_slowly(self, index: int) -> bool:
        """Whether a device is one of the slow readers, who are spread evenly."""
        share = self.slow_readers
        return share > 0 and int((index + 1) * share) > int(index * share)

    def struck(self, index: int) -> None:
        """A storm has dropped a device."""
        self.connections.dropped += 1
        self._struck[index] = trio.current_time()

    def disconnected(self, index: int, received: int) -> None:
        """A connection that brought so many pushes has ended."""
        self.connections.now -= 1
        if self.destination.ack:
            self.audit.deliveries.acks_in_doubt += received
        if self._marks is not None:
            self._marks.gone(index)

    def failed(self, reason: str) -> None:
        self.connections.failures[reason] += 1

    def closed(self, why: str) -> None:
        """A WebSocket was closed by either side, in words of its protocol."""
        self.connections.closes[why] += 1

    def resumed(self, *, recovered: bool) -> None:
        """A server has said whether what a device missed is all there."""
        if recovered:
            self.connections.resumes += 1
        else:
            self.connections.not_recovered += 1

    def acknowledged(self) -> None:
        self.audit.deliveries.acknowledged += 1

    def marked_read(self, index: int, notification_id: str) -> None:
        """A device was told what its user has read on another one."""
        if self._marks is None or self._marks.received(index, notification_id):
            self.audit.deliveries.read_marks += 1

    def missing_marks(self) -> Counter[int]:
        """Device → of how many things read elsewhere it was not told (yet)."""
        return Counter() if self._marks is None else self._marks.missing()

    def mark_read(self, index: int, notification_id: str) -> None:
        """A device says that its user has read a push."""
        assert self._marks is not None  # `received` asked for it
        self._marks.marked(index, notification_id)

    def heard(self, index: int, event: str, data: str) -> bool:
        """A device got an event of a stream; returns whether that was a push."""
        if event == SYNC_RESULT:
            self.resumed(recovered=_recovered(data))
            return False
        if event == MARK_READ:
            self.marked_read(index, _notification_id(data))
        else:
            self.received(index, data)
        return True

    def received(self, index: int, data: str) -> bool:
        """A device got a push; returns whether it is to mark it as read."""
        now = trio.current_time() + self._wall_offset_s
        stamp = self._stamper.read(data)
        if stamp is not None:
            stamp = self._as_seen_by(index, stamp)
        self.audit.receive(index, stamp, now)
        if self._on_push is not None:
            self._on_push(index, data)
        return (
            stamp is not None
            and self._marks is not None
            and self._marks.is_marked_by(index, stamp.n)
        )

    def _as_seen_by(self, index: int, stamp: Stamp) -> Stamp:
        """A stamp that says which device is meant, and not before that was awake."""
        if (users := self._addressees) is not None:
            stamp = stamp._replace(to=index if users.owner(index) == stamp.to else -1)
        woke_at = self.sleep.woke_at(index) + self._wall_offset_s
        if woke_at > stamp.at_epoch_s:
            self.audit.deliveries.slept_through += 1
            stamp = stamp._replace(at_epoch_s=woke_at)
        return stamp


def _notification_id(data: str) -> str:
    try:
        return str(orjson.loads(data)["notification_id"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""


def _recovered(data: str) -> bool:
    try:
        return bool(orjson.loads(data)["recovered"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return False
