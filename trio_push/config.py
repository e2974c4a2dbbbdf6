"""The settings of `serve`, each with its unit, default and meaning; the one list of them.

The command line, the environment, the TOML file and the reference page are made from it. What
can be checked without opening anything is checked here, once: a ServeSettings that exists can
be used. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from trio_push import consistency, settings
from trio_push.address import Address
from trio_push.engine.url import RedisUrl
from trio_push.errors import ConfigError
from trio_push.settings import setting

SECONDS = 1
MINUTES = 60 * SECONDS
HOURS = 60 * MINUTES
DAYS = 24 * HOURS

#: Shorter ones could be guessed. The alphabet is that of bearer tokens (RFC 6750, section 2.1).
MIN_API_KEY_CHARS = 16
_is_api_key = re.compile(rf"[A-Za-z0-9._~+/=-]{{{MIN_API_KEY_CHARS},}}").fullmatch

#: the longest time a push may be kept, whatever it asks for (Apple: "30 days or less")
MAX_TTL_S = 30 * DAYS

#: the shortest time that a deadline on a peer may be set to: below it nobody could keep it
_LEAST_TIMEOUT_S = 0.001


def check_api_key(text: str) -> None:
    """Raises ConfigError, which does not show it, unless `text` will do as a key of the API."""
    if not _is_api_key(text):
        raise ConfigError(
            f"an API key has {MIN_API_KEY_CHARS} or more letters, digits and -._~+/= "
            "(openssl rand -hex 32 makes one)"
        )


class ProviderFlags(Protocol):
    """What commands that push are told of who they are to Apple."""

    @property
    def key(self) -> str | None: ...
    @property
    def key_id(self) -> str | None: ...
    @property
    def team_id(self) -> str | None: ...
    @property
    def cert(self) -> str | None: ...
    @property
    def cert_key(self) -> str | None: ...


def check_provider(flags: ProviderFlags) -> None:
    """Raises ConfigError unless what is there of them belongs together."""
    if len({flags.key is None, flags.key_id is None, flags.team_id is None}) > 1:
        raise ConfigError("--key, --key-id and --team-id belong together")
    if flags.cert_key and not flags.cert:
        raise ConfigError("--cert-key is the key of --cert: give that too")


def _check_api(text: str) -> None:
    if text != "off":
        Address.parse(text)


#: of `faults.SCENARIOS`, which takes a while to import: not for --help
SCENARIO_NAMES = (
    "apple-shutdown",
    "token-churn",
    "throttled",
    "flaky-network",
    "goaway-storm",
    "magic-tokens",
)

#: more workers than any machine has cores for
MAX_WORKERS = 256

#: values of --store: pushes are held in memory only, or also in the SQLite file that follows
MEMORY = "memory"
SQLITE = "sqlite:"


def _check_store(text: str) -> None:
    if text != MEMORY and not text.startswith(SQLITE):
        raise ConfigError(f"{text!r} is no store: write memory or sqlite:FILE")
    if text == SQLITE:
        raise ConfigError("sqlite: needs the file to keep pushes in: write sqlite:FILE")


#: A brace would be taken for the part of a key that says where in a cluster it lies.
_is_prefix = re.compile(r"[A-Za-z0-9._:-]{1,64}").fullmatch


def _check_prefix(text: str) -> None:
    if not _is_prefix(text):
        raise ConfigError(f"{text!r} is no prefix: 1 to 64 letters, digits and -._:")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeSettings:
    """What `trio-push serve` can be told. Durations are seconds.

    Raises ConfigError when a value, or what they say together, cannot be used.
    """

    listen: tuple[str, ...] = setting(
        ("127.0.0.1:8080",),
        "Address of the wire listener: devices, and APNs providers over HTTP/1.1 and h2c. "
        "Repeatable; port 0 takes a free one, no host is every interface.",
        unit="host:port",
        check=Address.parse,
    )
    tls_listen: tuple[str, ...] = setting(
        (),
        "Address of a wire listener over TLS. Repeatable.",
        unit="host:port",
        check=Address.parse,
    )
    tls_cert: str | None = setting(
        None, "PEM file with the certificate chain of --tls-listen.", unit="file"
    )
    tls_key: str | None = setting(None, "PEM file with the private key of --tls-cert.", unit="file")
    tls_dev: bool = setting(
        False,
        "Make (once) and use a development CA and certificate for localhost and Apple's push "
        "hosts.",
    )
    tls_dev_dir: str = setting(
        "~/.local/share/trio-push/tls",
        "Where --tls-dev keeps its CA and certificate.",
        unit="directory",
    )
    api: str = setting(
        "127.0.0.1:8081",
        "Address of the API listener; 'off' opens none.",
        unit="host:port",
        check=_check_api,
    )
    workers: int = setting(
        1,
        "Processes that serve together on the same listeners. More than one need Redis: --redis, "
        "or a redis-server to start.",
        unit="processes",
        minimum=1,
        maximum=MAX_WORKERS,
    )
    no_auth: bool = setting(
        False,
        "Serve on addresses other than loopback although devices, providers or users of the API "
        "do not have to prove who they are.",
    )
    device_auth: str = setting(
        "off",
        "How a device proves that a device token is its own: not at all, or by a JWT.",
        choices=("off", "jwt"),
    )
    jwt_key: str | None = setting(
        None,
        "File with the key of the devices' JWTs: a public key or certificate in PEM (RS256, "
        "ES256), else a secret (HS256).",
        unit="file",
    )
    jwt_jwks: str | None = setting(
        None, "File with a JWK set of such keys, instead of --jwt-key.", unit="file"
    )
    jwt_audience: str | None = setting(
        None, "Audience that a device's JWT has to name; without it, it may name none."
    )
    auth_leeway_s: float = setting(
        30 * SECONDS, "How far clocks may differ on when a device's JWT is valid.", unit="s"
    )
    api_key: tuple[str, ...] = setting(
        (),
        "Key that users of the API have to show. Repeatable. Others can read command lines: "
        "better TRIO_PUSH_API_KEY, or --api-key-file.",
        unit="key",
        check=check_api_key,
        secret=True,
    )
    api_key_file: str | None = setting(
        None, "File with further such keys, one to a line.", unit="file"
    )
    apns_auth: bool = setting(
        False, "Providers of APNs pushes, too, have to show an API key, as their bearer token."
    )
    apns: str = setting(
        "mdm",
        "How pushes to /3/device are judged: as MDM servers need it, or by all of Apple's rules.",
        choices=("mdm", "strict"),
    )
    apns_credentials: str | None = setting(
        None,
        "File with the keys, teams, certificate authorities and device tokens that --apns strict "
        "knows of; 'trio-push apns-credentials' makes one.",
        unit="file",
    )
    apns_environment: str = setting(
        "production",
        "Which of Apple's environments --apns strict is.",
        choices=("production", "development"),
    )
    apns_token_rate: float = setting(
        10,
        "Pushes to one device token in a second that --apns strict takes in the long run, ten "
        "seconds' worth at once; further ones get 429. 0: no limit.",
        unit="1/s",
    )
    apns_throttle: bool = setting(
        False,
        "With --apns strict, a refused push leaves its HTTP/2 connection one stream, until a push "
        "is accepted.",
    )
    keepalive_s: float = setting(
        30 * SECONDS,
        "Time between comments or pings that keep a device's stream alive; 0: none. Many proxies "
        "close a stream that is silent for 60s.",
        unit="s",
    )
    write_timeout_s: float = setting(
        10 * SECONDS,
        "Time a device has to take a push before it is disconnected.",
        unit="s",
        minimum=_LEAST_TIMEOUT_S,
    )
    head_timeout_s: float = setting(
        10 * SECONDS,
        "Time a new connection has to send a whole request (and TLS handshake).",
        unit="s",
        minimum=_LEAST_TIMEOUT_S,
    )
    idle_timeout_s: float = setting(
        1 * HOURS,
        "Time a provider's connection may lie idle before it is closed.",
        unit="s",
        minimum=_LEAST_TIMEOUT_S,
    )
    max_connections: int = setting(
        0,
        "Most devices at a time; further ones get 503. 0: what the file limit allows.",
        unit="devices",
    )
    connect_rate: float = setting(
        0,
        "Most devices that may connect in a second; further ones get 503. 0: no limit.",
        unit="1/s",
    )
    default_ttl_s: float = setting(
        24 * HOURS,
        "How long a push without an expiration is kept for a device; 0: not at all.",
        unit="s",
        maximum=MAX_TTL_S,
    )
    mailbox_capacity: int = setting(
        64,
        "Pushes that may wait in memory for one connected device.",
        unit="pushes",
        minimum=1,
    )
    store: str = setting(
        MEMORY,
        "Where held pushes are kept: memory, or sqlite:FILE, from which they survive the end of "
        "the server.",
        unit="store",
        check=_check_store,
    )
    redis: str | None = setting(
        None,
        "URL of the Redis through which several nodes are one server: redis://HOST:6379/0, "
        "rediss://, redis+cluster://HOST:7000,HOST:7001 or unix:/PATH. It also keeps what they "
        "hold.",
        unit="url",
        check=RedisUrl.parse,
        secret=True,
    )
    redis_prefix: str = setting(
        "trio-push", "What the names of all keys in Redis begin with.", check=_check_prefix
    )
    store_per_token: int = setting(
        256, "Pushes that may be stored for one device token.", unit="pushes", minimum=1
    )
    store_total: int = setting(
        4_000_000,
        "Pushes that may be held (stored or delayed) in all.",
        unit="pushes",
        minimum=1,
    )
    history_per_token: int = setting(
        100,
        "Delivered pushes that are kept for one device token, for a device that resumes.",
        unit="pushes",
        minimum=1,
    )
    history_total: int = setting(
        100_000,
        "Delivered pushes that are kept in all, for devices that resume.",
        unit="pushes",
        minimum=1,
    )
    devices_per_user: int = setting(
        100, "Devices that one user may have.", unit="devices", minimum=1
    )
    ack_timeout_s: float = setting(
        30 * SECONDS,
        "Time a device has to acknowledge a push that asks for it before it is sent again.",
        unit="s",
        minimum=1,
    )
    faults: str | None = setting(
        None, "TOML file with faults on demand: see the reference of faults.", unit="file"
    )
    scenario: tuple[str, ...] = setting(
        (),
        "Faults on demand that go together, by their name. Repeatable.",
        choices=SCENARIO_NAMES,
    )
    drain_s: float = setting(
        10 * SECONDS, "Time to close connections in on SIGTERM or SIGINT.", unit="s"
    )
    log_level: str = setting(
        "info", "Least level that is logged.", choices=("debug", "info", "warning", "error")
    )
    log_format: str = setting(
        "auto",
        "How log lines look; auto is console on a terminal, else json.",
        choices=("auto", "console", "json"),
    )

    @property
    def asked(self) -> frozenset[str]:
        """Who has to prove who they are: "device", "provider", "user" (of the API)."""
        asked = {
            "device": self.device_auth == "jwt",
            "provider": self.apns_auth or self.apns == "strict",
            "user": bool(self.api_key or self.api_key_file),
        }
        return frozenset(who for who, is_asked in asked.items() if is_asked)

    def __post_init__(self) -> None:
        settings.validate(self)
        consistency.check(self)
        if self.redis and self.store != MEMORY:
            raise ConfigError("--redis keeps what is held: leave out --store")
        _check_workers(self)


def _check_workers(serve: ServeSettings) -> None:
    """What several workers share can be shared."""
    if serve.workers > 1 and serve.store != MEMORY:
        raise ConfigError(
            "--workers share what is held through Redis: leave out --store, and give --redis URL "
            "if it is to survive the end of the server"
        )
    if 0 < serve.max_connections < serve.workers:
        raise ConfigError("--max-connections is less than one for each of the --workers")
