"""What a provider shows to a server of the strict profile, made anew for each test."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from trio_push.commands.apns_credentials import make_credentials, write

#: the bundle id that is pushed to
TOPIC = "com.example.app"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderCredentials:
    """Files in PEM, and what they stand for. All of them are gone with the server."""

    #: for provider tokens: the key that signs them, its id, and the team that it belongs to
    key_file: str
    key_id: str
    team_id: str
    #: what that key and the first certificate are for
    topic: str
    #: push certificates, each with its key: for `topic`, its `.voip` and its `.complication` …
    certificate_file: str
    #: … and for MDM
    mdm_certificate_file: str
    mdm_topic: str
    #: what the server knows of all this
    server_file: str

    @classmethod
    def make(cls, folder: Path) -> ProviderCredentials:
        """Make them, and write them into `folder`. Raises ConfigError."""
        made = make_credentials(TOPIC, datetime.now(UTC))
        write(made, folder)
        return cls(
            key_file=str(folder / made.key_file),
            key_id=made.key_id,
            team_id=made.team_id,
            topic=made.topic,
            certificate_file=str(folder / "app.pem"),
            mdm_certificate_file=str(folder / "mdm.pem"),
            mdm_topic=made.mdm_topic,
            server_file=str(folder / "apns.json"),
        )
