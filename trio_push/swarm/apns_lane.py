"""Pushes by APNs over HTTP/1.1, as Fleet and NanoMDM send them to a server without TLS."""

from __future__ import annotations

from functools import partial

import trio

from trio_push.swarm.audit import Audit
from trio_push.swarm.http1 import Http1Connection, authorization_line
from trio_push.swarm.lane import Planned, refusal
from trio_push.swarm.target import Target


class ApnsLane:
    """One request at a time; many lanes make the rate."""

    delay_s = 0.0

    def __init__(
        self, target: Target, audit: Audit, topic: str | None, *, api_key: str | None = None
    ) -> None:
        self._connection = Http1Connection(target)
        self._audit = audit
        topic_line = f"apns-topic: {topic}\r\n" if topic else ""
        self._head = (
            f"Host: {target.authority}\r\nContent-Type: application/json\r\n"
            f"apns-push-type: mdm\r\n{topic_line}{authorization_line(api_key)}"
        )

    async def run(self, pushes: trio.MemoryReceiveChannel[Planned]) -> None:
        try:
            async for push in pushes:
                await self._send(push)
        finally:
            self._connection.close()

    async def _send(self, push: Planned) -> None:
        audit, to, n = self._audit, push.to, push.n
        answer = await self._connection.ask(
            self._request(push),
            unsent=partial(audit.leave_unsent, to, n),
            unanswered=partial(audit.leave_unanswered, to, n),
        )
        if answer is None:
            return
        if answer.status == 200:
            audit.accept()
        else:
            audit.refuse(to, n, refusal(answer.status, answer.body))

    def _request(self, push: Planned) -> bytes:
        return (
            f"POST /3/device/{push.token} HTTP/1.1\r\n{self._head}"
            f"Content-Length: {len(push.payload)}\r\n\r\n"
        ).encode() + push.payload
