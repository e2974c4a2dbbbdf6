"""Commands to Redis as values, so that one that found no script can be sent again with its text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from trio_push.engine import node_scripts, scripts
from trio_push.engine.client import Client
from trio_push.engine.node_scripts import Script

#: what is asked of a pipeline; Any: coredis has a type for each command
Command = Callable[[Any], Any]


class ByText:
    """Takes the place of a pipeline and sends the text of a script, once its hash was unknown."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def evalsha(self, sha: str, keys: list[str], args: list[Any]) -> Any:
        return self._client.eval(_BY_SHA[sha].text, keys, args)


_BY_SHA: Final = {
    script.sha: script
    for module in (node_scripts, scripts)
    for script in vars(module).values()
    if isinstance(script, Script)
}


def evalsha(script: Script, base: str, args: Sequence[Any]) -> Command:
    return evalsha_of(script, [base], args)


def evalsha_of(script: Script, keys: Sequence[str], args: Sequence[Any]) -> Command:
    return lambda pipe: pipe.evalsha(script.sha, list(keys), list(args))


def hmget(key: str, fields: Sequence[str]) -> Command:
    return lambda pipe: pipe.hmget(key, fields)


def hset(key: str, fields: Mapping[str, bytes]) -> Command:
    return lambda pipe: pipe.hset(key, fields)


def expire(key: str, seconds: int) -> Command:
    return lambda pipe: pipe.expire(key, seconds)


def hvals(key: str) -> Command:
    return lambda pipe: pipe.hvals(key)


def hgetall(key: str) -> Command:
    return lambda pipe: pipe.hgetall(key)
