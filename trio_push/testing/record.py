"""What was pushed, token by token, for tests to look at and to wait for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import trio

from trio_push.push import Push, State
from trio_push.router.channel import PushChannel
from trio_push.watch.ledger import Ledger


class NotReceived(AssertionError):
    """A push that a test waited for did not come; the message says what did."""


@dataclass(frozen=True, slots=True)
class Received:
    """A push that the server accepted."""

    #: the apns-id
    id: str
    #: the device token, in lower case
    token: str
    payload: bytes
    topic: str
    collapse_id: str | None
    priority: int
    #: epoch seconds; 0: now or never
    expires_at: float
    #: where it was when its sender got the answer: "delivered", "stored", "discarded" …
    outcome: str

    @property
    def json(self) -> Any:
        """The payload, decoded. Raises ValueError when it is no JSON."""
        return orjson.loads(self.payload)


class Record(PushChannel):
    """Stands before a push channel, and notes what it accepts."""

    def __init__(self, channel: PushChannel, ledger: Ledger) -> None:
        # not super(): the channel behind is the one that there is
        self._channel = channel
        self._ledger = ledger
        self._received: list[Received] = []
        self._came = trio.Event()

    async def submit(self, pushes: Sequence[Push]) -> list[State]:
        states = await self._channel.submit(pushes)
        accepted = zip(pushes, states, strict=True)
        self._received += [_received(*each) for each in accepted if each[1] is not State.LOST]
        came, self._came = self._came, trio.Event()
        came.set()
        return states

    def close(self) -> None:
        self._channel.close()

    def of(self, token: str | None) -> list[Received]:
        """What was accepted for a token, or for all (None), in order."""
        return [each for each in self._received if token in (None, each.token)]

    def forget(self) -> None:
        self._received.clear()

    async def wait_for(self, token: str, n: int, timeout_s: float) -> Received:
        """The `n`th push for a token. Raises NotReceived when it does not come in time."""
        with trio.move_on_after(timeout_s):
            while len(found := self.of(token)) < n:
                await self._came.wait()
            return found[n - 1]
        raise NotReceived(self._complaint(token, n, timeout_s))

    def _complaint(self, token: str, n: int, timeout_s: float) -> str:
        found = self.of(token)
        others = sorted({each.token for each in self._received} - {token})
        return (
            f"push {n} for {token} did not come within {timeout_s:g} s; "
            f"there came {len(found)} for it and {len(self._received) - len(found)} for others"
            + (f" ({', '.join(others[:5])})" if others else "")
            + f"; refused were {dict(self._ledger.refused) or 'none'}"
        )


def _received(push: Push, state: State) -> Received:
    return Received(
        id=push.id,
        token=push.token,
        payload=push.payload,
        topic=push.topic,
        collapse_id=push.collapse_id,
        priority=push.priority,
        expires_at=push.expires_at,
        outcome=state.outcome,
    )
