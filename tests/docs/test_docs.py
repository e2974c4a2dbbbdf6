"""The documentation is whole and agrees with the code: settings, reasons, states, links."""

from __future__ import annotations

import dataclasses
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest

from trio_push.apns import Options, Retries, Scaling, Statistics
from trio_push.commands.push_settings import PushSettings
from trio_push.config import MAX_TTL_S, ServeSettings
from trio_push.devices.heartbeat import LEAST_SILENCE_S
from trio_push.devices.websocket import Limits
from trio_push.intake.apns_strict import RULES
from trio_push.mailbox.mailbox import MAX_ANSWERS
from trio_push.push import State
from trio_push.settings import Setting, settings_of
from trio_push.swarm.agent import AgentSettings
from trio_push.swarm.settings import SwarmSettings
from trio_push.watch.metrics import METRICS
from trio_push.wire import apns_strict_rules
from trio_push.wire.apns_strict_topics import PUSH_TYPES
from trio_push.wire.close_codes import CLOSE_CODES
from trio_push.wire.messages import ERROR_CODES, FromDevice, FromServer
from trio_push.wire.reasons import REASONS

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


#: page of the reference → the settings that its table lists
SETTINGS = {
    "settings.md": settings_of(ServeSettings),
    "swarm.md": settings_of(SwarmSettings),
    "swarm-agent.md": settings_of(AgentSettings),
}


#: [text](target), pictures too
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+)$", re.MULTILINE)
FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)


def reference(page: str) -> str:
    return (DOCS / "reference" / page).read_text()


@cache
def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors that GitHub gives the headings of a page."""
    titles = (re.sub(r"[^\w\- ]", "", title.lower()) for title in HEADING.findall(prose(page)))
    return frozenset(title.strip().replace(" ", "-") for title in titles)


class Row(NamedTuple):
    """A line of a table of settings."""

    default: str
    unit: str


@cache
def settings_table(page: str) -> dict[str, Row]:
    row = r"^\| `(--[a-z-]+)` \|([^|]*)\|([^|]*)\|[^|]+\|$"
    found = re.findall(row, reference(page), re.MULTILINE)
    return {flag: Row(default.strip(" `"), unit.strip()) for flag, default, unit in found}


@pytest.mark.parametrize("page", SETTINGS)
def test_the_table_of_settings_is_that_of_the_code(page: str) -> None:
    assert list(settings_table(page)) == [setting.flag for setting in SETTINGS[page]]


@pytest.mark.parametrize(
    ("page", "setting"),
    [(page, setting) for page, settings in SETTINGS.items() for setting in settings],
    ids=lambda value: value if isinstance(value, str) else value.field,
)
def test_each_setting_is_listed_with_its_default_and_unit(page: str, setting: Setting) -> None:
    row = settings_table(page)[setting.flag]
    assert row.default == (setting.show(setting.default) or "none")
    assert row.unit == ("duration" if setting.unit == "s" else setting.unit)


def test_the_longest_time_to_live_is_told() -> None:
    assert f"{MAX_TTL_S // 86400} days" in reference("settings.md")


@pytest.mark.parametrize("reason", REASONS.values(), ids=lambda reason: reason.name)
def test_each_reason_is_listed_with_its_status(reason: Any) -> None:
    row = rf"^\| {reason.status} \| `{reason.name}` \| "
    assert re.search(row, reference("apns.md"), re.MULTILINE)


def test_no_reason_is_listed_that_is_not_there() -> None:
    listed = re.findall(r"^\| \d{3} \| `(\w+)` \|", reference("apns.md"), re.MULTILINE)
    assert sorted(listed) == sorted(REASONS)


def test_the_rules_of_the_strict_profile_are_those_of_the_code() -> None:
    page = reference("apns-strict.md")
    row = r"^\| (\d+) \| (\d{3}) \| `(\w+)` \| ([^|]+) \| \[(\w+)\] \|$"
    listed = re.findall(row, page, re.MULTILINE)
    assert [(*columns, words.replace("`", ""), its) for *columns, words, its in listed] == [
        (str(order), str(rule.reason.status), rule.reason.name, rule.trigger, rule.page)
        for order, rule in enumerate(RULES, start=1)
    ]
    row = r"^\| (\d{3}) \| `(\w+)` \| ([^|]+) \| \[(\w+)\] \|$"
    listed = re.findall(row, page, re.MULTILINE)
    assert [(*columns, words.replace("`", ""), its) for *columns, words, its in listed] == [
        (str(given.reason.status), given.reason.name, given.trigger, given.page)
        for given in apns_strict_rules.OF_THE_SERVER
    ]
    for name, apples in apns_strict_rules.PAGES.items():
        assert re.search(
            rf"^\[{name}\]: https://developer\.apple\.com/.+/{apples}$", page, re.MULTILINE
        )
    types = re.findall(r"^\| `([a-z]+)` \| ", page, re.MULTILINE)
    assert [name.encode() for name in types if name.encode() in PUSH_TYPES] == sorted(PUSH_TYPES)


def test_the_table_of_close_codes_is_that_of_the_code() -> None:
    row = r"^\| (\d{4}) \| `(\w+)` \| (yes|no) \| ([^|]+) \|$"
    listed = re.findall(row, reference("websocket.md"), re.MULTILINE)
    assert listed == [
        (str(code), entry.name, "yes" if entry.comes_back else "no", entry.meaning)
        for code, entry in CLOSE_CODES.items()
    ]


def test_the_table_of_errors_of_messages_is_that_of_the_code() -> None:
    row = r"^\| `(\w+)` \| ([^|]+) \|$"
    listed = re.findall(row, reference("websocket.md"), re.MULTILINE)
    assert listed == [(entry.name, entry.meaning) for entry in ERROR_CODES.values()]


@pytest.mark.parametrize(
    ("section", "kinds"), [("From the server", FromServer), ("From the device", FromDevice)]
)
def test_each_message_is_listed_with_its_fields(section: str, kinds: Any) -> None:
    table = reference("websocket.md").partition(f"### {section}\n")[2].partition("\n#")[0]
    listed = {
        name: set(re.findall(r"\w+", fields))
        for name, fields in re.findall(r"^\| `(\w+)` \| (`[^|]+) \| ", table, re.MULTILINE)
    }
    assert listed == {
        kind.__struct_config__.tag: set(kind.__struct_encode_fields__) for kind in get_args(kinds)
    }


def test_the_limits_of_devices_are_told() -> None:
    limits = [*Limits(), MAX_ANSWERS]
    row = r"^\| [^|]+ \| (\d+)[^|]* \| \d{4}"
    listed = re.findall(row, reference("websocket.md"), re.MULTILINE)
    assert sorted(map(int, listed)) == sorted(limits)
    assert LEAST_SILENCE_S == 2
    assert "two\nseconds of silence" in reference("websocket.md")


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_each_state_is_listed(state: State) -> None:
    page = reference("ledger.md")
    word = state.name.lower()
    if state.reason is not None:
        word = state.reason
    assert re.search(rf"^\| `{word}` \| ", page, re.MULTILINE)


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    row = r"^\| `(\w+)` \| (\w+) \|([^|]*)\| [^|]+ \|$"
    listed = [
        (name, type_, tuple(re.findall(r"\w+", labels)))
        for name, type_, labels in re.findall(row, reference("metrics.md"), re.MULTILINE)
    ]
    assert listed == [(metric.name, metric.type, metric.labels) for metric in METRICS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        if not goal.exists() or (anchor and anchor not in anchors(goal)):
            broken.append(target)
    assert not broken


def test_every_page_is_reached_from_the_index() -> None:
    index = DOCS / "index.md"
    linked = {(DOCS / target.partition("#")[0]).resolve() for target in LINK.findall(prose(index))}
    assert {page for page in DOCS.rglob("*.md") if page != index} <= linked


def test_make_targets_in_the_readme_exist() -> None:
    named = set(re.findall(r"\bmake ([a-z]+)\b", (ROOT / "README.md").read_text()))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named >= {"demo", "test"}
    assert named <= targets


@pytest.mark.parametrize("setting", settings_of(PushSettings), ids=lambda each: each.field)
def test_each_option_of_push_is_listed(setting: Setting) -> None:
    section = reference("commands.md").partition("\n## `push`\n")[2].partition("\n## ")[0]
    options = re.findall(r"^\| (`--.*?) \|", section, re.MULTILINE)
    assert f"`{setting.flag}`" in ", ".join(options).split(", ")


@pytest.mark.parametrize("cls", [Options, Scaling, Retries], ids=lambda cls: cls.__name__)
def test_what_the_provider_client_can_be_told_is_listed_with_its_default(cls: type[Any]) -> None:
    table = reference("provider-client.md").partition(f"\n## `{cls.__name__}`\n")[2]
    row = r"^\| `(\w+)` \| `([^`]*)` \|"
    listed = dict(re.findall(row, table.partition("\n## ")[0], re.MULTILINE))
    made = cls()
    assert list(listed) == [field.name for field in dataclasses.fields(cls)]
    for name, default in listed.items():
        value = getattr(made, name)
        shown = value.__name__ if callable(value) else repr(value).replace("'", '"')
        assert default in (shown, f"{type(value).__name__}()")


def test_the_statistics_of_the_provider_client_are_listed() -> None:
    table = reference("provider-client.md").partition("\n## Statistics\n")[2]
    fields = re.findall(r"^\| (`\w.*?) \|", table, re.MULTILINE)
    listed = re.findall(r"\w+", ", ".join(fields))
    assert listed == [field.name for field in dataclasses.fields(Statistics)]
