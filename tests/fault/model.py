"""What a node does with pushes, told as simply as possible: lists, one thing at a time.

The documentation's promises in code that shares nothing with the server's but the Push. The
books and the devices of a real node are compared with it after every step.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from trio_push.push import Push, State

#: how a device takes what is written to it: everything, the beginning of it and then nothing,
#: or nothing
Mode = Literal["open", "tear", "shut"]


@dataclass(eq=False)
class Entry:
    """An accepted push and what became of it."""

    push: Push
    seq: int = 0
    state: State = State.IN_FLIGHT


@dataclass(eq=False)
class Device:
    token: str
    mode: Mode
    attached: int
    dead: bool = False
    #: what it has taken the beginning of, or what it was sent when nothing waited
    flying: Entry | Literal["comment"] | None = None
    queue: list[Entry] = field(default_factory=list)
    overflowed: bool = False
    deadline: float = math.inf

    @property
    def busy(self) -> bool:
        """Whether something waits for it to take more."""
        return self.deadline < math.inf


@dataclass
class Model:
    write_timeout_s: float
    capacity: int
    per_token: int
    now: float
    entries: list[Entry] = field(default_factory=list)
    devices: dict[str, Device] = field(default_factory=dict)
    #: payloads that the devices of each token have read, in order
    read: dict[str, list[bytes]] = field(default_factory=dict)
    seq: int = 0

    @property
    def counts(self) -> Counter[State]:
        return Counter(entry.state for entry in self.entries)

    def held_by_all(self) -> list[Entry]:
        return [e for e in self.entries if e.state in (State.STORED, State.DELAYED)]

    def held(self, token: str, *states: State) -> list[Entry]:
        mine = [e for e in self.entries if e.push.token == token and e.state in states]
        return sorted(mine, key=lambda entry: entry.seq)

    def next_seq(self) -> int:
        self.seq += 1
        return self.seq

    # -- the steps

    def submit(self, pushes: Iterable[Push]) -> None:
        for push in pushes:
            entry = Entry(push)
            delayed = push.not_before > self.now
            # what is only discarded replaces nothing
            is_delivered_or_kept = push.storable or push.token in self.devices
            if delayed or (push.collapse_id is not None and is_delivered_or_kept):
                self.displace(push)
            self.entries.append(entry)
            if delayed:
                entry.seq = self.next_seq()
                entry.state = State.DELAYED
            else:
                self.place(entry)

    def broadcast(self, push: Push) -> None:
        seq = self.next_seq()
        for device in list(self.devices.values()):
            own = msgspec.structs.replace(push, token=device.token)
            if push.collapse_id is not None:
                self.submit([own])
            elif device.dead and not device.busy:
                self.disconnect(device)
                self.submit([own])
            else:
                entry = Entry(own, seq)
                self.entries.append(entry)
                self.deliver(device, entry)

    def recall(self, push_id: str) -> None:
        for entry in self.held_by_all():
            if entry.push.id == push_id:
                entry.state = State.RECALLED

    def connect(self, token: str, mode: Mode) -> None:
        if token in self.devices:
            self.disconnect(self.devices[token])
        device = self.devices[token] = Device(token, mode, self.next_seq())
        if self.held(token, State.STORED):
            device.overflowed = True
            self.pump(device)

    def set_mode(self, token: str, mode: Mode) -> None:
        if device := self.devices.get(token):
            device.mode = mode
            if device.busy and mode != "shut":
                self.pump(device)

    def die(self, token: str) -> None:
        if device := self.devices.get(token):
            device.dead = True
            if device.busy:
                self.pump(device)

    def leave(self, token: str) -> None:
        if device := self.devices.get(token):
            self.disconnect(device)

    def whisper(self, token: str) -> None:
        device = self.devices.get(token)
        if device is None or device.busy:
            return
        if device.dead:
            self.disconnect(device)
        else:
            device.flying = "comment"
            self.pump(device)

    def unregister(self, token: str) -> None:
        self.leave(token)
        for entry in self.held(token, State.STORED, State.DELAYED):
            entry.state = State.RECALLED

    def wait(self, seconds: int) -> None:
        """Time passes: pushes fall due, devices prove too slow, and each second expires some."""
        end = self.now + seconds
        while (at := self.next_event()) <= end:
            self.now = at
            for entry in self.held_by_all():
                if entry.state is State.DELAYED and entry.push.not_before == at:
                    self.place(entry)
                elif at == int(at) and entry.push.storable and int(entry.push.expires_at) < at:
                    entry.state = State.EXPIRED
            for device in list(self.devices.values()):
                if device.deadline == at:
                    self.disconnect(device, too_slow=True)
        self.now = end

    def next_event(self) -> float:
        due = [e.push.not_before for e in self.entries if e.state is State.DELAYED]
        slow = [device.deadline for device in self.devices.values()]
        return min([int(self.now) + 1, *due, *slow])

    # -- one push

    def place(self, entry: Entry) -> None:
        entry.seq = self.next_seq()
        entry.state = State.IN_FLIGHT
        device = self.devices.get(entry.push.token)
        if device is not None and device.dead and not device.busy:
            self.disconnect(device)
            device = None
        if device is None:
            self.keep(entry)
        else:
            self.deliver(device, entry)

    def deliver(self, device: Device, entry: Entry) -> None:
        if not device.busy:
            self.begin(device, entry)
            self.pump(device)
        elif len(device.queue) < self.capacity and not device.overflowed:
            device.queue.append(entry)
            entry.state = State.QUEUED
        else:
            device.overflowed = True
            self.keep(entry)
            if entry.state is State.DISCARDED:
                entry.state = State.DROPPED_MAILBOX_FULL

    def keep(self, entry: Entry, *, returned: bool = False) -> None:
        token = entry.push.token
        if not entry.push.storable:
            entry.state = State.DISCARDED
            return
        older = self.in_slot(entry.push)
        if older is not None and older.seq > entry.seq:
            entry.state = State.COALESCED
            return
        if older is not None:
            older.state = State.COALESCED
        elif not returned and len(self.held(token, State.STORED)) >= self.per_token:
            entry.state = State.DROPPED_MAILBOX_FULL
            return
        entry.state = State.STORED

    def displace(self, push: Push) -> None:
        if older := self.in_slot(push):
            older.state = State.COALESCED

    def in_slot(self, push: Push) -> Entry | None:
        held = self.held(push.token, State.STORED, State.DELAYED)
        same = [entry for entry in held if push.slot and entry.push.slot == push.slot]
        assert len(same) <= 1
        return same[0] if same else None

    # -- one device

    def begin(self, device: Device, entry: Entry) -> None:
        device.flying = entry
        entry.state = State.IN_FLIGHT

    def pump(self, device: Device) -> None:
        """The device takes what it takes."""
        while waiting := self.line_up(device):
            if device.dead:
                return self.disconnect(device)
            entry = waiting[0]
            if isinstance(entry, Entry):
                self.begin(device, entry)
            if device.mode != "open":
                device.mode = "shut"
                device.deadline = self.now + self.write_timeout_s
                return None
            device.flying = None
            if isinstance(entry, Entry):
                waited = entry.seq < device.attached
                entry.state = State.DELIVERED_ON_CONNECT if waited else State.DELIVERED_LIVE
                self.read.setdefault(device.token, []).append(entry.push.payload)
        device.overflowed = False
        device.deadline = math.inf
        return None

    def line_up(self, device: Device) -> Sequence[Entry | Literal["comment"]]:
        """What it is sent next; what has expired ends, and the first of the queue flies."""
        while device.queue and device.flying is None:
            entry = device.queue.pop(0)
            if not self.expire(entry):
                self.begin(device, entry)
        flying = [device.flying] if device.flying else []
        if device.queue:
            return flying
        stored = self.held(device.token, State.STORED)
        return [*flying, *(entry for entry in stored if not self.expire(entry))]

    def expire(self, entry: Entry) -> bool:
        if entry.push.expired(self.now):
            entry.state = State.EXPIRED
        return entry.state is State.EXPIRED

    def disconnect(self, device: Device, *, too_slow: bool = False) -> None:
        del self.devices[device.token]
        for entry in [device.flying, *device.queue]:
            if not isinstance(entry, Entry):
                continue
            self.keep(entry, returned=True)
            if entry.state is State.DISCARDED and too_slow:
                entry.state = State.DROPPED_DEVICE_TOO_SLOW
