"""Pushes to users by the server's own API: one request each, as it answers for every device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import orjson
import trio

from trio_push.swarm.http1 import Answer, Http1Connection, authorization_line
from trio_push.swarm.lane import Planned, one_by_one
from trio_push.swarm.target import Target
from trio_push.swarm.users import UserPlan

#: why a push did not go to a device: the server does not know that it is the user's
UNKNOWN_DEVICE = "not known as the user's device"


class _Result(msgspec.Struct):
    token: str
    outcome: str
    reason: str | None = None


class _Answer(msgspec.Struct):
    results: list[_Result]


class UserLane:
    """`POST /v1/push` to one user at a time; several lanes make the rate."""

    delay_s = 0.0

    def __init__(
        self,
        target: Target,
        plan: UserPlan,
        tokens: Sequence[str],
        topic: str | None,
        *,
        ack: bool = False,
        api_key: str | None = None,
    ) -> None:
        self._connection = Http1Connection(target)
        self._plan = plan
        self._tokens = tokens
        fields = {"topic": topic, "ack": ack}
        self._common = {name: value for name, value in fields.items() if value}
        self._head = (
            f"POST /v1/push HTTP/1.1\r\nHost: {target.authority}\r\n"
            f"Content-Type: application/json\r\n{authorization_line(api_key)}"
        )

    async def run(self, pushes: trio.MemoryReceiveChannel[Planned]) -> None:
        await one_by_one(self._connection, pushes, self._plan, self._request, self._settle)

    def _request(self, push: Planned) -> bytes:
        order = {"user": push.token, "payload": orjson.Fragment(push.payload), **self._common}
        body = orjson.dumps(order)
        return f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def _settle(self, push: Planned, response: Answer) -> None:
        """Match the results, in the server's order, with the user's devices."""
        to, n, status, body = push.to, push.n, response.status, response.body
        try:
            answer = msgspec.json.decode(body, type=_Answer) if status == 200 else None
        except msgspec.DecodeError:
            self._plan.leave_unanswered(to, n)
            return
        if answer is None:
            self._plan.refuse(to, n, _reason(status, body))
            return
        results = {result.token: result for result in answer.results}
        for device in self._plan.users.devices(to):
            result = results.get(self._tokens[device].lower())
            if result is None:
                self._plan.audit.refuse(device, n, UNKNOWN_DEVICE)
            elif result.outcome == "refused":
                self._plan.audit.refuse(device, n, result.reason or "refused")
            else:
                self._plan.audit.accept()


def _reason(status: int, body: bytes) -> str:
    """The name of a problem: the end of its type. Else the status."""
    try:
        problem: Any = orjson.loads(body)  # whatever was sent
        kind = str(problem["type"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"status {status}"
    return kind.rpartition("#")[2] or f"status {status}"
