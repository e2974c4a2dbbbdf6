"""npm's eventsource: it comes back as the standard wants, and stays away when told to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.interop.conftest import ENVIRONMENT, JS
from tests.interop.running import Running
from tests.interop.talking import Talker, talking
from trio_push.devices import farewell

pytestmark = pytest.mark.needs("node", "npm-packages")

#: what eventsource waits for when it was told nothing
ITS_OWN_RETRY_MS = 3000


@pytest.fixture
def listen(tool: Callable[[str], str]) -> Callable[..., AbstractContextManager[Talker]]:
    def listen(server: Running, url: str) -> AbstractContextManager[Talker]:
        environment = ENVIRONMENT | {"NODE_EXTRA_CA_CERTS": server.ca}
        return talking(tool("node"), JS / "events.mjs", url, env=environment)

    return listen


Listen = Callable[[Running, str], AbstractContextManager[Talker]]


@pytest.mark.parametrize("over", ["plain", "tls"])
def test_events(listen: Listen, launch: Callable[..., Running], token: str, over: str) -> None:
    server = launch(keepalive_s=0.05)
    base = server.plain if over == "plain" else server.tls
    with listen(server, f"{base}/events?token={token}") as source:
        assert source.hear("request")["lastEventId"] is None
        source.hear("open")
        server.push(token, "mágic\nlines")
        first = source.hear("message")
        assert first["data"] == "mágic\nlines"
        server.sleep(0.3)
        server.push(token, '{"mdm":"magic"}', event="ping")
        second = source.hear("ping")
        assert second["data"] == '{"mdm":"magic"}'
        assert first["lastEventId"].split(":")[0] == second["lastEventId"].split(":")[0]


def test_it_comes_back_when_told_and_stays_away_when_told(
    listen: Listen, launch: Callable[..., Running], token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    retry_ms = 600
    monkeypatch.setattr(farewell, "RETRY_MS", (retry_ms, retry_ms))
    first = launch()
    with listen(first, f"{first.plain}/events?token={token}") as source:
        source.hear("request")
        source.hear("open")
        first.push(token, "before")
        last_id = source.hear("message")["lastEventId"]

        first.drain()
        second = launch(listen=(first.plain.removeprefix("http://"),))
        second.push(token, "while away")
        left_at_ms = source.hear("error")["at_ms"]
        request = source.hear("request")
        assert request["lastEventId"] == last_id
        assert retry_ms <= request["at_ms"] - left_at_ms + 1 < ITS_OWN_RETRY_MS
        source.hear("open")
        message = source.hear("message")
        assert message["data"] == "while away"

        second.drop(token)
        assert not source.hear("error")["closed"]
        assert source.hear("request")["lastEventId"] == message["lastEventId"]
        source.hear("open")

        second.unregister(token)
        assert not source.hear("error")["closed"]
        source.hear("request")
        gone = source.hear("error")
        assert (gone["code"], gone["closed"]) == (410, True)
        assert source.hears_nothing(2 * retry_ms / 1000)
