"""Sends commands to Redis and brings the answers: all of one call in one pipeline.

Scripts are called by their hash; a server that does not know one yet is sent its text. Made by
what the nodes share in Redis.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import trio
from coredis.exceptions import NoScriptError

from trio_push.engine.client import REDIS_ERRORS, Link
from trio_push.engine.node_scripts import Script
from trio_push.engine.partitions import Keys
from trio_push.engine.redis_commands import ByText, Command, evalsha

T = TypeVar("T")

#: what the last answer counts in the time that one takes of late
NEWEST_SHARE: Final = 0.2


class Pipelines:
    """One for each call, on a link that is open."""

    def __init__(self, link: Link, keys: Keys) -> None:
        self._link = link
        self._keys = keys
        #: seconds that an answer of Redis takes, of late
        self.answer_s = 0.0

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to commands that go out together. Raises StoreFailed."""
        if not commands:
            return []
        began = trio.current_time()
        try:
            client = self._link.client
            pipeline = client.pipeline(transaction=False, raise_on_error=False)
            async with pipeline as pipe:
                for command in commands:
                    command(pipe)
            results = list(pipe.results or ())
            for i, result in enumerate(results):
                if isinstance(result, NoScriptError):
                    results[i] = await commands[i](ByText(client))
                elif isinstance(result, Exception):
                    raise result
        except REDIS_ERRORS as exc:
            raise self._link.failed(exc) from exc
        self.answer_s += (trio.current_time() - began - self.answer_s) * NEWEST_SHARE
        return results

    async def run_scripts(
        self, script: Script, args: Mapping[int, Sequence[Any]], head: Sequence[Any]
    ) -> dict[int, Any]:
        """Run a script in each partition, with `head` and the partition's own arguments."""
        commands = [
            evalsha(script, self._keys.base(partition), (*head, *own))
            for partition, own in args.items()
        ]
        return dict(zip(args, await self.run(commands), strict=True))

    async def each(
        self,
        script: Script,
        items: Sequence[T],
        token_of: Callable[[T], str],
        args_of: Callable[[T], Iterable[Any]],
        head: Sequence[Any],
    ) -> list[Any]:
        """An answer for each item, from the script that its partition runs for all of its items."""
        places: defaultdict[int, list[int]] = defaultdict(list)
        for place, item in enumerate(items):
            places[self._keys.partition_of(token_of(item))].append(place)
        args = {
            partition: [arg for place in those for arg in args_of(items[place])]
            for partition, those in places.items()
        }
        answers: list[Any] = [None] * len(items)
        for partition, found in (await self.run_scripts(script, args, head)).items():
            if isinstance(found, list):
                for place, answer in zip(places[partition], found, strict=True):
                    answers[place] = answer
        return answers
