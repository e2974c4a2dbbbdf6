"""Pushes by APNs over HTTP/1.1, as Fleet and NanoMDM send them to a server without TLS.

The provider client could do it, one for each lane; at one push at a time it takes twice as long
for each (72 µs instead of 35), and there would be half as many.
"""

from __future__ import annotations

import trio

from trio_push.clock import Clock
from trio_push.swarm.audit import Audit
from trio_push.swarm.http1 import Answer, Http1Connection
from trio_push.swarm.lane import Planned, one_by_one, refusal
from trio_push.swarm.provider import Provider
from trio_push.swarm.target import Target


class ApnsLane:
    """One request at a time; many lanes make the rate."""

    delay_s = 0.0

    def __init__(self, target: Target, audit: Audit, provider: Provider) -> None:
        self._connection = Http1Connection(target, provider.context)
        self._audit = audit
        self._authorization = provider.authorization
        self._clock = Clock()
        topic_line = f"apns-topic: {provider.topic}\r\n" if provider.topic else ""
        self._head = (
            f"Host: {target.authority}\r\nContent-Type: application/json\r\n"
            f"apns-push-type: {provider.push_type}\r\n{topic_line}"
        ).encode()

    async def run(self, pushes: trio.MemoryReceiveChannel[Planned]) -> None:
        await one_by_one(self._connection, pushes, self._audit, self._request, self._settle)

    def _request(self, push: Planned) -> bytes:
        return b"POST /3/device/%b HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n%b" % (
            push.token.encode(),
            self._head,
            self._authorization_line(),
            len(push.payload),
            push.payload,
        )

    def _authorization_line(self) -> bytes:
        if self._authorization is None:
            return b""
        return b"Authorization: %b\r\n" % self._authorization.header(self._clock.wall())

    def _settle(self, push: Planned, answer: Answer) -> None:
        if answer.status == 200:
            self._audit.accept()
        else:
            self._audit.refuse(push.to, push.n, refusal(answer.status, answer.body))
