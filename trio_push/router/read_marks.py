"""What the other devices of a user are told when it has read something on one. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec.structs
import orjson

from trio_push.ids import new_id
from trio_push.push import MARK_READ, Push


def read_marks(tokens: Sequence[str], notification_id: str, expires_at: float) -> list[Push]:
    """A push for each of these devices: this was read on another."""
    payload = orjson.dumps({"notification_id": notification_id})
    mark = Push(id="", token="", payload=payload, event=MARK_READ, expires_at=expires_at)
    return [msgspec.structs.replace(mark, id=new_id(), token=token) for token in tokens]
