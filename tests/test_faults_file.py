from __future__ import annotations

from pathlib import Path

import pytest

from trio_push.clock import Clock
from trio_push.config import ServeSettings
from trio_push.errors import ConfigError
from trio_push.faults import SCENARIOS
from trio_push.faults_file import open_rules
from trio_push.server import open_server

RULES = """
[[rules]]
name = "slow"
match = { share = 0.1 }
action = { kind = "delay", latency = { law = "log-normal", median_s = 0.05, p99_s = 1 } }

[[rules]]
name = "gone"
action = { kind = "status", reason = "Unregistered" }
[rules.match]
token_prefix = "aa"
"""


def test_a_file_and_scenarios(tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(RULES)
    settings = ServeSettings(faults=str(file), scenario=("throttled", "goaway-storm"))
    scenarios = [*SCENARIOS["throttled"].rules, *SCENARIOS["goaway-storm"].rules]
    rules = open_rules(settings)
    assert [rule.name for rule in rules[:2]] == ["slow", "gone"]
    assert rules[2:] == scenarios


def test_without_any() -> None:
    assert open_rules(ServeSettings()) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "cannot be read: No such file or directory"),
        ("[[rules]", "is not TOML: "),
        ("[[rules]]\nname = 'a'", "missing required field `action` - at `$.rules[0]`"),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, text: str | None, complaint: str) -> None:
    file = tmp_path / "faults.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        open_rules(ServeSettings(faults=str(file)))
    assert str(raised.value).startswith(f"--faults {file}")
    assert complaint in str(raised.value)


def test_no_such_scenario() -> None:
    with pytest.raises(ConfigError, match="'doomsday' is not one of apple-shutdown, token-churn"):
        ServeSettings(scenario=("doomsday",))


async def test_a_server_begins_with_them() -> None:
    settings = ServeSettings(listen=("127.0.0.1:0",), api="off", scenario=("token-churn",))
    async with open_server(settings, clock=Clock()) as server:
        assert server.node.faults.requests is not None
    twice = ServeSettings(listen=("127.0.0.1:0",), api="off", scenario=("throttled", "throttled"))
    with pytest.raises(ConfigError, match="there is a rule named throttled-streams already"):
        async with open_server(twice):
            pass
