"""Log lines: readable by people or machines, with nothing in them that opens anything."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest
import structlog

from trio_push.watch import logs

TOKEN = "c0ffee00c0ffee00"


class Stream(io.TextIOWrapper):
    """A text stream that may be a terminal, and what was written to it."""

    def __init__(self, *, terminal: bool = False) -> None:
        self.written = io.BytesIO()
        super().__init__(self.written, encoding="utf-8", write_through=True)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    @property
    def text(self) -> str:
        return self.written.getvalue().decode()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


def test_a_line_of_json() -> None:
    stream = Stream()
    logs.configure("info", "json", stream)
    structlog.get_logger().info("connected", devices=3, raw=b"\xff")
    (event,) = stream.events
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "connected", "level": "info", "devices": 3, "raw": r"b'\xff'"}


@pytest.mark.parametrize(
    ("format", "terminal", "is_json"),
    [
        ("auto", False, True),
        ("auto", True, False),
        ("console", False, False),
        ("json", True, True),
    ],
)
def test_auto_is_console_on_a_terminal(format: str, terminal: bool, is_json: bool) -> None:
    stream = Stream(terminal=terminal)
    logs.configure("info", format, stream)
    structlog.get_logger().info("hello")
    assert stream.text.startswith("{") is is_json


@pytest.mark.parametrize(
    ("terminal", "no_color", "coloured"), [(True, "", True), (True, "1", False), (False, "", False)]
)
def test_colours_are_for_terminals(
    terminal: bool, no_color: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    stream = Stream(terminal=terminal)
    logs.configure("info", "console", stream)
    structlog.get_logger().info("hello")
    assert ("\x1b[" in stream.text) is coloured


def test_the_level_is_the_least_that_is_logged() -> None:
    stream = Stream()
    logs.configure("warning", "json", stream)
    log = structlog.get_logger()
    log.info("no")
    log.warning("yes")
    log.error("yes")
    assert [event["event"] for event in stream.events] == ["yes", "yes"]


def test_a_later_call_counts_for_loggers_made_before() -> None:
    log = structlog.get_logger()
    first, second = Stream(), Stream()
    logs.configure("info", "json", first)
    log.info("one")
    logs.configure("info", "json", second)
    log.info("two")
    assert [event["event"] for event in first.events] == ["one"]
    assert [event["event"] for event in second.events] == ["two"]


@pytest.mark.parametrize(
    "key",
    [
        "authorization",
        "Authorization",
        "proxy-authorization",
        "api_key",
        "apiKey",
        "token_secret",
        "client-secret",
        "password",
        "jwt",
        "private-key",
        "set-cookie",
        "access_token",
    ],
)
@pytest.mark.parametrize("level", ["debug", "info"])
def test_secrets_never_appear(key: str, level: str) -> None:
    stream = Stream()
    logs.configure(level, "json", stream)
    log = structlog.get_logger()
    log.info("request", **{key: "s3cret"}, headers={key: "s3cret", "inner": {key: "s3cret"}})
    assert "s3cret" not in stream.text
    assert stream.events[0][key] == "[redacted]"


@pytest.mark.parametrize(
    "text",
    [
        "got bearer s3cret",
        "Authorization: Bearer s3cret, next",
        "GET /events?token=eyJhbGciOiJIUzI1NiJ9.s3cret.s3cret HTTP/1.1",
        "eyJhbGciOiJub25lIn0.s3cret.",
    ],
)
def test_a_secret_in_text_does_not_appear_either(text: str) -> None:
    stream = Stream()
    logs.configure("info", "json", stream)
    log = structlog.get_logger()
    log.info(text, detail=text)
    try:
        raise ValueError(text)
    except ValueError:
        log.exception("failed")
    assert "s3cret" not in stream.text


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_traceback_shows_no_local_variables(format: str) -> None:
    stream = Stream()
    logs.configure("info", format, stream)
    hidden = "-".join(["s3", "cret"])
    try:
        raise ValueError(len(hidden))
    except ValueError:
        structlog.get_logger().exception("failed")
    assert "ValueError: 7" in stream.text
    assert hidden not in stream.text


@pytest.mark.parametrize(
    ("level", "token", "shown"),
    [("info", TOKEN, "c0ffee00…"), ("info", "c0ffee00", "c0ffee00"), ("debug", TOKEN, TOKEN)],
)
def test_device_tokens_are_shortened_unless_debugging(level: str, token: str, shown: str) -> None:
    stream = Stream()
    logs.configure(level, "json", stream)
    structlog.get_logger().info("connected", token=token)
    assert stream.events[0]["token"] == shown


def test_what_libraries_log_comes_out_in_the_same_form() -> None:
    stream = Stream()
    logs.configure("info", "json", stream)
    library = logging.getLogger("some.library")
    library.info("GET /events?token=%s", TOKEN)
    library.warning("bearer %s", "s3cret")
    (event,) = stream.events
    del event["timestamp"]
    assert event == {"event": "bearer [redacted]", "level": "warning", "logger": "some.library"}
