"""Apple's push types: what topic each goes with, and what else it allows. Pure.

Read by the rules of the strict profile. From Apple's "Sending notification requests to APNs".
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

#: Apple's limits, in bytes
MAX_PAYLOAD_BYTES: Final = 4096
MAX_VOIP_PAYLOAD_BYTES: Final = 5120

#: how the topic of an MDM push certificate begins
MDM_PREFIX: Final = b"com.apple.mgmt."

#: as a bundle id, and the longest that fits a directory's attribute
is_topic: Final = re.compile(rb"[A-Za-z0-9.-]{1,255}").fullmatch


class PushType(NamedTuple):
    """A value of `apns-push-type`."""

    #: what its topic has after the app's bundle id
    suffix: bytes = b""
    #: what its topic begins with
    prefix: bytes = b""
    #: priorities that may be asked for
    priorities: tuple[int, ...] = (10, 5, 1)
    #: whether a certificate will do, or only a provider token
    by_certificate: bool = True
    max_payload_bytes: int = MAX_PAYLOAD_BYTES

    def fits(self, topic: bytes) -> bool:
        """Whether a push of this type may go to the topic."""
        if self.suffix or self.prefix:
            return topic.startswith(self.prefix) and topic.endswith(self.suffix)
        return not topic.startswith(MDM_PREFIX) and bundle_id(topic) == topic


PUSH_TYPES: Final = {
    b"alert": PushType(),
    b"background": PushType(priorities=(5, 1)),
    b"complication": PushType(b".complication"),
    b"controls": PushType(b".push-type.controls"),
    b"fileprovider": PushType(b".pushkit.fileprovider"),
    b"liveactivity": PushType(b".push-type.liveactivity"),
    b"location": PushType(b".location-query", by_certificate=False),
    b"mdm": PushType(prefix=MDM_PREFIX),
    b"pushtotalk": PushType(b".voip-ptt"),
    b"voip": PushType(b".voip", max_payload_bytes=MAX_VOIP_PAYLOAD_BYTES),
    b"widgets": PushType(b".push-type.widgets"),
}
_SUFFIXES: Final = {kind.suffix: kind for kind in PUSH_TYPES.values() if kind.suffix}
_ends_with_suffix: Final = re.compile(
    rb"(.+?)(%b)" % b"|".join(re.escape(suffix) for suffix in _SUFFIXES), re.DOTALL
).fullmatch


def bundle_id(topic: bytes) -> bytes:
    """The topic without what a push type adds to it."""
    match = _ends_with_suffix(topic)
    return topic if match is None else match[1]


def push_type_of(topic: bytes) -> PushType:
    """The type of a push that does not say it: what its topic tells."""
    if topic.startswith(MDM_PREFIX):
        return PUSH_TYPES[b"mdm"]
    match = _ends_with_suffix(topic)
    # An alert and a background push go to the same topic; the latter asks for more.
    return PUSH_TYPES[b"alert"] if match is None else _SUFFIXES[match[2]]
