"""What the strict profile knows of providers and devices: keys, teams, certificates, tokens. Pure.

Read from the file of `--apns-credentials` at the start and changed through the API while the server
runs; asked by the intake for each push. `trio-push apns-credentials` writes such a file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from trio_push.auth.keys import Key, public_key
from trio_push.errors import ConfigError, Refusal
from trio_push.settings import with_place
from trio_push.wire.apns_strict import KnownDevice, Sender
from trio_push.wire.tokens import parse_token

Environment = Literal["production", "development"]

#: of keys and teams; Apple's have ten characters
Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{1,32}(?!\n)$")]
#: a bundle id, or a topic of MDM
Topic = Annotated[str, Meta(pattern=r"^[A-Za-z0-9.-]{1,255}(?!\n)$")]

R = TypeVar("R", bound=msgspec.Struct)


class KeyRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A key that signs provider tokens."""

    key_id: Id
    team_id: Id
    public_key: Annotated[str, Meta(description="In PEM; of the curve P-256.")]
    topics: Annotated[
        list[Topic] | None,
        Meta(description="The bundle ids that it is for. Without them, those of its team."),
    ] = None
    environment: Annotated[
        Environment | None, Meta(description="The only one that it is for. Without it, both.")
    ] = None


class TeamRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A team, and what its keys may push to. A team that is not known may push to every topic."""

    team_id: Id
    topics: Annotated[list[Topic], Meta(description="Bundle ids.")]


class TokenRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A device token of which more is known than that it might be one."""

    token: str
    topics: Annotated[
        list[Topic] | None, Meta(description="The bundle ids that it is for. Without them, all.")
    ] = None
    environment: Annotated[
        Environment | None, Meta(description="The one that it is of. Without it, both.")
    ] = None
    expired_at: Annotated[
        Annotated[float, Meta(ge=0, le=1e11)] | None,
        Meta(description="Epoch seconds since when it has expired."),
    ] = None


class Credentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The file of `--apns-credentials`."""

    keys: list[KeyRecord] = []
    teams: list[TeamRecord] = []
    tokens: list[TokenRecord] = []
    #: certificates, in PEM, of those who issue push certificates
    certificate_authorities: list[str] = []
    #: serial numbers, in hex, of push certificates that are good no more
    revoked: list[str] = []


class ProviderKey(NamedTuple):
    """A key, ready to be verified with."""

    record: KeyRecord
    key: Key


_NO_RECORD: Final = KnownDevice()


class Registry:
    """Keys, teams and device tokens, by their ids."""

    def __init__(self, credentials: Credentials) -> None:
        """Raises ConfigError for what no key can be made of."""
        self._keys: dict[str, ProviderKey] = {}
        self._teams: dict[str, TeamRecord] = {}
        self._tokens: dict[str, TokenRecord] = {}
        #: changes whenever a provider may do more, or less, than before
        self.version = 0
        self.find_key = self._keys.get
        #: of those who issue push certificates, in PEM
        self.certificate_authorities = tuple(credentials.certificate_authorities)
        self.revoked = frozenset(with_place("revoked", _serials, credentials.revoked))
        for number, key in enumerate(credentials.keys, start=1):
            with_place(f"key {number}", self.put_key, key)
        for team in credentials.teams:
            self.put_team(team)
        for number, token in enumerate(credentials.tokens, start=1):
            with_place(f"token {number}", self._put_token_of_file, token)

    def sender(self, key: ProviderKey) -> Sender:
        """What whoever signs with the key may do."""
        team = self._teams.get(key.record.team_id)
        topics = key.record.topics
        if topics is None and team is not None:
            topics = team.topics
        return Sender(None if topics is None else _in_bytes(topics))

    def device(self, token: str) -> KnownDevice:
        """What is known of a device token, in lower case."""
        record = self._tokens.get(token)
        if record is None:
            return _NO_RECORD
        return KnownDevice(
            topics=None if record.topics is None else _in_bytes(record.topics),
            environment=record.environment,
            expired_at_ms=None if record.expired_at is None else int(record.expired_at * 1000),
        )

    # -- what the API shows and changes

    def list_keys(self) -> list[KeyRecord]:
        return [key.record for key in self._keys.values()]

    def list_teams(self) -> list[TeamRecord]:
        return list(self._teams.values())

    def team(self, team_id: str) -> TeamRecord | None:
        return self._teams.get(team_id)

    def token(self, token: str) -> TokenRecord | None:
        return self._tokens.get(token)

    def count_tokens(self) -> int:
        return len(self._tokens)

    def put_key(self, record: KeyRecord) -> None:
        """Add a key, or replace the one of its id. Raises ConfigError for what is no such key."""
        self._keys[record.key_id] = provider_key(record)
        self.version += 1

    def put_team(self, record: TeamRecord) -> None:
        self._teams[record.team_id] = record
        self.version += 1

    def put_token(self, record: TokenRecord) -> TokenRecord:
        """Returns it as it is kept. Raises Refusal for what is no device token."""
        record = msgspec.structs.replace(record, token=parse_token(record.token))
        self._tokens[record.token] = record
        return record

    def drop_key(self, key_id: str) -> KeyRecord | None:
        """Returns what there was, as its siblings do."""
        self.version += 1
        key = self._keys.pop(key_id, None)
        return None if key is None else key.record

    def drop_team(self, team_id: str) -> TeamRecord | None:
        self.version += 1
        return self._teams.pop(team_id, None)

    def drop_token(self, token: str) -> TokenRecord | None:
        return self._tokens.pop(token, None)

    def _put_token_of_file(self, record: TokenRecord) -> None:
        try:
            self.put_token(record)
        except Refusal as refusal:
            raise ConfigError(str(refusal)) from None


def provider_key(record: KeyRecord) -> ProviderKey:
    """Raises ConfigError for what is no such key."""
    key = Key(public_key(record.public_key.encode()))
    if key.algorithm != "ES256":
        raise ConfigError("it is not a key of the curve P-256, which ES256 needs")
    return ProviderKey(record, key)


def parse_registry(data: bytes) -> Registry:
    """What a file of `--apns-credentials` says. Raises ConfigError."""
    try:
        return Registry(msgspec.json.decode(data, type=Credentials))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"it is no file of credentials: {error}") from None


def _serials(texts: Iterable[str]) -> list[int]:
    try:
        return [int(text.replace(":", ""), 16) for text in texts]
    except ValueError:
        raise ConfigError("a serial number is written in hex") from None


def _in_bytes(topics: Iterable[str]) -> frozenset[bytes]:
    return frozenset(topic.encode() for topic in topics)
