"""The ids of requests among several nodes: what was asked of one is answered the same by another.

Used by the pusher for ids that its own node sees for the first time; on a node that is alone it
does nothing. A request that was answered is remembered by all for REMEMBERED_S. When what the
nodes share cannot be reached, a request with an id is refused: nobody can say whether it is new.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import trio

from trio_push.api.idempotency import REMEMBERED_S, Claim, Ids
from trio_push.api.models import PushAnswer
from trio_push.api.problems import Invalid
from trio_push.engine.contract import RequestId
from trio_push.engine.everywhere import Everywhere
from trio_push.errors import Refusal
from trio_push.wire.reasons import SERVICE_UNAVAILABLE

#: time between two looks whether another node has answered
LOOK_S: Final = 0.05

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(PushAnswer).decode


class Elsewhere:
    """What other nodes know of the ids that are claimed here."""

    def __init__(self, ids: Ids[PushAnswer], everywhere: Everywhere) -> None:
        self._ids = ids
        self._everywhere = everywhere

    async def take(self, claims: Sequence[Claim[PushAnswer]]) -> Sequence[RequestId | None]:
        """Of each id what another node knows of it. None: it is ours to push, and to `tell`.

        Raises Refusal, and then the claims are forgotten.
        """
        try:
            return await self._everywhere.take_ids([_named(claim) for claim in claims])
        except BaseException:
            for claim in claims:
                self._ids.forget(claim)
            raise

    async def tell(self, claims: Sequence[Claim[PushAnswer]]) -> None:
        """Tell the others how these were answered; those without an answer are free again."""
        await self._everywhere.answer_ids([_named(claim) for claim in claims], keep_s=REMEMBERED_S)

    async def repeated(self, claim: Claim[PushAnswer], known: RequestId) -> PushAnswer:
        """What another node has answered, or is about to, to the request that had the id first.

        Raises Invalid when that was a different one, and Refusal when nothing came of it.
        """
        try:
            answer = await self._wait_answer(known, claim.fingerprint)
        except BaseException:
            self._ids.forget(claim)
            raise
        outcomes = max(1, len(answer.results))
        self._ids.settle(claim, answer, trio.current_time(), outcomes=outcomes)
        return msgspec.structs.replace(answer, duplicate=True)

    async def _wait_answer(self, known: RequestId, fingerprint: bytes) -> PushAnswer:
        """Waits no longer than a node may hold an id that it has not answered."""
        while known.fingerprint == fingerprint:
            if known.answer is not None:
                return _decode(known.answer)
            await trio.sleep(LOOK_S)
            asked = RequestId(known.id, fingerprint)
            [again] = await self._everywhere.take_ids([asked])
            if again is None:
                await self._everywhere.answer_ids([asked], keep_s=0)
                raise first_failed()
            known = again
        raise taken(known.id)


def first_failed() -> Refusal:
    return Refusal(SERVICE_UNAVAILABLE, "the request that had this id first failed: send it again")


def taken(id: str) -> Invalid:
    return Invalid(f"the id {id!r} was used for a different push", status=409)


def _named(claim: Claim[PushAnswer]) -> RequestId:
    answer = None if claim.answer is None else _encode(claim.answer)
    return RequestId(claim.id, claim.fingerprint, answer)
