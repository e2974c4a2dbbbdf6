"""@parse/node-apn, in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from tests.conftest import find_tool
from tests.interop.conftest import ENVIRONMENT, JS
from tests.interop.running import Running
from tests.interop.strict import VOIP, Ask, Provider
from tests.interop.strict_clients.base import (
    ALWAYS_PROVES,
    KEEPS_ITS_KEY,
    KEEPS_ITS_TOKEN,
    ONLY_POST,
    Answer,
    Fate,
    Step,
)
from tests.interop.talking import Talker, talking

_NAMES: Final = {"push_type": "pushType", "collapse_id": "collapseId", "expiration": "expiry"}


class NodeApn:
    """It keeps a connection."""

    never: Final = {**ONLY_POST, **ALWAYS_PROVES, **KEEPS_ITS_KEY, **KEEPS_ITS_TOKEN}
    never_by_certificate: Final[dict[str, str]] = {}
    refused: Final = "NGHTTP2_REFUSED_STREAM"
    reads_when_idle: Final = True
    after_goaway: Final = {"at": Fate(told=True, accepted=1), "before": Fate(False, 0)}

    def talk(self, server: Running, provider: Provider, *steps: Step) -> list[Answer]:
        answers: list[Answer] = []
        with talking(str(find_tool("node")), JS / "strict.mjs", env=ENVIRONMENT) as talker:
            started = {"options": _options(server, provider), "behindS": provider.behind_s}
            talker.tell(json.dumps(started))
            for step in steps:
                if isinstance(step, Ask):
                    answers += _push(talker, [step])
                elif callable(step):
                    step()
                else:
                    answers += _push(talker, step)
        return answers


def _options(server: Running, provider: Provider) -> dict[str, Any]:
    url = urlsplit(server.tls)
    options: dict[str, Any] = {"address": url.hostname, "port": url.port, "ca": server.ca}
    if provider.certificate is not None:
        return options | dict.fromkeys(["cert", "key"], str(provider.certificate))
    token = {"key": str(provider.key), "keyId": provider.key_id, "teamId": provider.team_id}
    return options | {"token": token}


def _push(talker: Talker, asks: Sequence[Ask]) -> list[Answer]:
    talker.tell(json.dumps([{"notification": _fields(ask), "to": ask.token} for ask in asks]))
    return [_answer(one) for one in talker.hear("results")["results"]]


def _fields(ask: Ask) -> dict[str, Any]:
    fields = {"topic": VOIP, "push_type": "voip", **ask.fields}
    return {"rawPayload": ask.payload} | {
        _NAMES.get(name, name): value for name, value in fields.items()
    }


def _answer(result: dict[str, Any]) -> Answer:
    if not result["failed"]:
        return Answer(200)
    (failed,) = result["failed"]
    status, error = failed.get("status"), failed.get("error") or ""
    if not isinstance(status, int):
        return Answer(error=error or str(status))
    response = failed.get("response") or {}
    # of what it has tried again it tells no response
    return Answer(status, response.get("reason", error), response.get("timestamp"))
