"""What was delivered of late, so that a device that comes back can ask for what it missed.

The kernel taking an event is not the device reading it: when a connection breaks, what was on
its way is gone, and only the device knows from where. Bounded per token and in sum; what falls
out at the far end moves a floor up, and who asks from below it is told that there is a gap.
Pure; delivery adds, the router asks.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from operator import attrgetter
from typing import NamedTuple

from trio_push.push import Numbered


class Missed(NamedTuple):
    """The answer to "what came after this number": the events, and whether they are all."""

    events: list[Numbered]
    complete: bool


class CameFrom(NamedTuple):
    """Another node may have delivered to the token before this number; what, that one knows."""

    seq: int
    node: str
    #: what it delivered after this number is known here by now
    known_after: float = math.inf


class Shelf(NamedTuple):
    """What is known of one token."""

    #: nothing up to this number is
    floor: int
    delivered: list[Numbered]
    came_from: list[CameFrom]


class History:
    """Delivered pushes by token, in the order in which they were delivered."""

    def __init__(self, *, per_token: int, total: int, floor: int = 0) -> None:
        self._per_token = per_token
        self._total = total
        #: nothing up to this number is known any more, for any token
        self._floor = floor
        #: deliveries so far: a mark that tells what was delivered before a connection came
        self.mark = 0
        #: token → (mark, push) of each delivery
        self._by_token: dict[str, list[tuple[int, Numbered | CameFrom]]] = {}
        #: the floor of tokens whose own bound was reached; goes with the token's last entry
        self._floors: dict[str, int] = {}
        #: (mark, token) of each delivery; may name what is gone from `_by_token` already
        self._order: deque[tuple[int, str]] = deque()

    def __len__(self) -> int:
        return len(self._order)

    def add(self, token: str, entry: Numbered | CameFrom) -> None:
        """Remember a delivery, or who may know of others; the numbers of a token only grow."""
        self.mark += 1
        shelf = self._by_token.get(token)
        if shelf is None:
            self._by_token[token] = [(self.mark, entry)]
        else:
            if isinstance(entry, CameFrom):
                _take_out(shelf, entry.node)
            shelf.append((self.mark, entry))
            if len(shelf) > self._per_token:
                self._floors[token] = shelf.pop(0)[1].seq
        self._order.append((self.mark, token))
        if len(self._order) > self._total:
            self._forget_oldest()

    def since(self, token: str, seq: int, now: float, *, before: int | None = None) -> Missed:
        """What was delivered for a token after the number `seq` and has not expired by `now`.

        With `before`, only what was delivered before that mark.
        """
        events = [
            numbered
            for mark, numbered in self._by_token.get(token, ())
            if isinstance(numbered, Numbered)
            and numbered.seq > seq
            and (before is None or mark <= before)
            and not numbered.push.expired(now)
        ]
        return Missed(events, seq >= max(self._floor, self._floors.get(token, 0)))

    def origins(self, token: str, seq: int) -> list[str]:
        """Nodes that may have delivered to a token after the number `seq`, before it came here."""
        shelf = reversed(self._by_token.get(token, ()))
        return [
            each.node
            for _, each in shelf
            if isinstance(each, CameFrom) and seq < min(each.seq, each.known_after)
        ]

    def know_after(self, token: str, seq: int) -> None:
        """All that others delivered to a token after the number `seq` is here."""
        shelf = self._by_token.get(token, [])
        for i, (mark, each) in enumerate(shelf):
            if isinstance(each, CameFrom) and each.known_after > seq:
                shelf[i] = mark, each._replace(known_after=seq)

    def find(self, token: str, last_seen: int | str) -> int | None:
        """The number of the latest delivery to this token that had it, or the push of that id."""
        for _, each in reversed(self._by_token.get(token, ())):
            if isinstance(each, Numbered) and last_seen in (each.seq, each.push.id):
                return each.seq
        return None

    def tokens(self) -> Iterable[str]:
        """Those of which anything is known, the latest delivery first."""
        return dict.fromkeys(t for _, t in reversed(self._order) if t in self._by_token)

    def shelf(self, token: str) -> Shelf:
        """All that is known of a token; to be made a history of its own by `of`."""
        entries = [each for _, each in self._by_token.get(token, ())]
        return Shelf(
            max(self._floor, self._floors.get(token, 0)),
            [each for each in entries if isinstance(each, Numbered)],
            [each for each in entries if isinstance(each, CameFrom)],
        )

    @classmethod
    def of(cls, token: str, shelf: Shelf) -> History:
        """The history of one token."""
        entries: list[Numbered | CameFrom] = [*shelf.delivered, *shelf.came_from]
        entries.sort(key=attrgetter("seq"))
        history = cls(per_token=len(entries), total=len(entries), floor=shelf.floor)
        for each in entries:
            history.add(token, each)
        return history

    def forget(self, token: str) -> None:
        """The token is unregistered."""
        self._by_token.pop(token, None)
        self._floors.pop(token, None)

    def _forget_oldest(self) -> None:
        mark, token = self._order.popleft()
        shelf = self._by_token.get(token)
        if shelf is None or shelf[0][0] != mark:
            return
        self._floor = max(self._floor, shelf.pop(0)[1].seq)
        if not shelf:
            self.forget(token)


def _take_out(shelf: list[tuple[int, Numbered | CameFrom]], node: str) -> None:
    """A node is noted once between two deliveries, however often the device comes and goes."""
    for i in reversed(range(len(shelf))):
        each = shelf[i][1]
        if isinstance(each, Numbered):
            break
        if each.node == node:
            del shelf[i]
            break
