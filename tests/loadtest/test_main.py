"""Exit codes and the file of the command line."""

from __future__ import annotations

import os
import signal

import orjson
import pytest
import trio

from loadtest.__main__ import Common, _report, app
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


@pytest.mark.parametrize("name", ["idle", "connect", "fanout", "intake", "delay", "steady"])
def test_every_scenario_has_help(capsys, name):
    app([name, "--help"])
    assert "--rounds" in capsys.readouterr().out


def test_scale_has_help(capsys):
    app(["scale", "--help"])
    assert "--resume" in capsys.readouterr().out
