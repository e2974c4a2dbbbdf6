"""Names of users: what counts as one. Pure."""

from __future__ import annotations

from typing import Final

from trio_push.errors import Refusal
from trio_push.wire.reasons import BAD_USER

MAX_CHARS: Final = 255


def parse_user(text: bytes) -> str:
    """The name of a user. Raises Refusal for one that is none."""
    try:
        user = text.decode()
    except UnicodeDecodeError:
        raise Refusal(BAD_USER) from None
    if len(user) > MAX_CHARS or not user.isprintable():
        raise Refusal(BAD_USER)
    return user
