"""The SSE transport: what a push, a heartbeat and a farewell look like on an event stream."""

from __future__ import annotations

from trio_push.push import Push
from trio_push.wire import sse
from trio_push.wire.close_codes import CloseCode


class SseTransport:
    """Frames pushes as Server-Sent Events with ids `<epoch>:<seq>`."""

    name = "sse"
    keepalive = sse.KEEPALIVE

    def __init__(self, epoch: str) -> None:
        self._epoch = epoch.encode()

    def frame(self, seq: int, push: Push) -> bytes:
        return sse.event(self._epoch, seq, push.payload, push.event)

    def farewell(self, why: CloseCode, retry_ms: int | None = None) -> bytes:
        return b"" if retry_ms is None else sse.retry(retry_ms)
