"""What the settings of `serve` may not say together: asked once, when they are made. Pure."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from trio_push.address import Address
from trio_push.errors import ConfigError

if TYPE_CHECKING:
    from trio_push.config import ServeSettings


def check(serve: ServeSettings) -> None:
    """Raises ConfigError naming two settings and what to do."""
    _check_tls(serve)
    _check_auth(serve)
    _check_apns(serve)
    _check_listeners(serve)


#: what asks each kind of visitor who they are
_DEMANDS = {
    "device": "--device-auth jwt",
    "provider": "--apns-auth",
    "user": "--api-key-file FILE",
}


def _check_tls(serve: ServeSettings) -> None:
    """TLS has one certificate from one place, and somewhere to use it."""
    if serve.tls_dev and (serve.tls_cert or serve.tls_key):
        raise ConfigError("--tls-dev makes a certificate: leave out --tls-cert and --tls-key")
    if serve.tls_cert and not serve.tls_key:
        raise ConfigError("--tls-cert needs the file with its private key: add --tls-key FILE")
    if serve.tls_key and not serve.tls_cert:
        raise ConfigError("--tls-key needs the certificate it belongs to: add --tls-cert FILE")
    has_certificate = serve.tls_dev or serve.tls_cert
    if serve.tls_listen and not has_certificate:
        raise ConfigError(
            "--tls-listen needs a certificate: add --tls-cert and --tls-key, or --tls-dev"
        )
    if has_certificate and not serve.tls_listen:
        raise ConfigError("a certificate is given but no TLS listener: add --tls-listen HOST:PORT")


def _check_auth(serve: ServeSettings) -> None:
    """Who has to prove something can, and what is given for that is used."""
    if serve.jwt_key and serve.jwt_jwks:
        raise ConfigError("--jwt-key and --jwt-jwks both hold the keys: leave one out")
    has_key = serve.jwt_key or serve.jwt_jwks
    if serve.device_auth == "jwt" and not has_key:
        raise ConfigError("--device-auth jwt needs a key: add --jwt-key FILE or --jwt-jwks FILE")
    if serve.device_auth == "off" and (has_key or serve.jwt_audience):
        raise ConfigError("JWTs are described but not asked for: add --device-auth jwt")
    if serve.apns_auth and "user" not in serve.asked:
        raise ConfigError("--apns-auth needs keys to ask for: add --api-key-file FILE")


def _check_apns(serve: ServeSettings) -> None:
    """Providers are asked for one thing, and what the strict profile needs is given to no other."""
    if serve.apns == "strict":
        if serve.apns_auth:
            raise ConfigError(
                "--apns strict asks providers for what Apple asks: leave out --apns-auth"
            )
    elif serve.apns_credentials:
        raise ConfigError("--apns-credentials are for Apple's rules: add --apns strict")
    elif serve.apns_throttle:
        raise ConfigError("--apns-throttle is as Apple does it: add --apns strict")


def _check_listeners(serve: ServeSettings) -> None:
    """There are listeners, they do not stand in each other's way, and strangers are kept out."""
    if not serve.listen and not serve.tls_listen:
        raise ConfigError("no listener for devices: add --listen HOST:PORT")
    listeners = [("--listen", text) for text in serve.listen]
    listeners += [("--tls-listen", text) for text in serve.tls_listen]
    if serve.api != "off":
        listeners.append(("--api", serve.api))
    for (flag, text), (other_flag, other) in combinations(listeners, 2):
        if Address.parse(text).collides(Address.parse(other)):
            raise ConfigError(f"{flag} {text} and {other_flag} {other} cannot share a port")
    for flag, text in listeners:
        visitors = ("user",) if flag == "--api" else ("device", "provider")
        strangers = [who for who in visitors if who not in serve.asked]
        if strangers and not serve.no_auth and not Address.parse(text).is_loopback:
            who = " and any ".join(strangers)
            remedy = " and ".join(_DEMANDS[each] for each in strangers)
            raise ConfigError(
                f"{flag} {text} can be reached from other machines and is open to any {who}: add "
                f"{remedy}, or --no-auth if that is meant, or listen on 127.0.0.1"
            )
