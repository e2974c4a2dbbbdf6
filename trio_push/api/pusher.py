"""What the API does with pushes: checks each, hands it in, says what became of it.

Called by the handlers of pushes. Its work is done in a task that outlives the request (see
`Api.carry_out`): a client that goes away after it has asked does not leave half of it undone,
and finds out what became of it by asking again with the same id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec
import trio

from trio_push.api.elsewhere import Elsewhere
from trio_push.api.idempotency import Claim, Ids
from trio_push.api.models import PushAnswer, PushLine, PushRequest, Result
from trio_push.api.problems import Invalid, name_of
from trio_push.api.requests import (
    check_addressing,
    fingerprint,
    push_of,
    single_token,
)
from trio_push.errors import Refusal
from trio_push.ids import new_id
from trio_push.node import Node
from trio_push.push import Push, State
from trio_push.router.channel import check_kept
from trio_push.wire.reasons import SERVICE_UNAVAILABLE, SHUTDOWN
from trio_push.wire.tokens import parse_token

#: pushes handed in at once: a few milliseconds of work, after which others get a turn
SLICE: Final = 200


class Pusher:
    """The API's way to the push channel."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._ids: Ids[PushAnswer] = Ids()
        self.elsewhere = Elsewhere(self._ids, node.everywhere)

    async def push_and_wait(self, request: PushRequest, timeout_s: float) -> PushAnswer:
        """Push to one device and wait for its acknowledgement.

        Raises what `push` does, and Invalid (408) when none comes in time: the push goes on
        waiting for it.
        """
        if not request.ack or request.token is None:
            raise Invalid("wait=ack is for a push with a token and with ack: true", field="ack")
        request = msgspec.structs.replace(request, id=request.id or new_id())
        everywhere = self._node.everywhere
        assert request.id is not None
        async with everywhere.expected(request.id) as acknowledged:
            answer = await self.push(request)
            # A repeated request finds a push that was acknowledged before it came.
            if not answer.duplicate or await everywhere.is_held(
                request.id, answer.results[0].token
            ):
                with trio.move_on_after(timeout_s) as patience:
                    await acknowledged.wait()
                if patience.cancelled_caught:
                    raise Invalid(
                        f"no acknowledgement within {timeout_s:g} s; the push still waits for one",
                        status=408,
                    )
        await self._node.router.commit()
        outcome = State.ACKNOWLEDGED.outcome
        results = [Result(result.token, outcome) for result in answer.results]
        return msgspec.structs.replace(answer, outcomes={outcome: 1}, results=results)

    async def push(self, request: PushRequest) -> PushAnswer:
        """Push to the devices of a request. Raises Invalid or Refusal when to none of them."""
        self.check_phase()
        check_addressing(request)
        push = self.push_of(request, token="")
        claim, is_mine = self.claim(request, push)
        if claim is None:
            return await self._perform(request, push)
        if not is_mine:
            return await repeated(claim)
        [known] = await self.elsewhere.take([claim])
        if known is not None:
            return await self.elsewhere.repeated(claim, known)
        try:
            answer = await self._perform(request, push)
            self.settle(claim, answer)
        except BaseException:
            self.forget(claim)
            raise
        finally:
            await self.elsewhere.tell([claim])
        return answer

    async def submit(self, pushes: Sequence[Push]) -> list[State]:
        """Hand in a slice of pushes. Raises Refusal when none of them was taken."""
        return await self._node.push_channel.submit(pushes)

    # -- the parts of it, for streams too

    def count_refused(self, error: Refusal | Invalid) -> None:
        self._node.ledger.refuse(name_of(error))

    def check_phase(self) -> None:
        """Raises Refusal(SHUTDOWN) unless the node takes pushes."""
        if self._node.phase != "ready":
            raise Refusal(SHUTDOWN, f"the server is {self._node.phase}")

    def check(self, push: Push) -> None:
        """Raises Refusal for a push that is not taken: by the node, its token, or for room."""
        self.check_phase()
        self._node.directory.check(push.token)
        self._node.router.check_room(push)

    def push_of(self, request: PushLine, token: str) -> Push:
        return push_of(
            request,
            request.id or new_id(),
            token,
            now=self._node.clock.wall(),
            default_ttl_s=self._node.settings.default_ttl_s,
        )

    def claim(self, request: PushLine, push: Push) -> tuple[Claim[PushAnswer] | None, bool]:
        """The claim on the id that the caller chose, if any, and whether it is the caller's."""
        if request.id is None:
            return None, True
        return self._ids.claim(request.id, fingerprint(request, push), trio.current_time())

    def settle(self, claim: Claim[PushAnswer], answer: PushAnswer) -> None:
        self._ids.settle(claim, answer, trio.current_time(), outcomes=max(1, len(answer.results)))

    def forget(self, claim: Claim[PushAnswer]) -> None:
        self._ids.forget(claim)

    # -- to one, to several, to all

    async def _perform(self, request: PushRequest, push: Push) -> PushAnswer:
        if request.broadcast:
            counts: Counter[str] = Counter()
            for state, n in (await self._node.everywhere.broadcast(push)).items():
                counts[state.outcome] += n
            return PushAnswer(push.id, dict(+counts))
        if request.tokens is not None:
            results = await self._push_to_many(push, request.tokens)
        elif request.user is not None:
            results = await self._push_to_many(push, await self._tokens_of(request.user))
        else:
            one = msgspec.structs.replace(push, token=single_token(request))
            self.check(one)
            [state] = await self.submit([one])
            check_kept(state)
            results = [Result(one.token, state.outcome, state.reason)]
        outcomes = Counter(result.outcome for result in results)
        return PushAnswer(push.id, dict(outcomes), results)

    async def _tokens_of(self, user: str) -> Sequence[str]:
        tokens = await self._node.everywhere.devices(user)
        if not tokens:
            raise Invalid(f"no device of the user {user!r} is known", status=404, field="user")
        return tokens

    async def _push_to_many(self, push: Push, tokens: Sequence[str]) -> list[Result]:
        """Push to each token; those refused are among the results.

        Raises Refusal when not even the first slice was taken. When a later one is not, its
        tokens are refused.
        """
        results: list[Result] = []
        for start in range(0, len(tokens), SLICE):
            part = tokens[start : start + SLICE]
            try:
                results += await self._push_slice(push, part)
            except Refusal as refusal:
                if start == 0:
                    raise
                results += [self._refused(token, refusal) for token in part]
        return results

    async def _push_slice(self, push: Push, tokens: Sequence[str]) -> list[Result]:
        refused: dict[int, Result] = {}
        pushes: list[Push] = []
        for index, text in enumerate(tokens):
            try:
                one = msgspec.structs.replace(push, token=parse_token(text))
                self.check(one)
            except Refusal as refusal:
                refused[index] = self._refused(text, refusal)
            else:
                pushes.append(one)
        states = await self.submit(pushes)
        accepted = iter([self._result(*pair) for pair in zip(pushes, states, strict=True)])
        return [refused.get(index) or next(accepted) for index in range(len(tokens))]

    def _result(self, push: Push, state: State) -> Result:
        try:
            check_kept(state)
        except Refusal as refusal:
            return self._refused(push.token, refusal)
        return Result(push.token, state.outcome, state.reason)

    def _refused(self, token: str, refusal: Refusal) -> Result:
        self.count_refused(refusal)
        return Result(token, "refused", refusal.reason.name, refusal.timestamp_ms)


async def repeated(claim: Claim[PushAnswer]) -> PushAnswer:
    """The answer to the request that had the id first. Raises Refusal when that failed."""
    answer = await claim.wait_answer()
    if answer is None:
        raise Refusal(
            SERVICE_UNAVAILABLE, "the request that had this id first failed: send it again"
        )
    return msgspec.structs.replace(answer, duplicate=True)
