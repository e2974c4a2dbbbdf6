"""The settings of `swarm`, each with its unit, default and meaning; the one list of them.

The command line, the environment, the TOML file and the reference page are made from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from trio_push.address import Address
from trio_push.config import HOURS, MINUTES, SECONDS, check_api_key, check_provider
from trio_push.errors import ConfigError
from trio_push.settings import setting, validate
from trio_push.swarm.limits import MAX_WORKERS
from trio_push.swarm.reconnect import SCHEDULES
from trio_push.swarm.thresholds import parse_threshold
from trio_push.swarm.tokens import check_prefix

#: APNs takes no more
MAX_PAYLOAD_BYTES = 4096


def _check_path(path: str) -> None:
    if "{token}" not in path or not path.startswith("/"):
        raise ConfigError(f"{path!r} has no place for the token: write '/events?token={{token}}'")
    _check_visible(path)


def _check_visible(text: str) -> None:
    """It becomes part of a request: a space or line break in it would end that part."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigError(f"{text!r} has characters that a request cannot carry")


@dataclass(frozen=True, kw_only=True, slots=True)
class SwarmSettings:
    """What `trio-push swarm` can be told. Durations are seconds, sizes bytes.

    Raises ConfigError for values that cannot work, whatever the server.
    """

    url: str = setting(
        "http://127.0.0.1:8080", "The server: devices connect to it and pushes are sent to it."
    )
    devices: int = setting(1000, "Devices to simulate.", unit="devices", minimum=1, maximum=2**31)
    workers: int = setting(
        0,
        "Processes that hold the devices. 0: as few as the limit of open files allows.",
        unit="processes",
        maximum=MAX_WORKERS,
    )
    agents: tuple[str, ...] = setting(
        (),
        "Agents on other machines that hold the devices instead of this one. Repeatable.",
        unit="host:port",
        check=Address.parse,
    )
    agent_secret: str = setting("", "The secret of the agents.", secret=True)
    ramp: float = setting(
        500, "Devices that connect in a second until all have.", unit="1/s", minimum=0.01
    )
    duration_s: float = setting(
        1 * MINUTES, "Time to go on once all have connected. 0: until Ctrl-C.", unit="s"
    )
    seed: int = setting(0, "What every random choice comes from: tokens, jitter, order.")
    token_prefix: str = setting(
        "", "Hexadecimal digits that every generated token begins with.", check=check_prefix
    )
    token_file: str | None = setting(
        None,
        "File with the devices' tokens, one to a line, instead of generated ones.",
        unit="file",
    )
    client: str = setting(
        "lean",
        "What a device is made of: plain sockets, for scale, or libraries: httpx, trio-websocket.",
        choices=("lean", "library"),
    )
    transport: str = setting(
        "sse",
        "How devices connect: server-sent events, WebSocket, or every other one by WebSocket.",
        choices=("sse", "ws", "mixed"),
    )
    path: str | None = setting(
        None,
        "Path that devices connect to; {token} is replaced by the device's token. By default "
        "/events?token={token}, over WebSocket /ws?token={token}.",
        check=_check_path,
    )
    devices_per_user: int = setting(
        0,
        "Devices of each user; pushes by the API then go to users, not to single devices. 0: "
        "devices are nobody's.",
        unit="devices",
    )
    user_prefix: str = setting(
        "user", "What users are called, before their number.", check=_check_visible
    )
    mark_read: bool = setting(
        False,
        "For each push one of the user's devices, in turn, says that it is read. WebSocket only.",
    )
    ack: bool = setting(
        False,
        "Devices acknowledge what they get, and pushes sent by the API ask for that. "
        "WebSocket only.",
    )
    reconnect: str = setting(
        "fleet",
        "When a device whose stream ended comes back: 1 s doubling to 30 s and a random half more, "
        "as Fleet's device client; or 0, 1, 2, 5, 10, 30 s, of which a random part.",
        choices=tuple(SCHEDULES),
    )
    churn: float = setting(
        0, "Devices that leave in a second, each chosen at random, to come back.", unit="1/s"
    )
    storm_s: float = setting(
        0,
        "When devices drop all at once, counted from when all have connected. 0: never.",
        unit="s",
    )
    storm_share: float = setting(1, "Share of the devices that a storm drops.", maximum=1)
    sleepers: float = setting(
        0, "Share of the devices that sleep and wake, again and again.", maximum=1
    )
    asleep_s: float = setting(
        30 * SECONDS,
        "How long a sleeper is away: a random time from half of this to one and a half.",
        unit="s",
        minimum=0.001,
    )
    awake_s: float = setting(
        1 * MINUTES, "How long it then stays; random in the same way.", unit="s", minimum=0.001
    )
    slow_readers: float = setting(
        0, "Share of the devices that read as little as they can, 64 bytes a second.", maximum=1
    )
    api_url: tuple[str, ...] = setting(
        (),
        "The server's API. By default the server is asked where it is (/stats). Of nodes on "
        "several machines, that of each. Repeatable.",
        unit="url",
    )
    api_key: str | None = setting(
        None,
        "Key to show to the API and, with APNs pushes, to the server. Others can read command "
        "lines: better TRIO_PUSH_SWARM_API_KEY.",
        unit="key",
        check=check_api_key,
        secret=True,
    )
    jwt_key: str | None = setting(
        None,
        "File with the key to sign the devices' JWTs with, for a server that asks for them: a "
        "private key in PEM (RS256, ES256), else a secret (HS256).",
        unit="file",
    )
    jwt_audience: str | None = setting(None, "Audience that the JWTs name.")
    jwt_lifetime_s: float = setting(
        1 * HOURS,
        "How long a JWT is valid. A device gets a new one whenever it connects.",
        unit="s",
        minimum=0.001,
    )
    push_rate: float = setting(
        0, "Pushes to send in a second, spread over the devices. 0: only listen.", unit="1/s"
    )
    via: str = setting(
        "apns",
        "How to send them: APNs over HTTP/1.1, APNs over HTTP/2, or the server's API.",
        choices=("apns", "apns-h2", "api"),
    )
    apns: str | None = setting(
        None,
        "Host that speaks APNs over HTTP/2 to send them to, instead of --url and --via.",
        unit="url",
    )
    topic: str | None = setting(
        None, "Topic of the pushes sent (apns-topic).", check=_check_visible
    )
    push_type: str = setting(
        "mdm", "Type of those sent by APNs (apns-push-type).", check=_check_visible
    )
    cert: str | None = setting(
        None,
        "PEM file with the push certificate to show with APNs pushes, and with its key without "
        "--cert-key.",
        unit="file",
    )
    cert_key: str | None = setting(None, "PEM file with the certificate's key.", unit="file")
    key: str | None = setting(
        None,
        "Apple's .p8 file to sign provider tokens with, to show with APNs pushes; needs the next "
        "two.",
        unit="file",
    )
    key_id: str | None = setting(None, "The id of --key: the part of its name after AuthKey_.")
    team_id: str | None = setting(None, "The team that --key belongs to.")
    payload_bytes: int = setting(
        0,
        "Least size of a payload sent; it is filled up.",
        unit="bytes",
        maximum=MAX_PAYLOAD_BYTES,
    )
    on_push_url: str | None = setting(
        None,
        "URL that a device calls for each push it gets: POST with the push's data as body; "
        "{token} is replaced by the device's token.",
        unit="url",
    )
    think_s: float = setting(0, "Time from a push to the call of --on-push-url.", unit="s")
    connect_timeout_s: float = setting(
        10 * SECONDS,
        "Time to connect and get the head of the response.",
        unit="s",
        minimum=0.001,
    )
    fail_if: tuple[str, ...] = setting(
        (),
        "What makes the run fail (exit code 99): 'p99>500ms', 'lost>0', 'failed>1%'. Repeatable.",
        check=parse_threshold,
    )
    json: str | None = setting(None, "File to write the report to as JSON.", unit="file")

    @property
    def addresses_users(self) -> bool:
        """Whether the driver's pushes go to users."""
        return self.devices_per_user > 0 and self.via == "api"

    def __post_init__(self) -> None:
        validate(self)
        check_provider(self)
        if self.apns and self.via == "api":
            raise ConfigError("--apns is a way to push, and so is --via api: leave one out")
        if (self.key or self.cert) and self.via == "api":
            raise ConfigError("--key and --cert are for pushes by APNs: leave out --via api")
        if self.cert and not (self.apns or self.url).startswith("https:"):
            raise ConfigError("--cert is shown over TLS: give --apns https://…")
        if self.ack and self.transport != "ws":
            raise ConfigError("--ack: only devices over WebSocket do it: give --transport ws")
        if self.mark_read and self.transport == "sse":
            raise ConfigError("--mark-read: only devices over WebSocket do it: give --transport ws")
        if self.mark_read and self.devices_per_user < 2:
            raise ConfigError("--mark-read: nobody else would hear of it: give --devices-per-user")
        if self.jwt_audience is not None and self.jwt_key is None:
            raise ConfigError("--jwt-audience: no JWT is made: give --jwt-key FILE, too")
        if self.path is not None and self.devices_per_user and self.jwt_key is None:
            raise ConfigError("--path: it says nothing of users: leave out --devices-per-user")
        if self.path is not None and self.transport == "mixed":
            raise ConfigError("--path: devices of --transport mixed do not share one")
