"""Exit codes and the file of the command line."""

from __future__ import annotations

import os
import signal

import orjson
import pytest
import trio

from loadtest.__main__ import Common, _report, app, main
from loadtest.child import Failed
from loadtest.report import Bound, Measured, Report


@pytest.mark.parametrize(("figure", "code"), [(1.0, 0), (3.0, 1)])
def test_a_missed_bound_is_exit_code_one(tmp_path, capsys, figure, code):
    async def scenario():
        bounds = [Bound("it", figure, "at most", 2.0)]
        return Report("idle", {}, (), Measured(), bounds)

    file = tmp_path / "report.json"
    assert _report(scenario, Common(json=file)) == code
    assert orjson.loads(file.read_bytes())["ok"] is (code == 0)
    assert "it: " in capsys.readouterr().out


def test_what_cannot_be_measured_is_said_and_is_exit_code_two(capsys):
    async def scenario():
        async with trio.open_nursery():
            raise Failed("no such server")

    assert _report(scenario, Common()) == 2
    assert "no such server" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_cleaning_up(number):
    ended = []

    async def scenario():
        os.kill(os.getpid(), number)
        try:
            await trio.sleep_forever()
        finally:
            ended.append(True)

    assert _report(scenario, Common()) == 130
    assert ended == [True]


SCENARIOS = [
    "idle",
    "connect",
    "fanout",
    "acks",
    "intake",
    "delay",
    "steady",
    "storm",
    "resume",
    "provider",
    "hop",
]


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_has_help(capsys, name):
    app([name, "--help"])
    assert "--rounds" in capsys.readouterr().out


#: those that have no rounds, and no peers
LONE = {"scale": "--resume", "simulate": "--primaries"}


@pytest.mark.parametrize("name", LONE)
def test_those_without_rounds_have_help(capsys, name):
    app([name, "--help"])
    assert LONE[name] in capsys.readouterr().out


def test_every_scenario_is_known():
    assert {name for name in app if not name.startswith("-")} == {*SCENARIOS, *LONE}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["idle", "--devices", "0"], "1 to"),
        (["idle", "--devices", "999999999"], "ulimit"),
        (["connect", "--rounds", "0"], "1"),
        (["fanout", "--transport", "carrier-pigeon"], "carrier-pigeon"),
        (["idle", "--only", "nobody"], "bare trio"),
        (["scale", "--devices", "0"], "1"),
        (["simulate", "--json", "/no/such/folder/file"], "/no/such/folder/file"),
        (["idle", "--json", "/no/such/folder/file"], "/no/such/folder/file"),
    ],
)
def test_what_cannot_be_is_said_at_once_and_is_exit_code_two(capsys, flags, said):
    assert main(flags) == 2
    output = capsys.readouterr()
    assert said in output.out + output.err


def test_a_scenario_from_flags_to_report(capsys, tmp_path):
    file = tmp_path / "report.json"
    flags = ["connect", "--devices", "5", "--rounds", "1", "--only", "bare", "--json", str(file)]
    assert main(flags) == 0
    assert "bare trio" in capsys.readouterr().out
    assert orjson.loads(file.read_bytes())["medians"]["bare trio"]["devices"] == 5


def test_scale_is_for_more_devices_than_a_process_may_open_files_for():
    _, bound, *_ = app.parse_args(["scale", "--devices", "300000"], exit_on_error=False)
    assert bound.kwargs["devices"] == 300_000
