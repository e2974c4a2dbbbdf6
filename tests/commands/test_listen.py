"""`listen` against a server: what it prints, when it connects again, how it ends."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import trio
from httpx_sse import ServerSentEvent

from tests.commands.conftest import FakeServer, Reply, Seen, json_reply
from tests.serving import PATIENCE_S
from trio_push.commands import listen
from trio_push.commands.listen import ListenSettings, print_json, print_pretty, run
from trio_push.errors import Unreachable
from trio_push.swarm import reconnect

STREAM = {"content-type": "text/event-stream"}
EVENT = b'id: e:%d\nevent: ping\ndata: {"n": %d}\n\n'


def events(*numbers: int, then: tuple[bytes | None, ...] = (None,)) -> Reply:
    """A stream that goes on after its events, unless it is told what comes `then`."""
    return Reply(200, STREAM, (b": keepalive\n\n", *(EVENT % (n, n) for n in numbers), *then))


def in_turn(*replies: Reply) -> Callable[[Seen], Reply]:
    """One reply per connection."""
    left = list(replies)
    return lambda _: left.pop(0)


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits before connections, which take no time."""
    waited: list[float] = []

    def delay_s(failures: int, jitter: float, *, at_least_s: float) -> float:
        waited.append(reconnect.delay_s(failures, 0.0, at_least_s=at_least_s))
        return 0.0

    monkeypatch.setattr(listen, "delay_s", delay_s)
    return waited


def settings(server: FakeServer, **given: Any) -> ListenSettings:
    return ListenSettings(url=server.url, **given)


async def test_events_as_lines_of_json(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer = in_turn(events(1, 2, 3))
    assert await run(settings(server, count=2, json=True), "c0ffee") == 0
    (request,) = server.seen
    assert (request.path, request.query) == ("/events", "token=c0ffee")
    assert "last-event-id" not in request.headers
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(line["id"], line["event"], line["data"]) for line in lines] == [
        ("e:1", "ping", {"n": 1}),
        ("e:2", "ping", {"n": 2}),
    ]
    assert err == f"trio-push: connected to {server.url} as c0ffee\n"


async def test_the_last_event_may_be_the_end_of_the_stream(server: FakeServer) -> None:
    server.answer = lambda _: Reply(200, STREAM, (EVENT % (1, 1) + EVENT % (2, 2),))
    assert await run(settings(server, count=2), "c0ffee") == 0
    assert len(server.seen) == 1


async def test_it_goes_on_after_the_last_event(
    server: FakeServer, waits: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer = in_turn(events(1, then=()), events(then=()), events(2))
    assert await run(settings(server, count=2, json=True), "c0ffee") == 0
    ids = [request.headers.get("last-event-id") for request in server.seen]
    assert ids == [None, "e:1", "e:1"]
    # after a healthy stream as the first time, after an empty one longer
    assert waits == [reconnect.delay_s(0, 0.0), reconnect.delay_s(1, 0.0)]
    assert "the server ended the stream" in capsys.readouterr().err


async def test_the_server_may_ask_for_a_longer_wait(
    server: FakeServer, waits: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer = in_turn(events(then=(b"retry: 7000\n\n",)), events(1))
    assert await run(settings(server, count=1, json=True), "c0ffee") == 0
    assert waits == [7.0]
    # the event that only asks for it is none to show
    assert len(capsys.readouterr().out.splitlines()) == 1


async def test_a_full_server_is_tried_again(server: FakeServer, waits: list[float]) -> None:
    full = json_reply(503, {"reason": "ServiceUnavailable"}, **{"retry-after": "5"})
    server.answer = in_turn(full, events(1))
    assert await run(settings(server, count=1), "c0ffee") == 0
    assert waits == [5.0]


@pytest.mark.parametrize(
    ("reply", "code", "said"),
    [
        (
            json_reply(400, {"reason": "MissingDeviceToken"}),
            1,
            "gave no events: 400 MissingDeviceToken",
        ),
        (Reply(200, {"content-type": "text/html"}), 1, "gave no events: 200 OK"),
        (Reply(204), 0, "the server has no more for this device"),
    ],
)
async def test_answers_that_end_it(
    server: FakeServer, reply: Reply, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer = in_turn(reply)
    assert await run(settings(server), "c0ffee") == code
    assert said in capsys.readouterr().err


async def test_a_server_that_was_never_there() -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(Unreachable, match="Connection refused")):
        await run(ListenSettings(url="http://127.0.0.1:1"), "c0ffee")


@pytest.mark.parametrize(("count", "code"), [(None, 0), (5, 130)])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it(
    server: FakeServer,
    count: int | None,
    code: int,
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.answer = in_turn(events(1))
    monkeypatch.setattr(listen, "print_pretty", lambda _: os.kill(os.getpid(), number))
    with trio.fail_after(PATIENCE_S):
        assert await run(settings(server, count=count), "c0ffee") == code


def event(data: str, name: str = "ping", id: str = "e:1") -> ServerSentEvent:
    return ServerSentEvent(event=name, data=data, id=id)


def test_data_that_is_no_json_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(event("grüß"))
    assert json.loads(capsys.readouterr().out)["data"] == "grüß"


def test_pretty_data(capsys: pytest.CaptureFixture[str]) -> None:
    print_pretty(event('{"mdm":"magic","long":"' + "x" * 200 + '"}'))
    head, *data = capsys.readouterr().out.splitlines()
    assert head.split()[1:] == ["ping", "e:1"]
    assert json.loads("\n".join(data))["mdm"] == "magic"


@pytest.mark.parametrize("data", ["a\x1b[2Jb", '{"a": "\\u001b[2J\\u009b2J"}', "[red]x[/]"])
def test_an_event_cannot_command_the_terminal(
    data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_pretty(event(data, name="\x1b]0;x\x07", id="\x9b1m"))
    out = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\x9b"} & set(out)
    assert "2J" in out or "[red]x[/]" in out


async def test_a_jwt_is_shown(server: FakeServer) -> None:
    server.answer = in_turn(events(1), events(2))
    assert await run(settings(server, count=1, jwt="eyJ.x.y-z"), "c0ffee") == 0
    assert await run(settings(server, count=1), "c0ffee") == 0
    shown = [request.headers.get("authorization") for request in server.seen]
    assert shown == ["Bearer eyJ.x.y-z", None]
