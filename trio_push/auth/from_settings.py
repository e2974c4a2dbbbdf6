"""Opens what the settings say of authentication: called once, when a node is made."""

from __future__ import annotations

from trio_push.auth.apikey import ApiKeys, parse_api_keys
from trio_push.auth.apns_registry import Credentials, Registry, parse_registry
from trio_push.auth.devices import DeviceAuth
from trio_push.auth.jwt import Verifier
from trio_push.auth.keyfile import KeyFile
from trio_push.auth.keys import parse_jwks, parse_key
from trio_push.clock import Clock
from trio_push.config import ServeSettings


def open_device_auth(settings: ServeSettings, clock: Clock) -> DeviceAuth:
    """What lets devices in. Raises ConfigError when the key cannot be used."""
    if settings.device_auth == "off":
        return DeviceAuth(clock, None)
    if settings.jwt_key:
        file = KeyFile("--jwt-key", settings.jwt_key, parse_key)
    else:
        file = KeyFile("--jwt-jwks", settings.jwt_jwks or "", parse_jwks)
    verifier = Verifier(
        file.current, leeway_s=settings.auth_leeway_s, audience=settings.jwt_audience
    )
    return DeviceAuth(clock, verifier)


def open_api_keys(settings: ServeSettings) -> ApiKeys | None:
    """The keys of the API; None when it asks for none. Raises ConfigError."""
    if settings.api_key_file:
        file = KeyFile("--api-key-file", settings.api_key_file, parse_api_keys)
        return ApiKeys(settings.api_key, file.current)
    return ApiKeys(settings.api_key) if settings.api_key else None


def open_apns_registry(settings: ServeSettings) -> Registry | None:
    """What the strict profile knows at the start; None under another. Raises ConfigError."""
    if settings.apns != "strict":
        return None
    if settings.apns_credentials is None:
        return Registry(Credentials())
    # Read once: from then on the API is the way to change it.
    return KeyFile("--apns-credentials", settings.apns_credentials, parse_registry).current()
