"""What the client can be told."""

from __future__ import annotations

import math
import ssl
from dataclasses import dataclass, field

from trio_push.apns.authorization import Authorization
from trio_push.apns.dial import Http
from trio_push.apns.retries import Retries
from trio_push.apns.scaling import Scaling
from trio_push.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How to speak with the host, and how hard to try."""

    http: Http = "h2"
    #: TLS, with the push certificate if there is one; None: the usual authorities, and none. Of
    #: one client only, which sets what it offers by ALPN
    context: ssl.SSLContext | None = None
    #: what each push shows for who sends it
    authorization: Authorization | None = None
    scaling: Scaling = field(default_factory=Scaling)
    retries: Retries = field(default_factory=Retries)
    #: pushes, and bytes of HTTP, that go out in a second at most; None: no limit
    rate_per_s: float | None = None
    bandwidth_bytes_per_s: float | None = None
    #: streams on a connection, if the host allows as many; Apple's allows 1000
    max_streams: int = 1000
    #: time to open a connection, TLS and all
    dial_s: float = 20.0
    #: after a failure no connection is opened for so long; doubling, with a share of jitter on top
    first_backoff_s: float = 0.1
    longest_backoff_s: float = 60.0
    jitter: float = 0.5
    #: how long the host may be out of reach before the client gives up; one that never was in
    #: reach is given up at once, unless this is infinity
    patience_s: float = math.inf
    #: time that the host has for an answer
    answer_s: float = 30.0
    #: silence after which a connection without pushes is asked whether it is there, as Apple says
    ping_s: float = 60 * 60.0

    def __post_init__(self) -> None:
        for name in ("rate_per_s", "bandwidth_bytes_per_s"):
            limit = getattr(self, name)
            if limit is not None and limit <= 0:
                raise ConfigError(f"{name} is above 0, or None")
        for name in ("dial_s", "answer_s", "ping_s"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is above 0")
        if self.max_streams < 1:
            raise ConfigError("max_streams is 1 at least")
