"""The provider client of trio-push."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, Final

import trio

from tests.interop.running import Running
from tests.interop.strict import VOIP, Ask, Provider
from tests.interop.strict_clients.base import (
    KEEPS_ITS_KEY,
    KEEPS_ITS_TOKEN,
    ONLY_POST,
    Answer,
    Fate,
    Step,
)
from tests.serving import PATIENCE_S
from trio_push import apns
from trio_push.clock import Clock


class Ours:
    """Held to one connection, and to one attempt of what is refused."""

    never: Final = {**ONLY_POST, **KEEPS_ITS_KEY, **KEEPS_ITS_TOKEN}
    never_by_certificate: Final[dict[str, str]] = {}
    refused: Final = ""
    reads_when_idle: Final = True
    after_goaway: Final = {"at": Fate(told=True, accepted=1), "before": Fate(True, 1)}

    def talk(self, server: Running, provider: Provider, *steps: Step) -> list[Answer]:
        async def main() -> list[Answer]:
            answers: list[Answer] = []
            clock = Clock(lambda: time.time() - provider.behind_s)
            with trio.fail_after(PATIENCE_S):
                async with apns.open_client(
                    server.tls, _options(server, provider), clock=clock
                ) as it:
                    for step in steps:
                        if isinstance(step, Ask):
                            answers += await _push(it, [step])
                        elif callable(step):
                            await trio.to_thread.run_sync(step)
                        else:
                            answers += await _push(it, step)
            return answers

        return trio.run(main)


def _options(server: Running, provider: Provider) -> apns.Options:
    certificate = provider.certificate
    return apns.Options(
        context=apns.client_context(
            ca=server.ca, certificate=None if certificate is None else str(certificate)
        ),
        authorization=apns.ProviderToken.read(
            str(provider.key), key_id=provider.key_id, team_id=provider.team_id
        )
        if provider.key_id
        else None,
        scaling=apns.Scaling(law=apns.Constant(), least=1, most=1),
        retries=apns.Retries(most=0),
        patience_s=1.0,
    )


async def _push(client: apns.Client, asks: Sequence[Ask]) -> list[Answer]:
    """Those that the client takes no more have no answer."""
    answers = [Answer(error="not taken")] * len(asks)

    async def feed() -> None:
        for n, ask in enumerate(asks):
            try:
                await client.requests.send(_request(ask, n))
            except trio.BrokenResourceError:
                return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed)
        for _ in asks:
            try:
                result = await client.results.receive()
            except trio.EndOfChannel:
                break
            answers[result.request.context] = _answer(result)  # type: ignore[call-overload]
    return answers


def _request(ask: Ask, n: int) -> apns.Request:
    fields: dict[str, Any] = {"topic": VOIP, "push_type": "voip", **ask.fields}
    return apns.Request(
        token=ask.token or "", payload=json.dumps(ask.payload).encode(), context=n, **fields
    )


def _answer(result: apns.Result) -> Answer:
    if not result.status:
        return Answer(error=result.reason)
    return Answer(result.status, result.reason, result.timestamp_ms)
