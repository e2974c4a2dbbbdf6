"""What the parent, the fork server and the workers say to each other, and how it is framed. Pure.

    parent → fork server   Fork, Run             with files beside them
    fork server → parent   Warm, Forked, Ended
    worker → parent        Ready, Unusable, Leaving, Question, Reply, Last
    parent → worker        Begin, End, Hurry, Died, Asked, Answers

Between parent and workers each message is preceded by its length; with the fork server the
kernel keeps them apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from trio_push.config import ServeSettings
from trio_push.framing import HEAD_BYTES, Frames, framed

#: A page of a thousand devices has 200 KB. What is longer is nothing that we say.
MAX_BYTES = 64 * 2**20


class Message(msgspec.Struct, frozen=True, tag=True):
    """The root of them all."""


# -- with the fork server


class Fork(Message, frozen=True, tag=True):
    """Fork a worker.

    Its files: control channel, scoreboard, sockets of --listen, of --tls-listen, and that of the
    API if there is one.
    """

    key: int
    place: int
    row: int
    rows: int
    #: names all workers together
    whole: str
    settings: ServeSettings
    plain: int
    tls: int


class Run(Message, frozen=True, tag=True):
    """Run a program that ends with the fork server, and not before it is killed."""

    key: int
    command: list[str]


class Warm(Message, frozen=True, tag=True):
    """All is imported."""


class Forked(Message, frozen=True, tag=True):
    key: int
    pid: int


class Ended(Message, frozen=True, tag=True):
    """`code` is an exit code, or a signal's number below zero."""

    key: int
    code: int


# -- from a worker


class Ready(Message, frozen=True, tag=True):
    """It can take connections."""

    node: str


class Unusable(Message, frozen=True, tag=True):
    """A setting cannot be used: the text of the ConfigError."""

    why: str


class Leaving(Message, frozen=True, tag=True):
    """It was told by somebody else to end, and does."""


class Question(Message, frozen=True, tag=True):
    """To be asked of every worker, also of the one that asks."""

    id: int
    kind: str
    body: bytes
    timeout_s: float


class Reply(Message, frozen=True, tag=True):
    """The answer to an `Asked`; None: it cannot answer."""

    id: int
    body: bytes | None


class Last(Message, frozen=True, tag=True):
    """Its metrics, as they stay when it has ended."""

    metrics: bytes


# -- to a worker


class Begin(Message, frozen=True, tag=True):
    """Take connections."""


class End(Message, frozen=True, tag=True):
    """Say good-bye and end. `retiring`: another takes the pushes meanwhile."""

    retiring: bool


class Hurry(Message, frozen=True, tag=True):
    """End at once."""


class Asked(Message, frozen=True, tag=True):
    id: int
    kind: str
    body: bytes


class Died(Message, frozen=True, tag=True):
    """Another worker was killed: its node will not come back."""

    node: str


class Heard(Message, frozen=True, tag=True):
    """What one worker has answered; None: nothing, in time."""

    place: int
    row: int
    node: str
    body: bytes | None


class Answers(Message, frozen=True, tag=True):
    """All answers to a `Question`."""

    id: int
    heard: list[Heard]


FromForkServer = Warm | Forked | Ended
ToForkServer = Fork | Run
FromWorker = Ready | Unusable | Leaving | Question | Reply | Last
ToWorker = Begin | End | Hurry | Died | Asked | Answers

encode: Final = msgspec.msgpack.Encoder().encode


def decoder(kinds: Any) -> msgspec.msgpack.Decoder[Any]:
    """What reads messages of these kinds, a union of them."""
    return msgspec.msgpack.Decoder(kinds)


def frame(message: Message) -> bytes:
    """A message with its length before it."""
    return framed(encode(message))


class Unframer:
    """Messages out of a stream of bytes."""

    def __init__(self, kinds: Any) -> None:
        self._decode = decoder(kinds).decode
        self._frames = Frames(MAX_BYTES - HEAD_BYTES)

    def feed(self, data: bytes) -> Iterator[Any]:
        """The messages that are complete with `data`. Raises ValueError on what is none."""
        return map(self._decode, self._frames.feed(data))
