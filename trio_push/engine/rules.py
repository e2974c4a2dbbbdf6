"""Faults on demand of all nodes: the rules are changed at any of them, and applied by each.

What a node has from its start (`--faults`, `--scenario`) is its own; what is added or removed
while the server runs holds for all. Each node counts for itself, and so do `first` and `rate`.
Made with the node, asked by the API.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec
import structlog
import trio

from trio_push.clock import Clock
from trio_push.engine.everywhere import Everywhere
from trio_push.engine.live import Live
from trio_push.faults import Faults, Rule, RuleRefused

log = structlog.get_logger()

#: what they are as settings, and as a question to all nodes
KIND: Final = "faults"
#: times that another node may take the name that was chosen for a rule
TRIES: Final = 5


class Posted(msgspec.Struct, frozen=True):
    """A rule as nodes are told of it; since when, by the wall's clock."""

    rule: Rule
    added_at_epoch_s: float


class Applied(msgspec.Struct, frozen=True):
    """A rule, how often it was applied, how long it has been there, and at how many nodes."""

    rule: Rule
    times: int = 0
    age_s: float = 0.0
    nodes: int = 1


class Listing(NamedTuple):
    """The rules of the nodes that have answered, and how many those are."""

    rules: list[Applied]
    nodes: int


_posted: Final = msgspec.json.Decoder(Posted)
_applied: Final = msgspec.json.Decoder(list[Applied])


class Rules:
    """Those of all nodes. What cannot be reached now raises Refusal(SERVICE_UNAVAILABLE)."""

    def __init__(self, faults: Faults, everywhere: Everywhere, live: Live, clock: Clock) -> None:
        self._faults = faults
        self._everywhere = everywhere
        self._clock = clock
        live.on_change(KIND, self._take)

    async def listing(self) -> Listing:
        """In the order in which they are tried, those of this node first."""
        answers = await self._everywhere.ask(KIND)
        found: dict[bytes, Applied] = {}
        for answer in answers:
            for one in _applied.decode(answer):
                key = msgspec.json.encode(one.rule)
                found[key] = _plus(found[key], one) if key in found else one
        return Listing([*found.values()], len(answers))

    async def add(self, rules: Iterable[Rule]) -> list[Applied]:
        """Add rules behind the others; all of them, or none and RuleRefused."""
        rules = [*rules]
        for _ in range(TRIES):
            named = self._faults.named(rules)
            now = self._clock.wall()
            posted = {rule.name: msgspec.json.encode(Posted(rule, now)) for rule in named}
            nodes = await self._everywhere.change(KIND, posted, fresh=True)
            if nodes:
                return [Applied(rule, nodes=nodes) for rule in named]
            await self._everywhere.catch_up()
        raise RuleRefused(f"another node has rules of these names: {', '.join(posted)}")

    async def remove(self, name: str) -> bool:
        """Remove a rule; False when there is none of this name."""
        return await self._remove({name}) > 0

    async def clear(self) -> int:
        """Remove every rule; returns how many there were."""
        return await self._remove(None)

    async def _remove(self, names: set[str] | None) -> int:
        listed = {each.rule.name for each in (await self.listing()).rules}
        gone = listed if names is None else listed & names
        if gone:
            await self._everywhere.change(KIND, dict.fromkeys(gone, b""))
        return len(gone)

    async def answer(self, _: bytes) -> bytes:
        """What this node alone has."""
        now = trio.current_time()
        return msgspec.json.encode(
            [
                Applied(active.rule, active.times, now - active.added_at)
                for active in self._faults.active
            ]
        )

    def _take(self, values: Mapping[str, bytes]) -> None:
        """Rules have been added, or removed, at some node."""
        for name, value in values.items():
            self._faults.remove(name)
            if not value:
                continue
            try:
                posted = _posted.decode(value)
            except msgspec.ValidationError as exc:
                # of a newer version
                log.warning("fault_not_known", rule=name, error=str(exc))
                continue
            age_s = max(self._clock.wall() - posted.added_at_epoch_s, 0.0)
            self._faults.put(posted.rule, trio.current_time() - age_s)


def _plus(some: Applied, more: Applied) -> Applied:
    """The same rule at several nodes."""
    return Applied(
        some.rule,
        some.times + more.times,
        max(some.age_s, more.age_s),
        some.nodes + more.nodes,
    )
