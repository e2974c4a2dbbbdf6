"""The clients that the strict profile is shown with, each behind the same few lines.

A client is told what to do step by step, over one connection if it keeps one, and says of each
push what came of it. What it can never be refused for is told with it, and so is how it takes a
stream that was refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, Protocol

from tests.interop.running import Running
from tests.interop.strict import Ask, Provider
from tests.serving import PATIENCE_S


class Answer(NamedTuple):
    """What a client says of a push."""

    #: 0: there was no answer
    status: int = 0
    reason: str = ""
    #: of 410, epoch milliseconds
    timestamp: int | None = None
    #: why there was none, in the client's own words
    error: str = ""


class Fate(NamedTuple):
    """What comes of a push on which GOAWAY comes."""

    #: whether the client says that it was accepted
    told: bool
    #: how often the server accepts it
    accepted: int


#: a push, several at once, or something that is done in between
Step = Ask | Sequence[Ask] | Callable[[], object]


class StrictClient(Protocol):
    """One of the clients."""

    #: reason → why no push of this client is ever refused for it
    never: dict[str, str]
    #: the same for its pushes by certificate alone
    never_by_certificate: dict[str, str]
    #: how it names a stream that was refused; "": it sends the push again
    refused: str
    #: whether it hears of GOAWAY while it has nothing under way
    reads_when_idle: bool
    #: the last stream in a GOAWAY, as seen from a push → what comes of that push
    after_goaway: dict[str, Fate]

    def talk(self, server: Running, provider: Provider, *steps: Step) -> list[Answer]:
        """Go through the steps; one answer for each push, in order."""


ONLY_POST: Final = {
    "MethodNotAllowed": "it sends POST alone",
    "DuplicateHeaders": "it gives each header once",
}
ALWAYS_PROVES: Final = {"MissingProviderToken": "it is not made without a key or certificate"}
KEEPS_ITS_KEY: Final = {"UnrelatedKeyIdInToken": "it keeps to one key"}
KEEPS_ITS_TOKEN: Final = {
    "TooManyProviderTokenUpdates": "it keeps a token for longer than 20 minutes"
}

Push = Callable[[Ask], Awaitable[Answer]]


class AsyncioClient:
    """Those that run on asyncio: `open` yields what pushes."""

    @asynccontextmanager
    async def open(self, server: Running, provider: Provider) -> AsyncIterator[Push]:
        raise NotImplementedError
        yield

    def talk(self, server: Running, provider: Provider, *steps: Step) -> list[Answer]:
        async def main() -> list[Answer]:
            answers: list[Answer] = []
            async with asyncio.timeout(PATIENCE_S), self.open(server, provider) as push:
                for step in steps:
                    if isinstance(step, Ask):
                        answers.append(await push(step))
                    elif callable(step):
                        await asyncio.to_thread(step)
                    else:
                        answers += await asyncio.gather(*map(push, step))
            return answers

        return asyncio.run(main())
