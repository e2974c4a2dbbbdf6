"""All nodes that are one server: what is asked of the whole is asked here, of any of them.

A node alone is a whole of one; with `serve --workers N` the workers are. Each node knows how to
answer for itself (`Node.answers`, by kind of question); who asks puts the answers together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from trio_push.push import State

if TYPE_CHECKING:
    from trio_push.node import Node

#: seconds after which who has not answered is left out: its loop stands still
ANSWER_TIMEOUT_S = 2.0


class Figures(NamedTuple):
    """What is known of one node, or of several, without asking."""

    devices: int
    #: pushes in each State, and those not accepted there, as in `Ledger`
    counts: Sequence[int]
    origins: Sequence[int]

    @property
    def accepted(self) -> int:
        return sum(self.counts) - sum(self.origins)


class Answer(NamedTuple):
    """What one node says of itself; `worker` is its number, 0 for one that is alone."""

    worker: int
    node: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Answers:
    """What all nodes say of themselves."""

    heard: list[Answer]
    #: nodes that did not answer in time, as far as is known; what is asked of them may be undone
    silent: list[Figures]


class Whole(Protocol):
    """All nodes together."""

    @property
    def id(self) -> str:
        """Names the whole for as long as there is somebody in it."""

    @property
    def ready(self) -> bool:
        """Whether all nodes that it is to have were there once."""

    async def ask(
        self, kind: str, body: bytes = b"", *, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> Answers:
        """Every node's answer, this one's too."""

    def figures(self) -> list[Figures]:
        """What is known of each node, this one's too, not older than about a second."""

    def past(self) -> Figures:
        """What nodes that have ended left in the books."""


class Alone:
    """A node is the whole."""

    ready = True

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def id(self) -> str:
        return self._node.id

    async def ask(
        self, kind: str, body: bytes = b"", *, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> Answers:
        node = self._node
        return Answers([Answer(0, node.id, await node.answers[kind](body))], [])

    def figures(self) -> list[Figures]:
        return [figures_of(self._node)]

    def past(self) -> Figures:
        return Figures(0, [0] * len(State), [0, 0, 0])


def figures_of(node: Node) -> Figures:
    """The figures of a node as they are now."""
    ledger = node.ledger
    return Figures(len(node.directory), tuple(ledger.counts), tuple(ledger.origins))
