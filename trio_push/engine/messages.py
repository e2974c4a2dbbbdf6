"""What nodes put into each other's inboxes: pushes, news about tokens, questions and answers.

In msgpack. Nodes of two versions meet while they are replaced one by one: a field may be added
where it has a default, and a message of an unknown kind is passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final, TypeAlias

import msgspec

from trio_push.push import Push

#: seconds that a node has to answer a question of another
ANSWER_S: Final = 5.0


class Pushes(msgspec.Struct, tag="push", frozen=True):
    """Pushes for devices that the receiver is thought to have."""

    sender: str
    #: counts the messages of this kind to the receiver: one that comes twice is known by it
    number: int
    pushes: list[Push]


class Moved(msgspec.Struct, tag="moved", frozen=True):
    """The devices of these tokens have connected to another node.

    When that did (epoch milliseconds) is said where it may be long ago, as the node was cut off:
    a device that has come later stays.
    """

    tokens: list[str]
    at_ms: list[int] = []


class Due(msgspec.Struct, tag="due", frozen=True):
    """There is something for these tokens among the shared rows."""

    tokens: list[str]


class Left(msgspec.Struct, tag="left", frozen=True):
    """A node has just ended."""

    node: str


class Registration(msgspec.Struct, tag="registration", frozen=True):
    """A token is unregistered since then (epoch milliseconds), or registered again."""

    token: str
    since_ms: int | None = None


class Acknowledged(msgspec.Struct, tag="acknowledged", frozen=True):
    """The device has a push for whose acknowledgement the receiver waits."""

    push_id: str


class Expect(msgspec.Struct, tag="expect", frozen=True):
    """The sender waits for the acknowledgement of a push, or does so no more."""

    sender: str
    push_id: str
    is_waiting: bool = True


# -- questions


class Yield(msgspec.Struct, tag="yield", frozen=True):
    """A device has come to the sender: write down what you have for it, and let it go.

    What was it sent after this number? Answered by SentSince; without a number, by nothing in
    it. Not to be heeded later than ANSWER_S after it was asked: the device may be back.
    """

    token: str
    asked_at: float
    seq: int | None = None


class Recollect(msgspec.Struct, tag="recollect", frozen=True):
    """What was a device sent at your side after this number? Answered by SentSince."""

    token: str
    seq: int


class Find(msgspec.Struct, tag="find", frozen=True):
    """Which number has the push with this id, or is this the number of one? Answered by Found."""

    token: str
    last_seen: int | str


class ConnectedAt(msgspec.Struct, tag="connected_at", frozen=True):
    """Since when have you a device? Answered by epoch milliseconds, 0 when you have it not."""

    token: str


class Recall(msgspec.Struct, tag="recall", frozen=True):
    """Take back the pushes with this id that you hold. Answered by a number."""

    push_id: str


class Ack(msgspec.Struct, tag="ack", frozen=True):
    """The device says that it has a push. Answered by how many awaited that."""

    token: str
    push_id: str


class Broadcast(msgspec.Struct, tag="broadcast", frozen=True):
    """A push for all your devices. Answered by how many ended in which state."""

    push: Push


class Changed(msgspec.Struct, tag="changed", frozen=True):
    """Settings have been changed, by name; `last` is the number of the last of these changes.

    Answered by nothing in particular, once they hold.
    """

    last: int
    values: dict[str, bytes]


class Inquiry(msgspec.Struct, tag="inquiry", frozen=True):
    """What do you know of that? The kinds are those of `Node.answers`. Answered by Statement."""

    kind: str
    body: bytes = b""


Question: TypeAlias = (
    Yield | Recollect | Find | ConnectedAt | Recall | Ack | Broadcast | Changed | Inquiry
)


class Ask(msgspec.Struct, tag="ask", frozen=True):
    sender: str
    number: int
    question: Question


class SentSince(msgspec.Struct, tag="sent_since", frozen=True):
    """Pushes in the order in which they were delivered, and whether they are all."""

    pushes: list[Push]
    complete: bool
    #: the node that was to yield the token to the sender, and has not answered yet
    waits_for: str = ""
    #: of the pushes, by the clock of the node
    numbers: list[int] = []
    #: nodes that may have sent the device more of it
    origins: list[str] = []


class Found(msgspec.Struct, tag="found", frozen=True):
    """The number, if it is known, and nodes that had the device before."""

    seq: int | None
    origins: list[str]


class Counts(msgspec.Struct, tag="counts", frozen=True):
    """How many, by state; a plain number stands under 0."""

    counts: dict[int, int]


class Statement(msgspec.Struct, tag="statement", frozen=True):
    body: bytes


Reply: TypeAlias = SentSince | Found | Counts | Statement


class Answer(msgspec.Struct, tag="answer", frozen=True):
    number: int
    reply: Reply


Message: TypeAlias = (
    Pushes | Moved | Due | Left | Registration | Acknowledged | Expect | Ask | Answer
)

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Message).decode
_split: Final = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


def encode(messages: Sequence[Message]) -> bytes:
    return _encode(messages)


def decode(data: bytes) -> list[Message]:
    """The messages of an entry, without those that a newer version may have sent."""
    messages = []
    for raw in _split(data):
        with suppress(msgspec.ValidationError):
            messages.append(_decode(raw))
    return messages
