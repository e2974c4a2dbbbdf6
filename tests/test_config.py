"""What the settings of `serve` may say together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from trio_push.config import DAYS, ServeSettings
from trio_push.errors import ConfigError

KEY = "k" * 16
SECURE = {"device_auth": "jwt", "jwt_key": "k.pem", "api_key": (KEY,), "apns_auth": True}
TLS = {"tls_listen": (":8443",), "no_auth": True}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"listen": ("127.0.0.1:0", "[::1]:0", "localhost:9999")},
        {"listen": (":8378",), "no_auth": True},
        {"api": "off"},
        {"workers": 3, "max_connections": 3},
        {"device_auth": "jwt", "jwt_jwks": "jwks.json", "jwt_audience": "us"},
        {"api_key_file": "keys", "apns_auth": True},
        {**SECURE, "listen": (":8378",), "api": ":8081"},
        {"api": ":8081", "api_key_file": "keys"},
        {"listen": (":8378",), "device_auth": "jwt", "jwt_key": "k", "no_auth": True},
        {**TLS, "tls_dev": True},
        {**TLS, "tls_cert": "c.pem", "tls_key": "k.pem"},
        {**TLS, "tls_dev": True, "listen": ()},
        {"keepalive_s": 0, "drain_s": 0, "default_ttl_s": 0, "connect_rate": 0},
        {"default_ttl_s": 30 * DAYS},
        {"write_timeout_s": 0.001},
        {"mailbox_capacity": 1, "store_per_token": 1, "store_total": 1},
        {"apns": "strict"},
        {"apns": "strict", "apns_credentials": "apns.json", "apns_throttle": True},
        {"apns": "strict", "apns_environment": "development", "apns_token_rate": 0},
        {**SECURE, "apns": "strict", "apns_auth": False, "listen": (":1",), "api": ":2"},
    ],
)
def test_settings_that_can_be_used(settings: dict[str, Any]) -> None:
    assert replace(ServeSettings(), **settings) == ServeSettings(**settings)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"listen": ("8080",)}, "^--listen: '8080' is not an address"),
        ({"tls_listen": ("x",), "tls_dev": True}, "^--tls-listen: 'x' is not an address"),
        ({"api": "of"}, "^--api: 'of' is not an address"),
        ({"listen": ()}, "add --listen HOST:PORT"),
        ({"listen": (":8378",)}, "^--listen :8378 can be reached.*or --no-auth if"),
        ({"api": "0.0.0.0:8081"}, "^--api 0.0.0.0:8081 can be reached"),
        ({"tls_listen": ("10.0.0.1:1",), "tls_dev": True}, "^--tls-listen 10.0.0.1:1 can be"),
        ({"listen": ("127.0.0.1:8081",)}, "--listen 127.0.0.1:8081 and --api 127.0.0.1:8081"),
        ({"listen": (":8081",), "no_auth": True}, "cannot share a port"),
        ({"tls_listen": ("127.0.0.1:1",)}, "--tls-listen needs a certificate"),
        ({**TLS, "tls_cert": "c.pem"}, "add --tls-key FILE"),
        ({**TLS, "tls_key": "k.pem"}, "add --tls-cert FILE"),
        ({**TLS, "tls_dev": True, "tls_cert": "c", "tls_key": "k"}, "leave out --tls-cert"),
        ({"tls_dev": True}, "add --tls-listen"),
        (
            {**SECURE, "listen": (":1",), "apns_auth": False},
            "open to any provider: add --apns-auth,",
        ),
        (
            {"listen": (":1",), "api_key": (KEY,), "apns_auth": True},
            "is open to any device: add --device-auth jwt,",
        ),
        ({"listen": (":1",)}, "any device and any provider: add --device-auth jwt and --apns-auth"),
        ({"api": ":1", "device_auth": "jwt", "jwt_key": "k"}, "any user: add --api-key-file FILE,"),
        ({"device_auth": "on"}, "^--device-auth: 'on' is not one of off, jwt"),
        ({"device_auth": "jwt"}, "add --jwt-key FILE or --jwt-jwks FILE"),
        ({"device_auth": "jwt", "jwt_key": ""}, "add --jwt-key FILE or --jwt-jwks FILE"),
        ({"device_auth": "jwt", "jwt_key": "k", "jwt_jwks": "j"}, "leave one out"),
        ({"jwt_key": "k"}, "add --device-auth jwt"),
        ({"jwt_audience": "us"}, "add --device-auth jwt"),
        ({"auth_leeway_s": -1}, "^--auth-leeway: "),
        ({"apns_auth": True}, "add --api-key-file FILE"),
        ({**SECURE, "apns": "strict"}, "leave out --apns-auth"),
        ({"apns": "lax"}, "^--apns: 'lax' is not one of mdm, strict"),
        ({"apns_credentials": "apns.json"}, "add --apns strict"),
        ({"apns_throttle": True}, "add --apns strict"),
        ({"apns": "strict", "apns_environment": "sandbox"}, "^--apns-environment: "),
        ({"apns": "strict", "apns_token_rate": -1}, "^--apns-token-rate: "),
        ({"apns": "strict", "listen": (":1",)}, "is open to any device: add --device-auth jwt,"),
        ({"api_key": (KEY, "")}, "^--api-key: an API key has 16 or more letters"),
        ({"keepalive_s": -1}, "^--keepalive: "),
        ({"write_timeout_s": 0}, "^--write-timeout: 0s is too low: at least 1ms"),
        ({"head_timeout_s": 0}, "^--head-timeout: "),
        ({"idle_timeout_s": 0}, "^--idle-timeout: "),
        ({"max_connections": -1}, "^--max-connections: "),
        ({"connect_rate": -1}, "^--connect-rate: "),
        ({"default_ttl_s": 31 * DAYS}, "^--default-ttl: 31d is too high: at most 30d"),
        ({"mailbox_capacity": 0}, "^--mailbox-capacity: "),
        ({"workers": 0}, "^--workers: 0 is too low"),
        ({"workers": 2, "store": "sqlite:f"}, "leave out --store"),
        ({"workers": 3, "max_connections": 2}, "less than one for each"),
        ({"redis": "localhost"}, "^--redis: this is no URL of a Redis"),
        ({"redis": "redis://r", "store": "sqlite:f"}, "leave out --store"),
        ({"redis_prefix": "a{b}"}, "^--redis-prefix: "),
        ({"store_per_token": 0}, "^--store-per-token: "),
        ({"store_total": 0}, "^--store-total: "),
        ({"drain_s": -1}, "^--drain: "),
        ({"log_level": "loud"}, "^--log-level: 'loud' is not one of debug, info"),
        ({"log_format": "xml"}, "^--log-format: "),
    ],
)
def test_settings_that_cannot(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        ServeSettings(**settings)


@pytest.mark.parametrize("key", ["k3y" * 5, "k3y " * 5, "k3y," * 5, "k3yé" * 5, "k3y" * 6 + "\n"])
def test_a_key_that_will_not_do_is_not_shown(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ServeSettings(api_key=(key,))
    assert "k3y" not in str(caught.value)


def test_keys_are_not_shown_with_the_other_settings() -> None:
    assert KEY not in repr(ServeSettings(api_key=(KEY,)))
    assert "s3cret" not in repr(ServeSettings(redis="redis://:s3cret@r"))
