"""aioapns."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch
from urllib.parse import urlsplit
from uuid import uuid4

import aioapns
import aioapns.connection
import h2.events
from aioapns.connection import APNsProductionClientProtocol

from tests.interop.running import Running
from tests.interop.strict import VOIP, Ask, Provider
from tests.interop.strict_clients.base import (
    ALWAYS_PROVES,
    KEEPS_ITS_KEY,
    KEEPS_ITS_TOKEN,
    ONLY_POST,
    Answer,
    AsyncioClient,
    Fate,
    Push,
)


class Aioapns(AsyncioClient):
    """It keeps a connection."""

    never: Final = {
        **ONLY_POST,
        **ALWAYS_PROVES,
        **KEEPS_ITS_KEY,
        **KEEPS_ITS_TOKEN,
        "MissingTopic": "it has a topic of its own for such pushes",
        "BadMessageId": "it looks for the answer by the id, which this answer cannot have",
    }
    never_by_certificate: Final[dict[str, str]] = {}
    refused: Final = "never answered"
    reads_when_idle: Final = True
    #: it sends again whatever is under way, also what is just being answered
    after_goaway: Final = {"at": Fate(told=True, accepted=2), "before": Fate(True, 1)}

    def __init__(self) -> None:
        #: those that it has
        self.connections: list[Any] = []

    @asynccontextmanager
    async def open(self, server: Running, provider: Provider) -> AsyncIterator[Push]:
        url = urlsplit(server.tls)
        auth: dict[str, Any] = {"client_cert": str(provider.certificate)}
        if provider.certificate is None:
            auth = {"key": provider.key.read_text(), "key_id": provider.key_id}
            auth["team_id"] = provider.team_id
        clock = SimpleNamespace(time=lambda: time.time() - provider.behind_s)
        resets = _Resets()
        logger = logging.getLogger("aioapns")
        logger.addHandler(resets)
        with (
            patch.object(APNsProductionClientProtocol, "APNS_SERVER", url.hostname),
            patch.object(APNsProductionClientProtocol, "APNS_PORT", url.port),
            patch.object(aioapns.connection, "time", clock),
        ):
            client = aioapns.APNs(
                **auth,
                topic=VOIP,
                ssl_context=ssl.create_default_context(cafile=server.ca),
                max_connections=1,
                max_connection_attempts=2,
            )
            self.connections = resets.connections = client.pool.connections
            try:
                yield lambda ask: self._push(client, ask, resets)
            finally:
                logger.removeHandler(resets)
                client.pool.close()
                while client.pool.connections:
                    await asyncio.sleep(0.01)  # what close() began ends in the loop

    async def _push(self, client: aioapns.APNs, ask: Ask, resets: _Resets) -> Answer:
        request = _aioapns_request(ask)
        lost = resets.lost[request.notification_id] = asyncio.Event()
        sending = asyncio.ensure_future(client.send_notification(request))
        waiting = asyncio.ensure_future(lost.wait())
        await asyncio.wait([sending, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not sending.done():
            sending.cancel()
            return Answer(error=self.refused)
        try:
            result = sending.result()
        except aioapns.exceptions.MaxAttemptsExceeded as exc:
            return Answer(error=type(exc).__name__)
        return Answer(int(result.status), result.description or "", result.timestamp)


class _Resets(logging.Handler):
    """Notices the streams that are reset: aioapns only logs that, and waits for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.connections: list[Any] = []
        #: id of a push → its stream was reset
        self.lost: dict[str, asyncio.Event] = {}

    def emit(self, record: logging.LogRecord) -> None:
        for event in record.args or ():
            if isinstance(event, h2.events.StreamReset):
                for connection in self.connections:
                    push_id = connection.request_streams.pop(event.stream_id, None)
                    if push_id in self.lost:
                        connection.requests.pop(push_id)
                        self.lost[push_id].set()


def _aioapns_request(ask: Ask) -> aioapns.NotificationRequest:
    fields = dict(ask.fields)
    push_type = fields.get("push_type", "voip")
    return aioapns.NotificationRequest(
        device_token=ask.token or "",
        message=ask.payload,
        notification_id=str(uuid4()),
        time_to_live=fields.get("expiration"),
        priority=fields.get("priority"),
        collapse_key=fields.get("collapse_id"),
        push_type=None if push_type is None else aioapns.PushType(push_type),
        apns_topic=fields.get("topic"),
    )
