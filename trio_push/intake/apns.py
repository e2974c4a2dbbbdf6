"""Apple's contract at the door: requests become pushes, outcomes become answers.

The HTTP/1.1 and the HTTP/2 side hand in the requests that arrived together and get an answer
for each. What a push must look like, and who may send one, is the profile's to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

import msgspec
import structlog

from trio_push.errors import Refusal
from trio_push.ids import new_id
from trio_push.node import Node
from trio_push.push import Push, State
from trio_push.router.channel import check_kept
from trio_push.wire.apns import PushRefused
from trio_push.wire.apns_response import response_body
from trio_push.wire.http2 import MAX_STREAMS
from trio_push.wire.page import AnyRequest
from trio_push.wire.reasons import INTERNAL_SERVER_ERROR

log = structlog.get_logger()

#: seconds after which a refused provider may try again
RETRY_AFTER_S = 5


class Answer(msgspec.Struct, frozen=True, gc=False):
    """200 with an empty body, or an error with Apple's JSON."""

    status: int
    apns_id: bytes
    body: bytes = b""
    retry_after_s: int | None = None
    #: what the development environment has beside the id
    unique_id: bytes | None = None


class ApnsIntake:
    """Reads, checks and submits the APNs requests of a connection, or of many.

    Each profile has its own, with a `read`.
    """

    #: how many streams an HTTP/2 connection may have now
    max_streams: int = MAX_STREAMS
    #: whether what comes with a refused request, and behind it, gets no answer
    stops_at_refusal: ClassVar[bool] = False

    def __init__(self, node: Node) -> None:
        self._node = node

    def read(self, request: AnyRequest, now: float) -> Push:
        """The push that a request asks for at `now` (epoch seconds). Raises PushRefused."""
        raise NotImplementedError

    async def answer(self, requests: Sequence[AnyRequest]) -> list[Answer]:
        """One answer per request, in order; all that are accepted are submitted together.

        Fewer when it stops at a refusal, which is the last one then.
        """
        pushes: list[Push] = []
        answers: list[Answer | None] = []
        now = self._node.clock.wall()
        for request in requests:
            try:
                pushes.append(self.read(request, now))
                answers.append(None)
            except PushRefused as refused:
                answers.append(self._refuse(refused, refused.apns_id))
                if self.stops_at_refusal:
                    break
            except Exception as error:
                # The other pushes of its connection, hundreds perhaps, are not to blame for it.
                log.error("push_failed", error=repr(error), exc_info=error)
                answers.append(self._refuse(Refusal(INTERNAL_SERVER_ERROR), new_id()))
        submitted = await self._submit(pushes) if pushes else []
        if len(submitted) == len(answers):
            return submitted
        rest = iter(submitted)
        return [answer or next(rest) for answer in answers]

    async def _submit(self, pushes: Sequence[Push]) -> list[Answer]:
        try:
            states = await self._node.push_channel.submit(pushes)
        except Refusal as refusal:
            return [self._refuse(refusal, push.id) for push in pushes]
        return list(map(self._judge, pushes, states))

    def _judge(self, push: Push, state: State) -> Answer:
        """The answer to a push that was submitted, by where it got to."""
        try:
            check_kept(state)
        except Refusal as refusal:
            return self._refuse(refusal, push.id)
        return Answer(200, push.id.encode())

    def _refuse(self, refusal: Refusal, apns_id: str) -> Answer:
        self._node.ledger.refuse(refusal.reason.name)
        retry_after_s = RETRY_AFTER_S if refusal.status == 503 else None
        return Answer(refusal.status, apns_id.encode(), response_body(refusal), retry_after_s)


class Profile(Protocol):
    """The rules by which pushes are judged, chosen at the start."""

    @property
    def first_streams(self) -> int:
        """The number of streams that a new HTTP/2 connection is told first."""

    def connect(self, certificate: bytes | None, *, is_http2: bool) -> ApnsIntake:
        """The intake of a new connection, which may have a client certificate (DER)."""
