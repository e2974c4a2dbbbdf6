"""Who a swarm is to a server that it sends pushes to as to APNs, and of what kind they are.

Made once from the settings and shared by its lanes: a provider token is signed once an hour, and
a server that counts new ones sees the same on every connection.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Self

from trio_push.apns import Authorization, client_context
from trio_push.apns.authorization import authorization_of
from trio_push.swarm.settings import SwarmSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Provider:
    """What all pushes by APNs have in common."""

    topic: str | None = None
    push_type: str = "mdm"
    #: what each push shows
    authorization: Authorization | None = None
    #: TLS, with the push certificate; None: without one
    context: ssl.SSLContext | None = None

    @classmethod
    def of(cls, settings: SwarmSettings) -> Self:
        """As the settings have it. Reads files; raises ConfigError."""
        context = None
        if settings.cert is not None:
            context = client_context(certificate=settings.cert, key=settings.cert_key)
        return cls(
            topic=settings.topic,
            push_type=settings.push_type,
            authorization=authorization_of(
                key=settings.key,
                key_id=settings.key_id,
                team_id=settings.team_id,
                bearer=settings.api_key,
            ),
            context=context,
        )
