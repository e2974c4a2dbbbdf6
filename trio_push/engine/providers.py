"""What the strict profile knows of providers and device tokens, at all nodes.

It is changed at any of them, and heeded by each, also by those that come later. What a node has
from its start (`--apns-credentials`) is its own. Made with the node, asked by the API.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import msgspec
import structlog

from trio_push.auth.apns_registry import KeyRecord, Registry, TeamRecord, TokenRecord, provider_key
from trio_push.engine.everywhere import Everywhere
from trio_push.engine.live import Live
from trio_push.errors import ConfigError, Refusal
from trio_push.wire.tokens import parse_token

log = structlog.get_logger()

#: what they are as settings
KIND: Final = "apns"

Record: TypeAlias = KeyRecord | TeamRecord | TokenRecord

_encode: Final = msgspec.json.Encoder().encode
_key: Final = msgspec.json.Decoder(KeyRecord).decode
_team: Final = msgspec.json.Decoder(TeamRecord).decode
_token: Final = msgspec.json.Decoder(TokenRecord).decode


class Providers:
    """The records of all nodes. What cannot be reached now raises Refusal(SERVICE_UNAVAILABLE)."""

    def __init__(self, registry: Registry, everywhere: Everywhere, live: Live) -> None:
        self._registry = registry
        self._everywhere = everywhere
        live.on_change(KIND, self._take)

    async def put_key(self, record: KeyRecord) -> None:
        """Add or replace a key. Raises ConfigError for what is no such key."""
        provider_key(record)
        await self._change(f"key {record.key_id}", record)

    async def put_team(self, record: TeamRecord) -> None:
        await self._change(f"team {record.team_id}", record)

    async def put_token(self, record: TokenRecord) -> TokenRecord:
        """Returns it as it is kept. Raises Refusal for what is no device token."""
        record = msgspec.structs.replace(record, token=parse_token(record.token))
        await self._change(f"token {record.token}", record)
        return record

    async def drop_key(self, key_id: str) -> KeyRecord | None:
        """Returns what there was, as its siblings do."""
        key = self._registry.find_key(key_id)
        if key is None:
            return None
        await self._change(f"key {key_id}", None)
        return key.record

    async def drop_team(self, team_id: str) -> TeamRecord | None:
        team = self._registry.team(team_id)
        if team is not None:
            await self._change(f"team {team_id}", None)
        return team

    async def drop_token(self, token: str) -> TokenRecord | None:
        record = self._registry.token(token)
        if record is not None:
            await self._change(f"token {token}", None)
        return record

    async def _change(self, name: str, record: Record | None) -> None:
        value = b"" if record is None else _encode(record)
        await self._everywhere.change(KIND, {name: value})

    def _take(self, values: Mapping[str, bytes]) -> None:
        """Records have been put, or dropped, at some node."""
        for name, value in values.items():
            try:
                self._take_one(name, value)
            except (msgspec.ValidationError, ConfigError, Refusal) as exc:
                # of a newer version
                log.warning("apns_record_not_known", record=name, error=str(exc))

    def _take_one(self, name: str, value: bytes) -> None:
        registry = self._registry
        match name.split():
            case "key", key_id:
                registry.put_key(_key(value)) if value else registry.drop_key(key_id)
            case "team", team_id:
                registry.put_team(_team(value)) if value else registry.drop_team(team_id)
            case "token", token:
                registry.put_token(_token(value)) if value else registry.drop_token(token)
