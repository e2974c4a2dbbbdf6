"""How to set up APNs clients with a test set of credentials: a page of Markdown. Pure.

Written beside the credentials by `trio-push apns-credentials`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Made(Protocol):
    """The credentials, as far as clients are told of them."""

    @property
    def topic(self) -> str: ...
    @property
    def mdm_topic(self) -> str: ...
    @property
    def key_id(self) -> str: ...
    @property
    def team_id(self) -> str: ...
    @property
    def key_file(self) -> str: ...


def describe(made: Made, folder: Path) -> str:
    """The page for the credentials in `folder`."""
    return _PAGE.format(
        topic=made.topic,
        mdm_topic=made.mdm_topic,
        key_id=made.key_id,
        team_id=made.team_id,
        key=folder / made.key_file,
        app=folder / "app.pem",
        mdm=folder / "mdm.pem",
        server=folder / "apns.json",
    )


_PAGE = """\
# APNs clients for the test credentials in this directory

The server:

    trio-push serve --apns strict --apns-credentials {server} \\
      --tls-listen 127.0.0.1:8443 --tls-dev

| | |
|---|---|
| key of provider tokens | `{key}` |
| key id (`kid`) | `{key_id}` |
| team id (`iss`) | `{team_id}` |
| topic | `{topic}` |
| certificate and key for `{topic}`, its `.voip` and `.complication` | `{app}` |
| certificate and key for MDM | `{mdm}` |
| topic of MDM | `{mdm_topic}` |

The examples trust the development CA, `~/.local/share/trio-push/tls/ca.pem`, and push to a device
token of 64 hex digits.

## trio-push

    export SSL_CERT_FILE=~/.local/share/trio-push/tls/ca.pem
    trio-push push --apns https://localhost:8443 --topic {topic} --push-type alert \\
      --key {key} --key-id {key_id} --team-id {team_id} \\
      $TOKEN '{{"aps": {{"alert": "Hello"}}}}'
    trio-push push --apns https://localhost:8443 --push-type mdm --cert {mdm} \\
      $TOKEN '{{"mdm": "magic"}}'
    trio-push swarm --apns https://localhost:8443 --cert {mdm} --push-rate 100/s

## curl

    curl --http2 --cacert ~/.local/share/trio-push/tls/ca.pem --cert {mdm} \\
      -d '{{"mdm":"magic"}}' https://localhost:8443/3/device/$TOKEN

## aioapns

    import ssl
    from pathlib import Path
    from aioapns import APNs, NotificationRequest
    from aioapns.connection import APNsProductionClientProtocol

    APNsProductionClientProtocol.APNS_SERVER = "localhost"
    APNsProductionClientProtocol.APNS_PORT = 8443
    client = APNs(
        key=Path("{key}").read_text(),
        key_id="{key_id}",
        team_id="{team_id}",
        topic="{topic}",
        ssl_context=ssl.create_default_context(cafile="ca.pem"),
    )
    # by certificate: APNs(client_cert="{app}", topic="{topic}", ssl_context=...)
    await client.send_notification(
        NotificationRequest(device_token=token, message={{"aps": {{"alert": "Hello"}}}})
    )

## kalyke

    # with SSL_CERT_FILE=ca.pem in the environment
    from pathlib import Path
    from kalyke import ApnsClient, ApnsConfig

    class Client(ApnsClient):
        _base_url = "https://localhost:8443"

    client = Client(
        use_sandbox=False,
        team_id="{team_id}",
        auth_key_id="{key_id}",
        auth_key_filepath=Path("{key}"),
    )
    await client.send_message(token, {{"aps": {{"alert": "Hello"}}}}, ApnsConfig(topic="{topic}"))

## @parse/node-apn

    import apn from "@parse/node-apn";

    const provider = new apn.Provider({{
      address: "localhost",
      port: 8443,
      ca: "ca.pem",
      token: {{ key: "{key}", keyId: "{key_id}", teamId: "{team_id}" }},
      // by certificate: cert: "{app}", key: "{app}"
    }});
    const note = new apn.Notification({{ topic: "{topic}", alert: "Hello" }});
    await provider.send(note, token);

## httpx

    import ssl, time
    from pathlib import Path
    import httpx, jwt

    context = ssl.create_default_context(cafile="ca.pem")
    context.load_cert_chain("{app}")  # or, without a certificate, a header:
    provider_token = jwt.encode(
        {{"iss": "{team_id}", "iat": int(time.time())}},
        Path("{key}").read_text(), "ES256", headers={{"kid": "{key_id}"}},
    )
    client = httpx.Client(http2=True, verify=context, base_url="https://localhost:8443")
    client.post(
        f"/3/device/{{token}}",
        headers={{"apns-topic": "{topic}", "authorization": f"bearer {{provider_token}}"}},
        json={{"aps": {{"alert": "Hello"}}}},
    )

## Fleet and NanoMDM

Upload `{mdm}` as the MDM push certificate, and trust the development CA:

    SSL_CERT_FILE=~/.local/share/trio-push/tls/ca.pem \\
    FLEET_DEV_MDM_APPLE_PUSH_SERVER_URL=https://localhost:8443 fleet serve --dev
"""
