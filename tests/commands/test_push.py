"""`push` against a server: what it sends, what it prints, how it ends."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from trio.testing import wait_all_tasks_blocked

from tests.commands.conftest import FakeServer, Reply, Seen, json_reply
from trio_push.commands.orders import Answer
from trio_push.commands.push import PushSettings, run
from trio_push.commands.push_report import Report
from trio_push.errors import ConfigError, Unreachable

DEAD = "dead00"


def apns(request: Seen) -> Reply:
    """As the wire listener answers; the device `DEAD` is unregistered."""
    headers = {"apns-id": request.headers.get("apns-id", "an-id")}
    if request.path.endswith(DEAD):
        return json_reply(410, {"reason": "Unregistered", "timestamp": 1}, **headers)
    return Reply(200, headers)


def api(request: Seen) -> Reply:
    """As the API answers."""
    if request.path == "/stats":
        return Reply(404)
    body = json.loads(request.body)
    if body.get("broadcast"):
        return json_reply(200, {"id": "b", "outcomes": {"delivered": 7, "queued": 1}})
    if body["token"] == "bad":
        problem = {"title": "Bad token", "status": 400, "reason": "BadDeviceToken"}
        return json_reply(400, problem)
    if body["token"] == DEAD:
        result = {"token": DEAD, "outcome": "refused", "reason": "Unregistered"}
    else:
        result = {"token": body["token"], "outcome": "delayed" if "delay_s" in body else "stored"}
    answer = {"id": body.get("id", "made"), "outcomes": {}, "results": [result]}
    return json_reply(200, answer)


def settings(server: FakeServer, **given: Any) -> PushSettings:
    return PushSettings(url=server.url, **given)


@pytest.mark.parametrize(("via", "version"), [("apns", "1.1"), ("apns-h2", "2")])
async def test_one_push_as_a_provider_sends_it(
    server: FakeServer, via: str, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer = apns
    code = await run(settings(server, via=via, id="x-1"), "c0ffee", '{"mdm": "magic"}')
    assert code == 0
    (request,) = server.seen
    assert request.http_version == version
    assert (request.method, request.path) == ("POST", "/3/device/c0ffee")
    assert request.body == b'{"mdm": "magic"}'
    assert capsys.readouterr().out == "accepted  c0ffee  x-1\n"


async def test_every_flag_becomes_its_header(server: FakeServer) -> None:
    server.answer = apns
    given: dict[str, Any] = {
        "topic": "com.example",
        "expiration": 1900000000,
        "priority": 5,
        "collapse_id": "c",
        "id": "i",
    }
    await run(settings(server, **given), "c0ffee")
    (request,) = server.seen
    headers = {name: value for name, value in request.headers.items() if name.startswith("apns-")}
    assert headers == {
        "apns-topic": "com.example",
        "apns-expiration": "1900000000",
        "apns-priority": "5",
        "apns-collapse-id": "c",
        "apns-id": "i",
    }
    assert request.body == b'{"mdm":"hello"}'


async def test_a_refused_push_says_why_and_ends_with_1(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer = apns
    assert await run(settings(server, id="i"), DEAD) == 1
    assert capsys.readouterr().out == "refused  dead00  410 Unregistered  i\n"


async def test_by_the_api(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.answer = api
    wanted = settings(server, via="api", ttl_s=60, delay_s=5, event="ping", collapse_id="c")
    assert await run(wanted, "c0ffee", "just text") == 0
    stats, request = server.seen
    assert (stats.path, request.path) == ("/stats", "/v1/push")
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {
        "token": "c0ffee",
        "payload": "just text",
        "ttl_s": 60,
        "delay_s": 5,
        "event": "ping",
        "collapse_id": "c",
    }
    assert capsys.readouterr().out == "delayed  c0ffee  made\n"


@pytest.mark.parametrize(
    ("token", "status", "reason"), [(DEAD, 200, "Unregistered"), ("bad", 400, "BadDeviceToken")]
)
async def test_the_api_refuses(
    server: FakeServer,
    token: str,
    status: int,
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.answer = api
    assert await run(settings(server, via="api", json=True), token) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["outcome"], answer["status"], answer["reason"]) == ("refused", status, reason)


async def test_a_broadcast_tells_how_many_got_it(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer = api
    assert await run(settings(server, via="api", broadcast=True), '{"all": 1}') == 0
    assert json.loads(server.seen[-1].body) == {"broadcast": True, "payload": {"all": 1}}
    assert capsys.readouterr().out == "7 delivered, 1 queued  broadcast  b\n"


async def test_the_api_is_found_through_the_wire_listener(server: FakeServer) -> None:
    port = server.url.rpartition(":")[2]

    def answer(request: Seen) -> Reply:
        if request.path == "/stats":
            return json_reply(200, {"api": f"http://0.0.0.0:{port}"})
        return api(request)

    server.answer = answer
    assert await run(settings(server, via="api"), "c0ffee") == 0
    assert server.seen[-1].headers["host"] == f"127.0.0.1:{port}"


async def test_a_server_without_an_api_is_named(server: FakeServer) -> None:
    server.answer = lambda _: json_reply(200, {"api": None})
    with pytest.raises(ConfigError, match=r"tells of no API \(/stats\)"):
        await run(settings(server, via="api"), "c0ffee")


async def test_a_server_that_is_not_there() -> None:
    with pytest.raises(Unreachable, match=r"^http://127.0.0.1:1 does not answer: Connection ref"):
        await run(PushSettings(url="http://127.0.0.1:1"), "c0ffee")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    lines = [{"token": f"{n:02x}", "payload": {"n": n}} for n in range(100)]
    lines += [{"token": DEAD, "payload": "text", "priority": 1}] * 2
    path = tmp_path / "pushes.ndjson"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    return path


async def test_many_from_a_file(
    server: FakeServer, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer = apns
    assert await run(settings(server, file=str(file), topic="t", priority=5)) == 1
    by_path = {request.path: request for request in server.seen}
    assert len(server.seen) == 102
    assert by_path["/3/device/63"].body == b'{"n": 99}'
    assert by_path["/3/device/63"].headers["apns-priority"] == "5"
    assert by_path["/3/device/" + DEAD].body == b"text"
    assert by_path["/3/device/" + DEAD].headers["apns-priority"] == "1"
    assert {request.headers["apns-topic"] for request in server.seen} == {"t"}
    *refused, total, reason = capsys.readouterr().out.splitlines()
    assert refused == ["refused  dead00  410 Unregistered  an-id"] * 2
    assert re.fullmatch(r"102 pushes in .*: 100 accepted, 2 refused", total)
    assert reason.split() == ["2", "Unregistered"]


@pytest.mark.parametrize(("via", "answer"), [("apns", apns), ("apns-h2", apns), ("api", api)])
async def test_many_as_json_lines(
    server: FakeServer,
    file: Path,
    via: str,
    answer: Callable[[Seen], Reply],
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.answer = answer
    assert await run(settings(server, file=str(file), json=True, via=via)) == 1
    out, err = capsys.readouterr()
    answers = [json.loads(line) for line in out.splitlines()]
    assert Counter((answer["outcome"], answer["reason"]) for answer in answers) == {
        ("stored" if via == "api" else "accepted", None): 100,
        ("refused", "Unregistered"): 2,
    }
    assert "102 pushes" in err
    by_line = {answer["line"]: answer["token"] for answer in answers}
    assert by_line == {n + 1: f"{n:02x}" for n in range(100)} | {101: DEAD, 102: DEAD}


async def test_a_bad_line_is_named_and_those_before_it_are_sent(
    server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer = apns
    path = tmp_path / "p"
    path.write_text('{"token":"01"}\n{"token":"02"}\n{"tokn":"03"}\n{"token":"04"}')
    with pytest.raises(ConfigError, match=r"/p:3: not a push: .*unknown field `tokn`"):
        await run(settings(server, file=str(path)))
    assert {request.path[-2:] for request in server.seen} == {"01", "02"}
    assert capsys.readouterr().out.startswith("2 pushes in ")


async def test_a_server_that_goes_away_ends_it(
    server: FakeServer, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Unreachable, match="does not answer"):
        await run(PushSettings(url="http://127.0.0.1:1", file=str(file)))
    assert capsys.readouterr().out.startswith("0 pushes in ")


@pytest.mark.parametrize(("via", "answer"), [("apns-h2", apns), ("api", api)])
async def test_many_from_stdin(
    server: FakeServer,
    via: str,
    answer: Callable[[Seen], Reply],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.answer = answer
    path = tmp_path / "p"
    path.write_text('{"token":"01"}\n\n{"token":"02"}\n{"tokn":"03"}')
    with path.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(ConfigError, match=r"^stdin:4: not a push"):
            await run(settings(server, file="-", via=via))
    assert len([request for request in server.seen if request.method == "POST"]) == 2


async def test_a_terminal_is_shown_how_far_it_is(
    server: FakeServer, file: Path, nursery: trio.Nursery
) -> None:
    """In a process of its own, whose stderr is a terminal and whose stdout is not."""
    server.answer = apns
    ours, theirs = os.openpty()
    shown = b""

    async def read() -> None:
        nonlocal shown
        async with trio.lowlevel.FdStream(ours) as terminal:
            async for chunk in terminal:
                shown += chunk

    nursery.start_soon(read)
    command = [sys.executable, "-m", "trio_push", "push", "--url", server.url]
    options = ["--via", "apns-h2", "--file", str(file), "--rate", "200", "--json"]
    done = await trio.run_process(
        [*command, *options], capture_stdout=True, stderr=theirs, check=False
    )
    await wait_all_tasks_blocked()
    nursery.cancel_scope.cancel()
    os.close(theirs)
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 102)
    assert re.search(rb"\d+ pushes(, [\d,]+/s)?, \d not accepted, \d connection", shown)
    assert b"102 pushes in " in shown


async def test_a_server_that_goes_away_half_way(
    nursery: trio.Nursery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was not sent is told by its line; what was has its answer."""

    async def handler(stream: trio.SocketStream) -> None:
        """Accept three, and never anybody else."""
        async with stream:
            for _ in range(3):
                await stream.receive_some()
                await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await trio.aclose_forcefully(listeners[0])
            await stream.receive_some()

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def serve() -> None:
        stream = await listeners[0].accept()
        await handler(stream)

    nursery.start_soon(serve)
    url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    path = tmp_path / "p"
    path.write_text("".join(f'{{"token":"{n:02x}"}}\n' for n in range(200)))
    with pytest.raises(Unreachable, match="Connection refused"):
        await run(PushSettings(url=url, file=str(path), json=True, connections=1))
    out, err = capsys.readouterr()
    answers = [json.loads(line) for line in out.splitlines()]
    last = int(re.search(r"given up: what follows .*/p:(\d+) was not sent", err)[1])  # type: ignore[index]
    assert sorted(answer["line"] for answer in answers) == list(range(1, last + 1))
    outcomes = [answer["outcome"] for answer in answers]
    assert (outcomes.count("accepted"), outcomes.count("unanswered")) == (3, 1)


@pytest.mark.parametrize(
    ("given", "words", "problem"),
    [
        ({}, (), "no device: give a TOKEN"),
        ({"file": "f"}, ("c0ffee",), "leave out TOKEN and PAYLOAD"),
        ({"broadcast": True, "via": "api"}, ("c0ffee", "{}"), "leave out TOKEN"),
        ({"broadcast": True}, ("{}",), "--broadcast is nothing that APNs knows: add --via api"),
        ({"delay_s": 1}, ("c0ffee",), "--delay is nothing that APNs knows"),
        ({"event": "e"}, ("c0ffee",), "--event is nothing that APNs knows"),
        ({"file": "/nowhere"}, (), "--file /nowhere cannot be read: No such file"),
        ({"file": "/"}, (), "--file / cannot be read: it is a dir"),
        ({"ca": "/nowhere"}, ("c0ffee",), "--ca /nowhere cannot be used: No such file"),
    ],
)
async def test_what_cannot_be_asked(
    given: dict[str, Any], words: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        await run(PushSettings(url="http://127.0.0.1:1", **given), *words)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"ttl_s": 1, "expiration": 1}, "leave one out"),
        ({"file": "f", "id": "i"}, "leave out --file"),
        ({"file": "f", "broadcast": True}, "leave out --file"),
        ({"apns": "http://a", "via": "api"}, "leave one out"),
        ({"key": "f", "key_id": "i"}, "belong together"),
        ({"team_id": "t"}, "belong together"),
        ({"key": "f", "key_id": "i", "team_id": "t", "api_key": "k" * 16}, "leave one out"),
        ({"cert_key": "f"}, "give that too"),
        ({"rate": 0.0}, "--rate 0 would send nothing"),
        ({"rate": 5.0, "via": "api"}, "--rate is for pushes by APNs: leave it out"),
        ({"cert": "f", "via": "api"}, "--cert is for pushes by APNs"),
        ({"push_type": "mdm", "via": "api"}, "--push-type is for pushes by APNs"),
        ({"connections": 3, "via": "api"}, "--connections is for pushes by APNs"),
    ],
)
def test_settings_that_contradict_each_other(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        PushSettings(**given)


@pytest.mark.parametrize(
    ("stdin", "sent"), [(b'{"a": 1}\n', b'{"a": 1}'), ("grüß\n".encode(), "grüß".encode())]
)
async def test_a_payload_from_stdin(
    server: FakeServer, stdin: bytes, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer = apns
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    assert await run(settings(server), "c0ffee", "-") == 0
    assert server.seen[0].body == sent


async def test_a_payload_on_stdin_that_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff")))
    with pytest.raises(ConfigError, match="not UTF-8"):
        await run(PushSettings(), "c0ffee", "-")


def test_a_report_without_pushes(capsys: pytest.CaptureFixture[str]) -> None:
    Report(as_json=False, refused_only=True).sum_up(0)
    assert capsys.readouterr().out == "0 pushes in 0.0s: none\n"


def test_how_far_it_is_and_how_fast(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(as_json=False, refused_only=True)
    accepted, refused = Answer("aa", "i", 200, "accepted"), Answer("aa", "i", 400, "refused")
    assert report.progress(100.0) == "0 pushes, 0 not accepted"
    for n in range(1, 11):
        for _ in range(50):
            report.add(accepted)
        assert report.progress(100 + n / 2) == f"{n * 50} pushes, 100/s, 0 not accepted"
    report.add(refused)
    assert report.progress(107.0) == "501 pushes, 0/s, 1 not accepted"
    report.sum_up(8.0)
    assert "501 pushes in 8.0s (63/s): 500 accepted, 1 refused" in capsys.readouterr().out


def test_markup_in_an_answer_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    Report(as_json=False, refused_only=False).add(Answer("[red]", "[/]", 200, "accepted"))
    assert capsys.readouterr().out == "accepted  [red]  [/]\n"


@pytest.mark.parametrize(("via", "answer"), [("apns", apns), ("apns-h2", apns), ("api", api)])
async def test_a_key_is_shown(
    server: FakeServer, via: str, answer: Callable[[Seen], Reply]
) -> None:
    server.answer = answer
    assert await run(settings(server, via=via, api_key="k" * 16), "c0ffee") == 0
    assert server.seen[-1].headers["authorization"] == "Bearer " + "k" * 16


async def test_without_a_key_none_is_shown(server: FakeServer) -> None:
    server.answer = apns
    await run(settings(server), "c0ffee")
    assert "authorization" not in server.seen[-1].headers


async def test_to_any_host_that_speaks_apns(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer = apns
    assert await run(PushSettings(apns=server.url, push_type="alert", json=True), DEAD) == 1
    (request,) = server.seen
    assert (request.http_version, request.headers["apns-push-type"]) == ("2", "alert")
    assert json.loads(capsys.readouterr().out) == {
        "token": DEAD,
        "id": "an-id",
        "status": 410,
        "outcome": "refused",
        "reason": "Unregistered",
        "timestamp_ms": 1,
        "attempts": 1,
        "line": None,
    }


async def test_a_provider_token_is_shown(server: FakeServer, tmp_path: Path) -> None:
    server.answer = apns
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "key.p8").write_bytes(pem)
    given = {"key": str(tmp_path / "key.p8"), "key_id": "K" * 10, "team_id": "T" * 10}
    assert await run(PushSettings(apns=server.url, **given), "c0ffee") == 0
    assert server.seen[0].headers["authorization"].startswith("bearer ey")


async def test_refused_for_now_is_tried_again_if_asked_for(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answer = lambda each: (
        apns(each) if len(server.seen) > 1 else json_reply(503, {"reason": "Shutdown"})
    )
    assert await run(settings(server, retries=1, json=True), "c0ffee") == 0
    assert json.loads(capsys.readouterr().out)["attempts"] == 2


async def test_no_faster_than_asked_for(server: FakeServer, file: Path) -> None:
    server.answer = apns
    began = trio.current_time()
    await run(settings(server, via="apns-h2", file=str(file), rate=200))
    assert trio.current_time() - began > (102 - 200 * 0.05 - 1) / 200


async def test_ctrl_c_says_what_was_not_sent(
    server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is under way is answered; what was not taken is told by its line."""

    def answer(request: Seen) -> Reply:
        if len(server.seen) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return apns(request)

    server.answer = answer
    path = tmp_path / "p"
    path.write_text("".join(f'{{"token":"{n:02x}"}}\n' for n in range(200)))
    with pytest.raises(KeyboardInterrupt):
        await run(settings(server, file=str(path), json=True, rate=50, via="apns-h2"))
    out, err = capsys.readouterr()
    answers = [json.loads(line) for line in out.splitlines()]
    last = int(re.search(r"interrupted: what follows .*/p:(\d+) was not sent", err)[1])  # type: ignore[index]
    assert 5 <= last < 200
    assert {answer["outcome"] for answer in answers} == {"accepted"}
    assert len(answers) == len(server.seen) == last
    assert f"{last} pushes in " in err


async def test_a_second_ctrl_c_waits_for_nothing(
    nursery: trio.Nursery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        async with stream:
            while await stream.receive_some():
                os.kill(os.getpid(), signal.SIGINT)
                await trio.sleep(0.05)
                os.kill(os.getpid(), signal.SIGINT)

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, handler, listeners)
    url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    path = tmp_path / "p"
    path.write_text('{"token":"01"}\n')
    with pytest.raises(KeyboardInterrupt):
        await run(PushSettings(url=url, file=str(path)))
    out, _ = capsys.readouterr()
    assert out.startswith("unanswered  01  interrupted\n")
    nursery.cancel_scope.cancel()
