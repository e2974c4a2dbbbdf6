"""Pushes by APNs over HTTP/2, many at a time: by prior knowledge, or over TLS.

The provider client does the work, held to one connection and one attempt: pushes stay in order,
and the audit hears of everything that a server does to them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import trio

from trio_push.apns import (
    Client,
    Constant,
    Options,
    Outcome,
    Request,
    Result,
    Retries,
    Scaling,
    open_client,
)
from trio_push.swarm.audit import Audit
from trio_push.swarm.http1 import ANSWER_S, FIRST_PAUSE_S, LONGEST_PAUSE_S
from trio_push.swarm.lane import Planned
from trio_push.swarm.provider import Provider
from trio_push.swarm.target import CONNECT_S, Target

_OPTIONS: Final = Options(
    http="h2",
    scaling=Scaling(law=Constant(), least=1, most=1),
    retries=Retries(evaluate=lambda fate: False),
    dial_s=CONNECT_S,
    answer_s=ANSWER_S,
    first_backoff_s=FIRST_PAUSE_S,
    longest_backoff_s=LONGEST_PAUSE_S,
)


class ApnsHttp2Lane:
    """Keeps one connection. When it breaks, what was on the way is unanswered."""

    delay_s = 0.0

    def __init__(self, target: Target, audit: Audit, provider: Provider) -> None:
        self._url = target.url
        self._options = replace(
            _OPTIONS, authorization=provider.authorization, context=provider.context
        )
        self._audit = audit
        self._provider = provider
        #: those that the client has taken and not answered
        self._open: set[Planned] = set()

    async def run(self, pushes: trio.MemoryReceiveChannel[Planned]) -> None:
        try:
            async with (
                open_client(self._url, self._options) as client,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(self._feed, client, pushes)
                async for result in client.results:
                    self._settle(result)
        finally:
            for push in self._open:
                self._audit.leave_unanswered(push.to, push.n)

    async def _feed(self, client: Client, pushes: trio.MemoryReceiveChannel[Planned]) -> None:
        async with client.requests:
            async for push in pushes:
                request = Request(
                    token=push.token,
                    payload=push.payload,
                    topic=self._provider.topic,
                    push_type=self._provider.push_type,
                    context=push,
                )
                self._open.add(push)
                try:
                    await client.requests.send(request)
                except BaseException:
                    self._open.remove(push)
                    self._audit.leave_unsent(push.to, push.n)
                    raise

    def _settle(self, result: Result) -> None:
        push = result.request.context
        assert isinstance(push, Planned)
        self._open.remove(push)
        match result.outcome:
            case Outcome.ACCEPTED:
                self._audit.accept()
            case Outcome.UNANSWERED:
                self._audit.leave_unanswered(push.to, push.n)
            case Outcome.REFUSED | Outcome.UNSENT:
                # sent it was: the server said that it would not look at it
                self._audit.refuse(push.to, push.n, result.reason)
