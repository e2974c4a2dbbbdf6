from __future__ import annotations

from pathlib import Path

import pytest

from tests.auth.issuer import DEVICE, jwk, jwks, key_file, token
from tests.fakes import T0
from trio_push.auth.devices import Credentials
from trio_push.auth.from_settings import open_api_keys, open_apns_registry, open_device_auth
from trio_push.clock import Clock
from trio_push.config import ServeSettings
from trio_push.errors import ConfigError, Refusal
from trio_push.node import Node

CLOCK = Clock(lambda: T0)
KEY, OTHER = "k" * 16, "o" * 16


def test_by_default_nobody_is_asked() -> None:
    node = Node.make(ServeSettings(), CLOCK)
    assert not node.device_auth.demands_jwt
    assert node.api_keys is None


@pytest.mark.parametrize("setting", ["jwt_key", "jwt_jwks"])
def test_devices_are_asked_for_a_jwt(setting: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(key_file("ES256") if setting == "jwt_key" else jwks(jwk("ES256")))
    settings = ServeSettings(
        device_auth="jwt", auth_leeway_s=7, jwt_audience="us", **{setting: str(path)}
    )
    auth = open_device_auth(settings, CLOCK)
    claims = auth.authenticate(Credentials(token("ES256", aud="us", exp=T0 - 6), b""))
    assert (claims.token, claims.expires_at) == (DEVICE, T0 + 1)
    for raw in (token("ES256"), token("ES256", aud="us", exp=T0 - 7), token("HS256", aud="us")):
        with pytest.raises(Refusal):
            auth.authenticate(Credentials(raw, b""))


def test_users_are_asked_for_a_key(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(OTHER)
    for settings, accepted in [
        (ServeSettings(api_key=(KEY,)), [True, False]),
        (ServeSettings(api_key_file=str(path)), [False, True]),
        (ServeSettings(api_key=(KEY,), api_key_file=str(path)), [True, True]),
    ]:
        keys = open_api_keys(settings)
        assert keys is not None
        assert [keys.accept(key.encode()) for key in (KEY, OTHER)] == accepted


def test_what_the_strict_profile_knows(tmp_path: Path) -> None:
    path = tmp_path / "apns.json"
    path.write_text('{"teams": [{"team_id": "T", "topics": []}]}')
    assert open_apns_registry(ServeSettings()) is None
    nothing = open_apns_registry(ServeSettings(apns="strict"))
    something = open_apns_registry(ServeSettings(apns="strict", apns_credentials=str(path)))
    assert nothing is not None
    assert something is not None
    assert [len(known.list_teams()) for known in (nothing, something)] == [0, 1]


@pytest.mark.parametrize(
    "settings",
    [
        {"device_auth": "jwt", "jwt_key": "{}"},
        {"device_auth": "jwt", "jwt_jwks": "{}"},
        {"api_key_file": "{}"},
        {"apns": "strict", "apns_credentials": "{}"},
    ],
)
def test_a_file_that_will_not_do_is_told_at_the_start(
    settings: dict[str, str], tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    given = {name: value.format(empty) for name, value in settings.items()}
    with pytest.raises(ConfigError, match=f"^--[a-z-]+ {empty}: "):
        Node.make(ServeSettings(**given), CLOCK)  # type: ignore[arg-type]
