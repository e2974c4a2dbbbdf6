"""Scenarios that ship: rules that together look like something that happens.

Used by `--scenario`, by the API, and by tests of one's own.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from trio_push.faults.actions import (
    Delay,
    DisconnectDevice,
    GoAway,
    MaxStreams,
    RefuseConnection,
    SlowDevice,
    Status,
    TcpReset,
)
from trio_push.faults.latency import LogNormal, Uniform
from trio_push.faults.magic import magic_rules
from trio_push.faults.rules import Match, Rule


class Scenario(NamedTuple):
    """Some rules under one name."""

    name: str
    meaning: str
    rules: tuple[Rule, ...]


_ALL: Final = (
    Scenario(
        "apple-shutdown",
        "For 2 of every 30 seconds each HTTP/2 connection is told to go at its first push, which "
        "is still answered; and a fifth of the pushes is refused with 503 `Shutdown`.",
        (
            Rule(
                name="apple-shutdown-503",
                match=Match(share=0.2, for_s=2, every_s=30),
                action=Status(reason="Shutdown", status=503),
            ),
            Rule(
                name="apple-shutdown-goaway",
                match=Match(for_s=2, every_s=30),
                action=GoAway(reason="Shutdown", last_stream="at"),
            ),
        ),
    ),
    Scenario(
        "token-churn",
        "5 % of the tokens are unregistered (410 with a timestamp of a day ago), 1 % have "
        "expired, 1 % are bad; always the same ones.",
        (
            Rule(
                name="token-churn-unregistered",
                match=Match(token_share=0.05),
                action=Status(reason="Unregistered", status=410, since_s=86_400),
            ),
            Rule(
                name="token-churn-expired",
                match=Match(token_share=0.01),
                action=Status(reason="ExpiredToken", status=410, since_s=86_400),
            ),
            Rule(
                name="token-churn-bad",
                match=Match(token_share=0.01),
                action=Status(reason="BadDeviceToken", status=400),
            ),
        ),
    ),
    Scenario(
        "throttled",
        "One stream at a time on each connection, answers that take 50 ms and now and then half "
        "a second, and 429 `TooManyRequests` for a tenth of the pushes.",
        (
            Rule(name="throttled-streams", action=MaxStreams(streams=1)),
            Rule(
                name="throttled-delay",
                action=Delay(latency=LogNormal(median_s=0.05, p99_s=0.5)),
            ),
            Rule(
                name="throttled-429",
                match=Match(share=0.1),
                action=Status(reason="TooManyRequests", status=429),
            ),
        ),
    ),
    Scenario(
        "flaky-network",
        "Connections are refused (5 %) or reset (1 %), some of those with the push accepted; "
        "answers take 20 ms and now and then half a second; devices stall (2 %) and drop (1 %).",
        (
            Rule(
                name="flaky-network-refused",
                match=Match(share=0.05),
                action=RefuseConnection(),
            ),
            Rule(
                name="flaky-network-delay",
                action=Delay(latency=LogNormal(median_s=0.02, p99_s=0.5)),
            ),
            Rule(
                name="flaky-network-reset",
                match=Match(share=0.005),
                action=TcpReset(),
            ),
            Rule(
                name="flaky-network-reset-late",
                match=Match(share=0.005),
                action=TcpReset(processed=True),
            ),
            Rule(
                name="flaky-network-stalled",
                match=Match(share=0.02),
                action=SlowDevice(latency=Uniform(low_s=0.1, high_s=2.0)),
            ),
            Rule(
                name="flaky-network-dropped",
                match=Match(share=0.01),
                action=DisconnectDevice(when="before"),
            ),
        ),
    ),
    Scenario(
        "goaway-storm",
        "For 5 of every 20 seconds every request over HTTP/2 is answered by GOAWAY and not "
        "processed: clients that connect again at once show themselves.",
        (
            Rule(
                name="goaway-storm",
                match=Match(for_s=5, every_s=20),
                action=GoAway(reason="Shutdown", last_stream="before"),
            ),
        ),
    ),
    Scenario(
        "magic-tokens",
        "Tokens that begin with `fa17` say themselves what happens to pushes for them.",
        magic_rules(),
    ),
)
SCENARIOS: Final = {scenario.name: scenario for scenario in _ALL}
