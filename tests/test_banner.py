"""What `serve` says once it is ready: everything needed, and lines that can be pasted."""

from __future__ import annotations

import io
import re
import shlex
import sys
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from trio_push.banner import Addresses, announce, banner
from trio_push.capacity import Capacity

FITS = Capacity(19_744, "this process may open 20,000 files (ulimit -n)")
ALL = Addresses(
    wire=("http://127.0.0.1:8080", "http://[::]:8080"),
    tls=("https://127.0.0.1:8443",),
    api="http://127.0.0.1:8081",
    ca_file="/home/me/ca.pem",
)


def test_the_banner_names_every_listener_and_how_many_fit() -> None:
    text = banner(ALL, FITS).plain
    for url in (*ALL.wire, *ALL.tls, ALL.api, ALL.ca_file):
        assert str(url) in text
    assert "19,744 devices fit: this process may open 20,000 files" in text


def test_the_urls_are_as_fleet_takes_them() -> None:
    line = "FLEET_DEV_MDM_APPLE_PUSH_SERVER_URL=http://127.0.0.1:8080"
    assert line in banner(ALL, FITS).plain.split()


@pytest.mark.parametrize(
    ("addresses", "base"),
    [
        (Addresses(wire=("http://127.0.0.1:1",)), "http://127.0.0.1:1"),
        (Addresses(wire=("http://0.0.0.0:1",)), "http://127.0.0.1:1"),
        (Addresses(wire=("http://[::]:1",)), "http://[::1]:1"),
        (Addresses(wire=(), tls=("https://127.0.0.1:1",)), "https://127.0.0.1:1"),
    ],
)
def test_the_lines_can_be_pasted(addresses: Addresses, base: str) -> None:
    lines = [line.split("  ")[-1].strip() for line in banner(addresses, FITS).plain.splitlines()]
    curls = [shlex.split(line) for line in lines if line.startswith("curl")]
    assert curls == [
        ["curl", "-N", f"{base}/events?token=c0ffee"],
        ["curl", "-d", '{"mdm":"hello"}', f"{base}/3/device/c0ffee"],
    ]


def test_a_push_that_apples_rules_let_through() -> None:
    text = banner(replace(ALL, strict=True, asked=frozenset(["provider"])), FITS).plain
    (line,) = (line for line in text.splitlines() if "/3/device/" in line)
    words = shlex.split(line.partition("push")[2])
    assert "apns-topic: com.example.app" in words
    assert "Authorization: Bearer $PROVIDER_TOKEN" in words
    assert re.fullmatch(r".*/3/device/[0-9a-f]{64}", words[-1])


def test_a_development_ca_is_told_to_curl() -> None:
    addresses = Addresses(wire=(), tls=("https://127.0.0.1:1",), ca_file="ca.pem")
    assert "curl --cacert ca.pem -N 'https://127.0.0.1:1/events" in banner(addresses, FITS).plain


def test_without_an_api_nothing_is_said_of_it() -> None:
    assert "api" not in banner(Addresses(wire=("http://127.0.0.1:1",)), FITS).plain.lower()


def test_off_a_terminal_each_listener_is_a_log_line(capsys: pytest.CaptureFixture[str]) -> None:
    with capture_logs() as events:
        announce(ALL, FITS)
    assert [(each["listener"], each["url"]) for each in events[:-1]] == [
        ("wire", "http://127.0.0.1:8080"),
        ("wire", "http://[::]:8080"),
        ("tls", "https://127.0.0.1:8443"),
        ("api", "http://127.0.0.1:8081"),
    ]
    assert [each["event"] for each in events] == ["listening"] * 4 + ["ready"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_on_a_terminal_lines_are_not_wrapped(
    no_color: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "20")
    announce(ALL, FITS)
    green = re.search(r"\x1b\[[0-9;]*32m", terminal.getvalue())
    assert (green is not None) is coloured
    assert "curl -N 'http://127.0.0.1:8080/events?token=c0ffee'" in terminal.getvalue()


def test_who_is_asked_who_they_are_is_told_how_to_say_it() -> None:
    addresses = replace(ALL, asked=frozenset({"device", "provider", "user"}))
    lines = [line.strip() for line in banner(addresses, FITS).plain.splitlines()]
    shown = [
        (line.split("  ")[0], re.search(r'-H "Authorization: Bearer \$(\w+)"', line))
        for line in lines
        if "curl" in line
    ]
    assert [(what, match and match[1]) for what, match in shown] == [
        ("be a device", "TRIO_PUSH_JWT"),
        ("send a push", "TRIO_PUSH_API_KEY"),
        ("by the API", "TRIO_PUSH_API_KEY"),
    ]
    assert "Authorization" not in banner(ALL, FITS).plain
