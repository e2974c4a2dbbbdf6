"""The profile for MDM, the default: requests are judged as Fleet's APNs mock does it.

Chosen at the start by `--apns mdm`. Who a provider is does not depend on its connection, so one
intake serves them all.
"""

from __future__ import annotations

from typing import Final

from trio_push.auth.apikey import shown_key
from trio_push.errors import Refusal
from trio_push.ids import new_id
from trio_push.intake.apns import ApnsIntake
from trio_push.node import Node
from trio_push.push import Push
from trio_push.wire.apns import PushRefused, read_push
from trio_push.wire.http2 import MAX_STREAMS
from trio_push.wire.page import AnyRequest
from trio_push.wire.reasons import INVALID_PROVIDER_TOKEN, MISSING_PROVIDER_TOKEN


class MdmProfile(ApnsIntake):
    """The profile, and its intake; knows the API keys that providers may have to show."""

    first_streams: Final = MAX_STREAMS

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self._default_ttl_s = node.settings.default_ttl_s
        self._keys = node.api_keys if node.settings.apns_auth else None

    def connect(self, certificate: bytes | None, *, is_http2: bool) -> ApnsIntake:
        """The same for any connection."""
        return self

    def read(self, request: AnyRequest, now: float) -> Push:
        push = read_push(
            request.method,
            request.target,
            request.headers,
            request.body,
            now=now,
            default_ttl_s=self._default_ttl_s,
            new_id=new_id,
        )
        try:
            self._check_key(request)
            self._node.directory.check(push.token)
            self._node.router.check_room(push)
        except Refusal as refusal:
            raise PushRefused.of(refusal, push.id) from None
        return push

    def _check_key(self, request: AnyRequest) -> None:
        """Raise Refusal unless the provider may push."""
        if self._keys is None:
            return
        key = shown_key(request.headers)
        if not self._keys.accept(key):
            raise Refusal(INVALID_PROVIDER_TOKEN if key else MISSING_PROVIDER_TOKEN)
