"""What the strict profile knows, changed at one node and heeded by all."""

from __future__ import annotations

import pytest
import trio

from tests.auth import provider
from tests.auth.issuer import public_pem
from tests.auth.provider import APP, KEY, TEAM
from tests.engine.nodes import Nodes, OneNode, until
from trio_push.auth.apns_registry import KeyRecord, Registry, TeamRecord, TokenRecord
from trio_push.config import ServeSettings
from trio_push.engine.memory import MemoryShared
from trio_push.engine.providers import Providers
from trio_push.errors import ConfigError, Refusal

pytestmark = pytest.mark.needs("redis-server")

STRICT = ServeSettings(apns="strict")
PUBLIC = public_pem(provider.private_key(KEY)).decode()
A_KEY = KeyRecord(KEY, TEAM, PUBLIC)
A_TEAM = TeamRecord(TEAM, [APP])
A_TOKEN = TokenRecord("AB12", expired_at=1.5)


def registry(node: OneNode) -> Registry:
    assert node.node.apns_registry is not None
    return node.node.apns_registry


def providers(node: OneNode) -> Providers:
    assert node.node.providers is not None
    return node.node.providers


def known(node: OneNode) -> tuple[bool, bool, bool]:
    """Whether a node knows the key, the team and the token."""
    here = registry(node)
    return (
        here.find_key(KEY) is not None,
        here.team(TEAM) == A_TEAM,
        here.token("ab12") is not None,
    )


async def test_a_change_at_one_node_holds_at_all(nodes: Nodes) -> None:
    a, b = await nodes.start(STRICT), await nodes.start(STRICT)
    await providers(a).put_key(A_KEY)
    await providers(b).put_team(A_TEAM)
    assert (await providers(b).put_token(A_TOKEN)).token == "ab12"
    c = await nodes.start(STRICT)
    for node in (a, b, c):
        await until(lambda node=node: known(node) == (True, True, True))
    assert await providers(c).drop_key(KEY) == A_KEY
    assert await providers(a).drop_team(TEAM) == A_TEAM
    assert await providers(b).drop_token("ab12") is not None
    for node in (a, b, c):
        await until(lambda node=node: known(node) == (False, False, False))
        assert await providers(node).drop_key(KEY) is None
        assert await providers(node).drop_team(TEAM) is None
        assert await providers(node).drop_token("ab12") is None


async def test_what_cannot_be_used_reaches_nobody(nodes: Nodes) -> None:
    a, b = await nodes.start(STRICT), await nodes.start(STRICT)
    with pytest.raises(ConfigError):
        await providers(a).put_key(KeyRecord(KEY, TEAM, "PEM"))
    with pytest.raises(Refusal):
        await providers(a).put_token(TokenRecord("xyz"))
    await providers(a).put_team(A_TEAM)
    await until(lambda: known(b) == (False, True, False))


async def test_a_record_of_a_newer_version_is_passed_over(nodes: Nodes) -> None:
    a = await nodes.start(STRICT)
    for name in ("key x", "team x", "token x", "other x", "x"):
        await a.node.everywhere.change("apns", {name: b'{"new": 1}'})
    assert known(a) == (False, False, False)


async def test_out_of_reach_nothing_is_changed(nursery: trio.Nursery) -> None:
    shared = MemoryShared()
    a = await Nodes(shared, nursery).start(STRICT)
    shared.away = "away"
    with pytest.raises(Refusal) as caught:
        await providers(a).put_team(A_TEAM)
    assert caught.value.status == 503
    assert known(a) == (False, False, False)
