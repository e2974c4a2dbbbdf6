"""What a swarm and its workers say to each other. Pure.

    parent                                         worker
    Order ─────────────────────────────────────▶   makes its devices
                                       Ready ◀──
    Connect ───────────────────────────────────▶   its part of the ramp
                                       Tried ◀──   all have tried
    Stir ──────────────────────────────────────▶   churn and storms
    Settle ────────────────────────────────────▶   compares what came with the plan
                                     Settled ◀──
    Name ──────────────────────────────────────▶   looks whom it went worst with
                                       Named ◀──
    (the end of the stream) ───────────────────▶   ends
    and at any time: Look ◀──, Failed ◀──

A message is MessagePack behind its length in four bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from trio_push.errors import ProtocolError
from trio_push.framing import Frames, framed
from trio_push.swarm.settings import SwarmSettings
from trio_push.swarm.tally import Tally
from trio_push.swarm.worst import Worst

#: an `Order` with a million tokens is the largest
MAX_MESSAGE_BYTES = 128 * 2**20


class Order(msgspec.Struct, frozen=True, tag=True):
    """Be so many devices of a swarm."""

    #: of this worker: its devices, its part of the rates
    settings: SwarmSettings
    #: what marks the pushes of the run
    run: str
    #: index of the first of the devices among all of the swarm
    first: int
    #: of what this worker leaves to chance
    seed: int
    #: devices that may be connecting at the same time
    connecting_at_once: int
    #: addresses to connect from; none: the kernel chooses
    sources: Sequence[str]
    #: None: they are generated
    tokens: Sequence[str] | None
    #: how much the worker's clock is ahead of the one that stamps the pushes
    ahead_s: float = 0.0


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The devices are made, none is connected."""


class Connect(msgspec.Struct, frozen=True, tag=True):
    """Begin the ramp."""


class Tried(msgspec.Struct, frozen=True, tag=True):
    """Every device has tried to connect."""


class Stir(msgspec.Struct, frozen=True, tag=True):
    """Begin with churn, and count the time to the storm."""


class Settle(msgspec.Struct, frozen=True, tag=True):
    """End the unrest, read what is left, and audit by this plan; see `Audit.learn`."""

    planned: bytes
    exempt: bytes


class Settled(msgspec.Struct, frozen=True, tag=True):
    """Looks from before it know nothing of the plan; the one just before it does."""


class Name(msgspec.Struct, frozen=True, tag=True):
    """Say which devices fared worst; so many pushes were lost in all."""

    lost: int


class Named(msgspec.Struct, frozen=True, tag=True):
    """The devices that fared worst, the worst first."""

    worst: list[Worst]


class Look(msgspec.Struct, frozen=True, tag=True):
    """What was counted since the last one."""

    tally: Tally
    #: CPU time of the worker, in sum
    cpu_s: float


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The order cannot be carried out; why, for the user."""

    why: str


ToWorker = Order | Connect | Stir | Settle | Name
FromWorker = Ready | Tried | Settled | Named | Look | Failed
Message = ToWorker | FromWorker

_encoder = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    return framed(_encoder.encode(message))


class Decoder:
    """Bytes in, messages of the types `kinds` out, however they are cut."""

    def __init__(self, kinds: Any) -> None:
        """Any: a union of types is no type to the type checker."""
        self._decoder = msgspec.msgpack.Decoder(kinds, dec_hook=_decode_counter)
        self._frames = Frames(MAX_MESSAGE_BYTES)

    def feed(self, data: bytes | bytearray) -> Iterator[Any]:
        """Yields what is whole. Raises ProtocolError for what is no message."""
        try:
            yield from map(self._decoder.decode, self._frames.feed(data))
        except msgspec.MsgspecError as exc:
            raise ProtocolError(f"no message of a swarm: {exc}") from exc
        except ValueError as exc:
            raise ProtocolError(str(exc)) from exc


def _decode_counter(kind: Any, value: Any) -> Any:
    """The one type of a tally that msgspec does not know. Any, as msgspec calls it."""
    assert kind == Counter[str]
    return Counter(value)
