"""What the nodes share, in Redis: one server, or a Redis Cluster.

One pipeline for each call, with one script for each partition that is touched. Made by the
server, called by the engine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from coredis.tokens import PureToken

from trio_push.engine import node_scripts, scripts
from trio_push.engine.client import REDIS_ERRORS, Link
from trio_push.engine.contract import (
    BEHIND_S,
    LEFT_S,
    NO_ONE,
    NOTE_AGAIN_S,
    Beat,
    Claim,
    Drop,
    HeldRow,
    RequestId,
    Setting,
    Stored,
    Swept,
    Taken,
    Written,
)
from trio_push.engine.partitions import Keys
from trio_push.engine.redis_commands import (
    evalsha,
    evalsha_of,
    expire,
    hgetall,
    hmget,
    hset,
    hvals,
)
from trio_push.engine.redis_pipelines import Pipelines
from trio_push.engine.redis_values import (
    ANSWERS_BYTES,
    answer_args,
    by_order,
    head_args,
    id_args,
    id_of,
    known_id,
    names_of,
    pairs_of,
    row_args,
    row_args_or_none,
    row_of,
    setting_of,
    stored_of,
    taken_of,
    token_of,
)

#: messages read from an inbox at once, each of which may carry hundreds of pushes
READ_AT_ONCE: Final = 64
#: time to wait for a message; less than the client waits for an answer
WAIT_MS: Final = 1000


class RedisShared:
    """The contract on a link that is open."""

    def __init__(self, link: Link, prefix: str) -> None:
        self._link = link
        self._keys = Keys(prefix, is_cluster=link.is_cluster)
        self._redis = Pipelines(link, self._keys)
        self.partitions = self._keys.partitions

    @property
    def answer_s(self) -> float:
        return self._redis.answer_s

    # -- nodes and their inboxes

    async def beat(self, node: str, lease_s: float, *, begins: bool = False) -> Beat:
        beat = evalsha(node_scripts.BEAT, self._keys.nodes, (node, lease_s, int(begins)))
        [[was_alive, changed, *others]] = await self._redis.run([beat])
        alive = {name.decode(): is_alive for name, is_alive in pairs_of(others)}
        living = {node, *(name for name, is_alive in alive.items() if is_alive)}
        return Beat(
            was_alive=bool(was_alive),
            living=frozenset(living),
            dead=frozenset(alive.keys() - living),
            changed=changed,
        )

    async def leave(self, node: str) -> None:
        await self._redis.run([lambda p: p.zadd(self._keys.nodes, {node: 1})])

    async def send(self, messages: Mapping[str, bytes]) -> None:
        # One script for all of them, as each command costs its sender 40 µs; in a cluster each
        # inbox may lie elsewhere.
        nodes = list(messages)
        together = [nodes] if self.partitions == 1 else [[node] for node in nodes]
        sends = [
            evalsha_of(
                node_scripts.SEND, [self._keys.inbox(n) for n in some], [messages[n] for n in some]
            )
            for some in together
            if some
        ]
        await self._redis.run(sends)

    async def receive(self, node: str, after: str, *, wait: bool = True) -> list[tuple[str, bytes]]:
        inbox = self._keys.inbox(node)
        try:
            found = await self._link.client.xread(
                {inbox: after or "0"}, READ_AT_ONCE, WAIT_MS if wait else None
            )
        except REDIS_ERRORS as exc:
            raise self._link.failed(exc) from exc
        entries: Any = next(iter(found.values()), ()) if found else ()  # Any: of bytes or text
        return [(each.identifier.decode(), each.field_values[b"m"]) for each in entries]

    async def done(self, node: str, ids: Sequence[str], *, inbox: str) -> Collection[str]:
        done = evalsha(node_scripts.DONE, self._keys.node(inbox), (node, inbox, *ids))
        [missed] = await self._redis.run([done])
        return names_of(missed)

    async def take_over(self, node: str, dead: str, hold_s: float) -> bool:
        key = self._keys.taker(dead)
        taken, holder = await self._redis.run(
            [
                lambda p: p.set(key, node, condition=PureToken.NX, px=int(hold_s * 1000)),
                lambda p: p.get(key),
            ]
        )
        return bool(taken) or holder == node.encode()

    async def forget(self, dead: str) -> None:
        await self._redis.run(
            [
                lambda p: p.delete([self._keys.inbox(dead)]),
                lambda p: p.zrem(self._keys.nodes, [dead]),
            ]
        )

    async def leave_behind(
        self, node: str, memories: Mapping[str, bytes], *, others: bytes | None = None
    ) -> None:
        by_key: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
        for token, data in memories.items():
            by_key[self._behind(node, token)][token] = data
        if others is not None:
            for partition in range(self.partitions):
                by_key[f"{self._keys.base(partition)}:behind:{node}"][""] = others
        fill = [hset(key, fields) for key, fields in by_key.items()]
        await self._redis.run([*fill, *(expire(key, BEHIND_S) for key in by_key)])

    async def left_behind(self, node: str, token: str) -> bytes | None:
        key = self._behind(node, token)
        [(data, others)] = await self._redis.run([hmget(key, (token, ""))])
        found: bytes | None = others if data is None else data
        return found

    # -- settings

    async def change(self, values: Mapping[str, bytes], *, fresh: bool) -> int:
        named = [arg for pair in values.items() for arg in pair]
        change = evalsha(node_scripts.CHANGE, self._keys.settings, (int(fresh), *named))
        [number] = await self._redis.run([change])
        return int(number)

    async def settings(self) -> tuple[int, dict[str, Setting]]:
        [found] = await self._redis.run([hgetall(self._keys.settings)])
        changed = int(found.pop(b"", 0))
        return changed, {name.decode(): setting_of(data) for name, data in found.items()}

    # -- tokens

    async def claim(
        self,
        node: str,
        tokens: Sequence[str],
        *,
        void: Collection[str],
        renew: bool,
        now: float,
        silent: Mapping[str, str] = NO_ONE,
    ) -> list[Claim]:
        head = (*head_args(node, now, void), LEFT_S, int(renew))
        found = await self._redis.each(
            scripts.CLAIM, tokens, str, lambda token: (token, silent.get(token, "")), head
        )
        return [
            Claim(
                older.decode() or None,
                bool(refused),
                tuple(sorted((row_of(token, data) for data in rows), key=by_order)),
                last.decode() or None,
            )
            for token, (older, refused, rows, last) in zip(tokens, found, strict=True)
        ]

    async def let_go(self, node: str, tokens: Sequence[str], *, now: float) -> None:
        head = (*head_args(node, now, ()), LEFT_S)
        await self._redis.each(scripts.LET_GO, tokens, str, lambda token: (token,), head)

    async def owners(self, tokens: Sequence[str]) -> list[str | None]:
        by_partition: defaultdict[int, list[str]] = defaultdict(list)
        for token in tokens:
            by_partition[self._keys.partition_of(token)].append(token)
        answers = await self._redis.run(
            [hmget(f"{self._keys.base(n)}:own", those) for n, those in by_partition.items()]
        )
        owner: dict[str, bytes | None] = {}
        for those, found in zip(by_partition.values(), answers, strict=True):
            owner.update(zip(those, found, strict=True))
        return [None if (name := owner[token]) is None else name.decode() for token in tokens]

    # -- rows

    async def store(
        self,
        node: str,
        rows: Sequence[HeldRow],
        *,
        void: Collection[str],
        per_token: int,
        force: bool,
        now: float,
    ) -> list[Stored]:
        head = (*head_args(node, now, void), per_token, int(force))
        found = await self._redis.each(scripts.STORE, rows, token_of, row_args_or_none, head)
        return [stored_of(row, answer) for row, answer in zip(rows, found, strict=True)]

    async def write(
        self,
        node: str,
        drops: Sequence[Drop],
        rows: Sequence[HeldRow],
        *,
        void: Collection[str],
        now: float,
    ) -> Written:
        dropped: defaultdict[int, list[Any]] = defaultdict(list)
        for drop in drops:
            dropped[self._keys.partition_of(drop.token)] += drop
        put: defaultdict[int, list[Any]] = defaultdict(list)
        for row in rows:
            put[self._keys.partition_of(row.push.token)] += row_args(row, now)
        args = {
            n: (len(dropped[n]) // len(Drop._fields), *dropped[n], *put[n])
            for n in {*dropped, *put}
        }
        answers = await self._redis.run_scripts(scripts.WRITE, args, head_args(node, now, void))
        replaced, moved, taken = 0, list[tuple[str, str]](), list[str]()
        for count, uids, *names in answers.values():
            replaced += count
            taken += names_of(uids)
            moved += pairs_of(names_of(names))
        return Written(replaced, tuple(moved), tuple(taken))

    async def sweep(
        self, partitions: Sequence[int], *, void: Collection[str], now: float, limit: int
    ) -> Swept:
        args = dict.fromkeys(partitions, (limit, NOTE_AGAIN_S))
        answers = await self._redis.run_scripts(scripts.SWEEP, args, head_args("", now, void))
        swept = Swept()
        for expired, discarded, more, *due in answers.values():
            swept = Swept(
                swept.expired + expired,
                swept.discarded + discarded,
                (*swept.due, *pairs_of(names_of(due))),
                more=swept.more or bool(more),
            )
        return swept

    async def rows(self, tokens: Sequence[str]) -> list[list[HeldRow]]:
        found = await self._redis.run(
            [hvals(self._keys.table("rows", token) + f":{token}") for token in tokens]
        )
        return [
            sorted((row_of(token, data) for data in rows), key=by_order)
            for token, rows in zip(tokens, found, strict=True)
        ]

    async def take(self, push_id: str, token: str | None, *, void: Collection[str]) -> Taken:
        some = range(self.partitions) if token is None else (self._keys.partition_of(token),)
        args = dict.fromkeys(some, (push_id, token or ""))
        return taken_of(
            (await self._redis.run_scripts(scripts.TAKE, args, head_args("", 0, void))).values()
        )

    # -- tokens that get no pushes, and users

    async def unregister(self, token: str, at_ms: int, *, void: Collection[str]) -> Taken:
        args = {self._keys.partition_of(token): (token, at_ms)}
        head = head_args("", 0, void)
        return taken_of((await self._redis.run_scripts(scripts.UNREGISTER, args, head)).values())

    async def register(self, token: str) -> None:
        await self._redis.run([lambda p: p.hdel(self._keys.table("gone", token), [token])])

    async def unregistered(self) -> dict[str, int]:
        tables = [f"{self._keys.base(n)}:gone" for n in range(self.partitions)]
        found = await self._redis.run([hgetall(table) for table in tables])
        return {token.decode(): int(at) for table in found for token, at in table.items()}

    async def enrol(self, user: str, token: str, *, per_user: int) -> bool:
        devices = self._devices(user)
        if await self.user_of(token) == user:
            return True
        [count] = await self._redis.run([lambda p: p.zcard(devices)])
        if count >= per_user:
            return False
        await self.leave_user(token)
        # The order of coming; two that come together may share a place.
        await self._redis.run(
            [
                lambda p: p.zadd(devices, {token: count}),
                lambda p: p.hset(self._keys.table("user", token), {token: user}),
            ]
        )
        return True

    async def leave_user(self, token: str) -> None:
        user = await self.user_of(token)
        if user is not None:
            await self._redis.run(
                [
                    lambda p: p.zrem(self._devices(user), [token]),
                    lambda p: p.hdel(self._keys.table("user", token), [token]),
                ]
            )

    async def devices(self, user: str) -> list[str]:
        [found] = await self._redis.run([lambda p: p.zrange(self._devices(user), 0, -1)])
        return [token.decode() for token in found]

    async def user_of(self, token: str) -> str | None:
        [user] = await self._redis.run([lambda p: p.hget(self._keys.table("user", token), token)])
        return None if user is None else user.decode()

    # -- ids of requests

    async def take_ids(
        self, node: str, ids: Sequence[RequestId], *, void: Collection[str], hold_s: float
    ) -> list[RequestId | None]:
        head = (*head_args(node, 0, void), int(1000 * hold_s))
        found = await self._redis.each(scripts.TAKE_IDS, ids, id_of, id_args, head)
        return [known_id(*pair) for pair in zip(ids, found, strict=True)]

    async def answer_ids(self, ids: Sequence[RequestId], *, keep_s: float) -> None:
        head = (*head_args("", 0, ()), int(1000 * keep_s), ANSWERS_BYTES // self.partitions)
        await self._redis.each(scripts.ANSWER_IDS, ids, id_of, answer_args, head)

    def _behind(self, node: str, token: str) -> str:
        return f"{self._keys.table('behind', token)}:{node}"

    def _devices(self, user: str) -> str:
        return f"{self._keys.table('devices', user)}:{user}"
