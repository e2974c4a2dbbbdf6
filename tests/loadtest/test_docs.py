"""The page about loadtest lists what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_type_hints

import pytest

from loadtest.__main__ import app
from loadtest.peers.all import DEVICE_PLANE, H2_INTAKE, HTTP1_INTAKE
from loadtest.peers.ours import OURS

PAGE = (Path(__file__).parents[2] / "docs/reference/loadtest.md").read_text()
SCENARIOS = [name for name in app if not name.startswith("-")]


def commands():
    return {name: app[name].default_command for name in SCENARIOS}


def test_every_scenario_is_listed():
    assert sorted(re.findall(r"^\| `([a-z]+)` \| ", PAGE, re.MULTILINE)) == sorted(SCENARIOS)


def listed_options():
    """Scenario and option → default."""
    options = {}
    row = r"^\| `--([a-z-]+)` \| (\S+) \| ([^|]+) \|"
    for option, default, who in re.findall(row, PAGE, re.MULTILINE):
        named = re.findall(r"`([a-z]+)`", who)
        scenarios = set(SCENARIOS) - set(named) if who.startswith("all") else named
        option = option.replace("-", "_")
        options |= {(name, option): default.strip("`") for name in scenarios}
    return options


def shown(default):
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return "none" if default is None else str(default)


def test_every_option_is_listed_with_its_default():
    expected = {}
    for name, command in commands().items():
        options = get_type_hints(command).keys() - {"return"}
        if "common" in options:
            options -= {"common"}
            expected |= {(name, "only"): "all", (name, "json"): "none"}
        for option in options:
            expected[name, option] = shown(command.__kwdefaults__[option])
    assert listed_options() == expected


@pytest.mark.parametrize("peers", [*DEVICE_PLANE.values(), H2_INTAKE, HTTP1_INTAKE])
def test_every_peer_is_listed(peers):
    table = PAGE.partition("## The other servers")[2].partition("##")[0]
    assert all(peer.name in table for peer in peers if peer.name != OURS.name)
