"""How a device proves who it is, whatever its transport: asked by the front door.

A device token alone when nothing more is demanded; else a JWT, whose `sub` is the device token.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from trio_push.auth.bearer import bearers
from trio_push.auth.jwt import Claims, Verifier
from trio_push.clock import Clock
from trio_push.errors import Refusal
from trio_push.wire.query import value
from trio_push.wire.reasons import FORBIDDEN, INVALID_ACCESS_TOKEN, MISSING_ACCESS_TOKEN
from trio_push.wire.tokens import parse_token
from trio_push.wire.users import parse_user


class Credentials(NamedTuple):
    """What a request for a connection says of its device, unproved."""

    #: the JWT; b"" when none is shown (yet: over WebSocket it may come in the first message)
    jwt: bytes
    #: the device token that is asked for; b"" for that of the JWT
    asked: bytes
    #: whose the device says it is; b"" where the JWT says so
    user: bytes = b""

    def __repr__(self) -> str:
        return f"<Credentials for {self.asked[:8]!r}>"


class DeviceAuth:
    """Lets devices in. Holds nothing per device."""

    def __init__(self, clock: Clock, verifier: Verifier | None) -> None:
        """Without a `verifier` a device is whichever it says."""
        self._clock = clock
        self._verifier = verifier

    @property
    def demands_jwt(self) -> bool:
        return self._verifier is not None

    def read(self, headers: Iterable[tuple[bytes, bytes]], query: bytes) -> Credentials:
        """The credentials in a request: its headers, in lower case, and its query.

        The JWT is the bearer token, `access_token` (RFC 6750, section 2.3) or, as clients that
        cannot set headers have it, `token`; that is the device token when it is no JWT. Raises
        Refusal for JWTs that differ: nobody could tell which of them counts elsewhere.
        """
        asked = value(query, b"token")
        if not self.demands_jwt:
            return Credentials(b"", asked, value(query, b"user"))
        jwts = bearers(headers) | {value(query, b"access_token")}
        if b"." in asked:
            jwts.add(asked)
            asked = b""
        jwts.discard(b"")
        if len(jwts) > 1:
            raise Refusal(INVALID_ACCESS_TOKEN, "the request shows several JWTs")
        return Credentials(jwts.pop() if jwts else b"", asked)

    def authenticate(self, credentials: Credentials) -> Claims:
        """Who the device is. Raises Refusal: 401 for its JWT, 403 for another one's token."""
        if self._verifier is None:
            user = parse_user(credentials.user) if credentials.user else None
            return Claims(parse_token(credentials.asked), user)
        if not credentials.jwt:
            raise Refusal(MISSING_ACCESS_TOKEN)
        claims = self._verifier.verify(credentials.jwt, self._clock.wall())
        if credentials.asked and parse_token(credentials.asked) != claims.token:
            raise Refusal(FORBIDDEN)
        return claims
