"""Which lanes a swarm sends its pushes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trio_push.errors import ConfigError
from trio_push.swarm.api_lane import ApiLane
from trio_push.swarm.apns_h2_lane import ApnsHttp2Lane
from trio_push.swarm.apns_lane import ApnsLane
from trio_push.swarm.audit import Audit
from trio_push.swarm.lane import Lane
from trio_push.swarm.provider import Provider
from trio_push.swarm.target import Target
from trio_push.swarm.user_lane import UserLane
from trio_push.swarm.users import UserPlan, Users

#: connections by HTTP/1.1: one push at a time on each, so that the rate needs as many as there are
#: pushes in the time of an answer. A server of many nodes that is very busy takes so long:
ANSWER_S = 0.4
FEWEST_APNS_LANES = 64
MOST_APNS_LANES = 2000
#: connections that take many pushes at a time; a few, so that they reach every worker
WIDE_LANES = 4

#: connections for pushes to users, of which each carries one at a time: the API takes a
#: millisecond for one, and more of them would only wait there
USER_LANES = 16

#: makes the lanes of a run from the server, its API if it has one, and the audit
MakeLanes = Callable[[Target, Target | None, Audit], Sequence[Lane]]


def lanes_of(
    via: str,
    provider: Provider,
    rate: float,
    *,
    ack: bool = False,
    api_key: str | None = None,
) -> MakeLanes:
    """What makes the lanes for `--via` apns, apns-h2 or api: enough for `rate` pushes in a second.

    Only the last knows of `ack` and `api_key`, and of the provider no more than the topic.
    """

    def make(server: Target, api: Target | None, audit: Audit) -> Sequence[Lane]:
        if via == "apns":
            count = min(max(int(rate * ANSWER_S), FEWEST_APNS_LANES), MOST_APNS_LANES)
            return [ApnsLane(server, audit, provider) for _ in range(count)]
        if via == "apns-h2":
            return [ApnsHttp2Lane(server, audit, provider) for _ in range(WIDE_LANES)]
        return api_lanes(api, audit, provider.topic, ack=ack, api_key=api_key)

    return make


def user_lanes_of(
    users: Users, tokens: Sequence[str], topic: str | None, *, ack: bool, api_key: str | None
) -> MakeLanes:
    """What makes the lanes for pushes to users."""

    def make(_: Target, api: Target | None, audit: Audit) -> Sequence[Lane]:
        target, plan = _known(api), UserPlan(audit, users)
        return [
            UserLane(target, plan, tokens, topic, ack=ack, api_key=api_key)
            for _ in range(USER_LANES)
        ]

    return make


def api_lanes(
    api: Target | None,
    audit: Audit,
    topic: str | None = None,
    *,
    delay_s: float = 0.0,
    ack: bool = False,
    api_key: str | None = None,
) -> Sequence[Lane]:
    """Lanes to the API. Raises ConfigError where it is not known."""
    target = _known(api)
    return [
        ApiLane(target, audit, topic, delay_s=delay_s, ack=ack, api_key=api_key)
        for _ in range(WIDE_LANES)
    ]


def _known(api: Target | None) -> Target:
    if api is None:
        raise ConfigError(
            "--via api: no API of the server is known; give --api-url, and --api-key if it asks "
            "for one"
        )
    return api
