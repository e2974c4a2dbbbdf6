"""Device tokens: what counts as one, and its canonical spelling.

Called once per push by every intake and once per connecting device, so it is one pass in C.
"""

from __future__ import annotations

from binascii import unhexlify
from typing import Final

from trio_push.errors import Refusal
from trio_push.wire.reasons import BAD_DEVICE_TOKEN, MISSING_DEVICE_TOKEN

#: Apple says "don't make assumptions about device token size": real ones have 64 characters,
#: simulated ones any number. The bound keeps a token from being used as storage.
MAX_CHARS: Final = 200


def parse_token(raw: str | bytes) -> str:
    """The token in lower-case hex.

    Raises Refusal: `MissingDeviceToken` if there is none, `BadDeviceToken` unless it is hex of
    even length, at most MAX_CHARS.
    """
    if not raw:
        raise Refusal(MISSING_DEVICE_TOKEN)
    try:
        # Strict, unlike bytes.fromhex (which skips spaces) and int (which takes underscores).
        token = unhexlify(raw).hex()
    except ValueError:
        raise Refusal(BAD_DEVICE_TOKEN) from None
    if len(token) > MAX_CHARS:
        raise Refusal(BAD_DEVICE_TOKEN)
    return token
