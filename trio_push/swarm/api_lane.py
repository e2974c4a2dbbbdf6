"""Pushes by the server's own API: all that wait are sent in one request of many lines."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import zip_longest
from typing import Any

import orjson
import trio

from trio_push.swarm.audit import Audit
from trio_push.swarm.http1 import Http1Connection, authorization_line
from trio_push.swarm.lane import Planned
from trio_push.swarm.target import Target

#: pushes in one request: their answers fit into the buffers of a socket, so that the server can
#: write them all while we are still sending
MAX_BATCH = 200


class ApiLane:
    """`POST /v1/pushes` over and over; batches grow by themselves when the server is slow."""

    def __init__(
        self,
        target: Target,
        audit: Audit,
        topic: str | None,
        *,
        delay_s: float = 0.0,
        ack: bool = False,
        api_key: str | None = None,
    ) -> None:
        self.delay_s = delay_s
        self._connection = Http1Connection(target)
        self._audit = audit
        fields = {"topic": topic, "delay_s": delay_s, "ack": ack}
        #: what the lines have in common, as the end of a JSON object
        self._common = b"".join(
            b",%b:%b" % (orjson.dumps(name), orjson.dumps(value))
            for name, value in fields.items()
            if value
        )
        self._head = (
            f"POST /v1/pushes HTTP/1.1\r\nHost: {target.authority}\r\n"
            f"Content-Type: application/x-ndjson\r\nAccept: application/x-ndjson\r\n"
            f"{authorization_line(api_key)}"
        )

    async def run(self, pushes: trio.MemoryReceiveChannel[Planned]) -> None:
        try:
            async for push in pushes:
                batch = [push]
                try:
                    while len(batch) < MAX_BATCH:
                        batch.append(pushes.receive_nowait())
                except (trio.WouldBlock, trio.EndOfChannel):
                    pass  # all that waited are in the batch
                await self._send(batch)
        finally:
            self._connection.close()

    async def _send(self, batch: list[Planned]) -> None:
        def give_up(settle: Callable[[int, int], None]) -> None:
            for push in batch:
                settle(push.to, push.n)

        answer = await self._connection.ask(
            self._request(batch),
            unsent=partial(give_up, self._audit.leave_unsent),
            unanswered=partial(give_up, self._audit.leave_unanswered),
        )
        if answer is not None:
            self._settle(batch, answer.status, answer.body)

    def _request(self, batch: list[Planned]) -> bytes:
        lines = b"".join(
            b'{"token":"%b","payload":%b%b}\n' % (push.token.encode(), push.payload, self._common)
            for push in batch
        )
        return f"{self._head}Content-Length: {len(lines)}\r\n\r\n".encode() + lines

    def _settle(self, batch: list[Planned], status: int, body: bytes) -> None:
        """Match the answers, a line each and in order, with the pushes."""
        answers = [_parse(line) for line in body.splitlines()] if status == 200 else []
        for push, answer in zip_longest(batch, answers[: len(batch)]):
            if status != 200:
                self._audit.refuse(push.to, push.n, f"status {status}")
            elif answer is None:
                self._audit.leave_unanswered(push.to, push.n)
            elif "outcome" in answer:
                self._audit.accept()
            else:
                self._audit.refuse(push.to, push.n, _reason(answer))


def _parse(line: bytes) -> dict[str, Any] | None:
    """One answer; None for what is none. Its values are whatever the server sent: Any."""
    try:
        answer = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return answer if isinstance(answer, dict) else None


def _reason(answer: dict[str, Any]) -> str:
    """The name of a problem: the end of its type."""
    error = answer.get("error")
    kind = str(error.get("type", "")) if isinstance(error, dict) else ""
    return kind.rpartition("#")[2] or "refused"
