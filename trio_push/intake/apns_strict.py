"""The strict profile: requests are judged as Apple does it, by the rules of `wire` and `auth`.

Chosen at the start by `--apns strict`. Every connection gets an intake of its own, because who a
provider is holds for its connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from trio_push.auth.apns_certificate import parse_certificate
from trio_push.auth.apns_registry import Registry
from trio_push.auth.apns_session import (
    CERTIFICATE_RULES,
    TOKEN_RULES,
    Authority,
    ProviderSession,
)
from trio_push.auth.apns_token import TokenVerifier
from trio_push.errors import Refusal
from trio_push.ids import new_id
from trio_push.intake.apns import Answer, ApnsIntake
from trio_push.node import Node
from trio_push.push import Push
from trio_push.wire.apns import PushRefused
from trio_push.wire.apns_strict import Aimed, Asked
from trio_push.wire.apns_strict_rate import DeviceRate
from trio_push.wire.apns_strict_rules import (
    DEVICE_RULES,
    PUSH_RULES,
    REQUEST_RULES,
    check,
    check_device,
)
from trio_push.wire.http2 import MAX_STREAMS
from trio_push.wire.page import AnyRequest

#: all rules, in the order in which they are looked at
RULES: Final = (*REQUEST_RULES, *CERTIFICATE_RULES, *TOKEN_RULES, *PUSH_RULES, *DEVICE_RULES)


class StrictProfile:
    """What is the same for all connections."""

    #: Apple's servers say this first, and more after
    first_streams: Final = 1

    def __init__(self, node: Node, registry: Registry) -> None:
        settings = node.settings
        self.node = node
        self.authority = Authority(
            registry, TokenVerifier(registry.find_key), settings.apns_environment
        )
        self.rate = DeviceRate(settings.apns_token_rate)
        self.default_ttl_s = settings.default_ttl_s
        self._throttles = settings.apns_throttle

    def connect(self, certificate: bytes | None, *, is_http2: bool) -> StrictIntake:
        parsed = None if certificate is None else parse_certificate(certificate)
        session = ProviderSession(self.authority, parsed)
        # HTTP/1.1 has no streams that could be refused.
        kind = ThrottledIntake if self._throttles and is_http2 else StrictIntake
        return kind(self, session)


class StrictIntake(ApnsIntake):
    """The intake of one connection."""

    def __init__(self, profile: StrictProfile, session: ProviderSession) -> None:
        super().__init__(profile.node)
        self._profile = profile
        self._session = session
        self.max_streams = MAX_STREAMS if session.is_proved else 1
        self._is_development = profile.authority.environment == "development"

    async def answer(self, requests: Sequence[AnyRequest]) -> list[Answer]:
        answers = await super().answer(requests)
        # One, until the provider has proved who it is.
        self.max_streams = MAX_STREAMS if self._session.is_proved else 1
        if self._is_development:
            replace = msgspec.structs.replace
            return [replace(answer, unique_id=new_id().encode()) for answer in answers]
        return answers

    def read(self, request: AnyRequest, now: float) -> Push:
        asked = Asked(request.method, request.target, request.headers, request.body)
        apns_id = asked.apns_id or new_id()
        try:
            check(REQUEST_RULES, asked)
            asked.send_as(self._session.authenticate(asked.fields.get(b"authorization"), now))
            check(PUSH_RULES, asked)
            push = asked.push(apns_id, now, self._profile.default_ttl_s)
            check_device(self._aim(asked, push, now))
            self._node.router.check_room(push)
        except Refusal as refusal:
            raise PushRefused.of(refusal, apns_id) from None
        return push

    def _aim(self, asked: Asked, push: Push, now: float) -> Aimed:
        profile = self._profile
        return Aimed(
            topic=asked.topic,
            device=profile.authority.registry.device(push.token),
            environment=profile.authority.environment,
            now_ms=now * 1000,
            unregistered_at_ms=self._node.directory.unregistered_at_ms(push.token),
            is_too_many=partial(profile.rate.is_too_many, push.token, now),
        )


class ThrottledIntake(StrictIntake):
    """One that has a single stream after a refusal, until a push is accepted."""

    stops_at_refusal = True

    async def answer(self, requests: Sequence[AnyRequest]) -> list[Answer]:
        answers = await super().answer(requests)
        if answers and answers[-1].status != 200:
            self.max_streams = 1
        return answers
