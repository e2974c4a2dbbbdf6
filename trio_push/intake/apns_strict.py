"""The strict profile: requests are judged as Apple does it, by the rules of `wire` and `auth`.

Chosen at the start by `--apns strict`. Every connection gets a reader of its own, because who a
provider is holds for its connection.
"""

from __future__ import annotations

from functools import partial
from typing import Final

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
from trio_push.wire.page import AnyRequest

#: all rules, in the order in which they are looked at
RULES: Final = (*REQUEST_RULES, *CERTIFICATE_RULES, *TOKEN_RULES, *PUSH_RULES, *DEVICE_RULES)


class StrictProfile:
    """What is the same for all connections."""

    def __init__(self, node: Node, registry: Registry) -> None:
        environment = node.settings.apns_environment
        self.node = node
        self.authority = Authority(registry, TokenVerifier(registry.find_key), environment)
        self.rate = DeviceRate(node.settings.apns_token_rate)
        self.default_ttl_s = node.settings.default_ttl_s

    def reader(self, certificate: bytes | None) -> StrictReader:
        """For a new connection; `certificate` is that of its TLS, in DER."""
        parsed = None if certificate is None else parse_certificate(certificate)
        return StrictReader(self, ProviderSession(self.authority, parsed))


class StrictReader:
    """Makes pushes of one connection's requests."""

    def __init__(self, profile: StrictProfile, session: ProviderSession) -> None:
        self._profile = profile
        self._session = session

    @property
    def is_proved(self) -> bool:
        """Whether the provider has proved who it is, and may have more than one stream."""
        return self._session.is_proved

    def read(self, request: AnyRequest, now: float) -> Push:
        """The push that a request asks for at `now` (epoch seconds). Raises PushRefused."""
        asked = Asked(request.method, request.target, request.headers, request.body)
        apns_id = asked.apns_id
        try:
            check(REQUEST_RULES, asked)
            asked.send_as(self._session.authenticate(asked.fields.get(b"authorization"), now))
            check(PUSH_RULES, asked)
            push = asked.push(apns_id, now, self._profile.default_ttl_s)
            check_device(self._aim(asked, push, now))
            self._profile.node.router.check_room(push)
        except Refusal as refusal:
            raise PushRefused.of(refusal, apns_id) from None
        return push

    def _aim(self, asked: Asked, push: Push, now: float) -> Aimed:
        profile = self._profile
        authority = profile.authority
        return Aimed(
            topic=asked.topic,
            device=authority.registry.device(push.token),
            environment=authority.environment,
            now_ms=now * 1000,
            unregistered_at_ms=profile.node.directory.unregistered_at_ms(push.token),
            is_too_many=partial(profile.rate.is_too_many, push.token, now),
        )
