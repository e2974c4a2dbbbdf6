"""Apple's contract at the door: requests become pushes, outcomes become answers.

The HTTP/1.1 and the HTTP/2 side hand in the requests that arrived together and get an answer
for each; what a push must look like is decided by `wire.apns`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trio_push.auth.apikey import shown_key
from trio_push.errors import Refusal
from trio_push.ids import new_id
from trio_push.node import Node
from trio_push.push import Push, State
from trio_push.router.channel import check_kept
from trio_push.wire.apns import PushRefused, read_push
from trio_push.wire.apns_response import response_body
from trio_push.wire.page import AnyRequest
from trio_push.wire.reasons import INVALID_PROVIDER_TOKEN, MISSING_PROVIDER_TOKEN

#: seconds after which a refused provider may try again
RETRY_AFTER_S = 5


class Answer(msgspec.Struct, frozen=True, gc=False):
    """200 with an empty body, or an error with Apple's JSON."""

    status: int
    apns_id: bytes
    body: bytes = b""
    retry_after_s: int | None = None


class ApnsIntake:
    """Reads, checks and submits APNs requests."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._default_ttl_s = node.settings.default_ttl_s
        self._keys = node.api_keys if node.settings.apns_auth else None

    async def answer(self, requests: Sequence[AnyRequest]) -> list[Answer]:
        """One answer per request, in order; all that are accepted are submitted together."""
        pushes: list[Push] = []
        answers: list[Answer | None] = []
        now = self._node.clock.wall()
        for request in requests:
            try:
                pushes.append(self._read(request, now))
                answers.append(None)
            except PushRefused as refused:
                answers.append(self._refuse(refused, refused.apns_id))
        submitted = iter(await self._submit(pushes)) if pushes else iter(())
        return [answer or next(submitted) for answer in answers]

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

    def _read(self, request: AnyRequest, now: float) -> Push:
        push = read_push(
            request.method,
            request.target,
            request.headers,
            request.body,
            now=now,
            default_ttl_s=self._default_ttl_s,
            new_id=new_id,
        )
        try:
            self._check_key(request)
            self._node.directory.check(push.token)
            self._node.router.check_room(push)
        except Refusal as refusal:
            raise PushRefused.of(refusal, push.id) from None
        return push

    def _check_key(self, request: AnyRequest) -> None:
        """Raise Refusal unless the provider may push."""
        if self._keys is None:
            return
        key = shown_key(request.headers)
        if not self._keys.accept(key):
            raise Refusal(INVALID_PROVIDER_TOKEN if key else MISSING_PROVIDER_TOKEN)

    def _refuse(self, refusal: Refusal, apns_id: str) -> Answer:
        self._node.ledger.refuse(refusal.reason.name)
        retry_after_s = RETRY_AFTER_S if refusal.status == 503 else None
        return Answer(refusal.status, apns_id.encode(), response_body(refusal), retry_after_s)
