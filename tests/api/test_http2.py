"""HTTP/2 clients that do what Hypercorn does not expect."""

from __future__ import annotations

import pytest
import trio
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from tests.api.conftest import Running
from tests.api.http2_client import Http2Client
from tests.serving import PATIENCE_S


@pytest.mark.parametrize(
    "head",
    [
        pytest.param({":path": b"/caf\xc3\xa9"}, id="path-not-ascii"),
        pytest.param({":method": "CONNECT", ":path": "", ":scheme": ""}, id="connect"),
    ],
)
async def test_a_bad_head_resets_its_stream_alone(
    http2: Http2Client, head: dict[str, str | bytes]
) -> None:
    bad = await http2.request(head)
    good = await http2.request({})
    assert await http2.status(good) == 200
    assert bad in http2.resets


async def test_data_after_the_answer_harms_nobody(api: Running, http2: Http2Client) -> None:
    early = await http2.request({":method": "POST", ":path": "/v1/push"}, end=False)
    assert await http2.status(early) == 415
    for _ in range(30):
        # more than the connection's window in all: it opens again for data that is let go
        http2.h2.send_data(early, b" " * 16_000)
        await http2.flush()
        while http2.h2.local_flow_control_window(early) < 16_000:
            await http2.read()
    assert await http2.status(await http2.request({})) == 200


async def stop_reading(api: Running, http2: Http2Client, *, path: str) -> int:
    """A request whose answer the client gives no room for."""
    api.connect(*(f"{n:0200x}" for n in range(1000)))
    http2.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
    await http2.flush()
    stream = await http2.request({":path": path})
    while stream not in http2.statuses:
        assert await http2.read()
    return stream


@pytest.mark.parametrize("path", ["/healthz", "/v1/devices?limit=1000"])
async def test_a_client_that_gives_no_room_and_goes_leaves_nothing(
    api: Running, http2: Http2Client, path: str
) -> None:
    await stop_reading(api, http2, path=path)
    await http2.stream.aclose()
    await trio.sleep(0.05)
    api.shutdown.set()
    await api.wait_ended()


@pytest.mark.parametrize("path", ["/healthz", "/v1/devices?limit=1000"])
async def test_a_stream_that_is_reset_leaves_nothing(
    api: Running, http2: Http2Client, path: str
) -> None:
    stream = await stop_reading(api, http2, path=path)
    http2.h2.reset_stream(stream)
    http2.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 65_535})
    await http2.flush()
    assert await http2.status(await http2.request({})) == 200
    api.shutdown.set()
    await api.wait_ended()


async def test_a_response_that_breaks_off_is_reset(
    api: Running, http2: Http2Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_push.api.stream.STALLED_S", 0.1)
    head = {":method": "POST", ":path": "/v1/pushes", "content-type": "application/x-ndjson"}
    http2.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 0})
    stream = await http2.request(head, end=False)
    for _ in range(4):  # more answers than Hypercorn buffers
        http2.h2.send_data(stream, b'{"token":"aa","payload":1}\n' * 300)
    await http2.flush()
    while stream not in http2.resets:
        assert await http2.read()
    assert http2.resets[stream] == ErrorCodes.INTERNAL_ERROR
    http2.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 65_535})
    assert await http2.status(await http2.request({})) == 200


async def test_a_body_whose_request_lies_still_holds_up_no_other(
    api: Running, http2: Http2Client
) -> None:
    api.channel.shut()
    head = {":method": "POST", ":path": "/v1/pushes", "content-type": "application/x-ndjson"}
    stream = await http2.request(head, end=False)
    lines = b'{"token":"aa","payload":1}\n' * 100
    sent = 0
    while sent < 40_000:
        if http2.h2.local_flow_control_window(stream) >= len(lines):
            http2.h2.send_data(stream, lines)
            await http2.flush()
            sent += 100
        else:
            with trio.move_on_after(0.2) as patience:
                await http2.read()
            if patience.cancelled_caught:
                break  # its window stays closed: what it carries is not taken
    assert sent < 40_000
    other = await http2.request({**head, ":path": "/v1/pushes"}, end=False)
    for _ in range(4):
        http2.h2.send_data(other, b"x\n" * 8000)  # lines that are refused
        await http2.flush()
    http2.h2.end_stream(other)
    await http2.flush()
    assert await http2.status(other) == 200
    api.channel.gate.set()
    http2.h2.end_stream(stream)
    await http2.flush()
    assert await http2.status(stream) == 200
    assert http2.bodies[stream].count(b"\n") == sent


async def test_h2c_by_upgrade(api: Running) -> None:
    async with await trio.open_tcp_stream(api.host, api.port) as stream:
        await stream.send_all(
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
        )
        received = b""
        with trio.fail_after(PATIENCE_S):
            while b'{"status":"ok"}' not in received:
                received += await stream.receive_some()
    assert received.startswith(b"HTTP/1.1 101")
