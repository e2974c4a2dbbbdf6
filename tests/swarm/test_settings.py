from __future__ import annotations

from typing import Any

import pytest

from trio_push.errors import ConfigError
from trio_push.swarm.settings import SwarmSettings


def test_defaults_are_valid() -> None:
    assert SwarmSettings().devices == 1000


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"devices": 0}, "--devices: 0 is too low"),
        ({"ramp": 0}, "--ramp: 0 is too low"),
        ({"duration_s": -1}, "--duration"),
        ({"push_rate": -1}, "--push-rate"),
        ({"connect_timeout_s": 0}, "--connect-timeout"),
        ({"payload_bytes": 4097}, "--payload-bytes: 4097 is too high"),
        ({"via": "fcm"}, "--via: 'fcm' is not one of apns, apns-h2, api"),
        ({"client": "curl"}, "--client"),
        ({"path": "/events"}, "--path: .* has no place for the token"),
        ({"path": "events/{token}"}, "--path"),
        ({"path": "/events/{token} HTTP/1.0"}, "--path: .* a request cannot carry"),
        ({"transport": "tcp"}, "--transport: 'tcp' is not one of sse, ws, mixed"),
        ({"reconnect": "now"}, "--reconnect: 'now' is not one of fleet, scale"),
        ({"storm_share": 1.1}, "--storm-share: 1.1 is too high"),
        ({"slow_readers": 2}, "--slow-readers: 2 is too high"),
        ({"churn": -1}, "--churn"),
        ({"sleepers": 1.5}, "--sleepers: 1.5 is too high"),
        ({"asleep_s": 0}, "--asleep"),
        ({"awake_s": 0}, "--awake"),
        ({"user_prefix": "a b"}, "--user-prefix: .* a request cannot carry"),
        ({"mark_read": True}, "--mark-read: .* give --transport ws"),
        ({"mark_read": True, "transport": "ws"}, "--mark-read: .* give --devices-per-user"),
        ({"path": "/{token}", "devices_per_user": 2}, "--path: .* leave out --devices-per-user"),
        ({"jwt_audience": "x"}, "--jwt-audience: .* give --jwt-key FILE, too"),
        ({"api_key": "short"}, "--api-key: an API key has 16 or more"),
        ({"ack": True}, "--ack: .* give --transport ws"),
        ({"key": "f", "key_id": "i"}, "--key, --key-id and --team-id belong together"),
        ({"cert_key": "f"}, "--cert-key is the key of --cert"),
        ({"cert": "f"}, "--cert is shown over TLS: give --apns https://"),
        ({"cert": "f", "url": "https://h", "apns": "http://h"}, "--cert is shown over TLS"),
        ({"apns": "https://h", "via": "api"}, "--apns is a way to push, .* leave one out"),
        (
            {"key": "f", "key_id": "i", "team_id": "t", "via": "api"},
            "--key and --cert are for pushes by APNs",
        ),
        ({"push_type": "a b"}, "--push-type: .* a request cannot carry"),
        ({"transport": "mixed", "path": "/{token}"}, "--path: .* do not share one"),
        ({"topic": "x\r\nHost: y"}, "--topic: .* a request cannot carry"),
        ({"token_prefix": "xyz"}, "--token-prefix"),
        ({"fail_if": ("lost>0", "p99>5")}, "--fail-if: 'p99>5': p99 is a duration"),
    ],
)
def test_wrong_settings_name_their_flag(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SwarmSettings(**wrong)
