"""What the strict profile knows, with `serve --workers N`."""

from __future__ import annotations

import pytest

from tests.serving import Peer
from tests.workers.running import crew_of

pytestmark = pytest.mark.needs("redis-server")


async def test_a_change_holds_at_every_worker() -> None:
    async with crew_of(3, "--apns", "strict") as crew:
        async with Peer.connected(crew.api) as user:
            headers = {"content_type": "application/json", "connection": "close"}
            body = b'{"topics": ["com.example.app"]}'
            response = await user.request("PUT", "/v1/apns/teams/TEAM000001", body, **headers)
        assert response.status == 200
        team = {"team_id": "TEAM000001", "topics": ["com.example.app"]}
        for _ in range(12):
            assert (await crew.get("/v1/apns"))["teams"] == [team]
