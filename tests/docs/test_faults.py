"""The reference of faults lists every match, action, law, scenario and magic token, as it is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from trio_push.faults import SCENARIOS, Match, Rule
from trio_push.faults.actions import Action, Stage
from trio_push.faults.book import MAX_NAMES, MAX_RULES
from trio_push.faults.latency import Latency
from trio_push.faults.magic import MAGIC
from trio_push.faults.table import rules_of

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGE = (DOCS / "reference" / "faults.md").read_text()
PAGES = [PAGE, (DOCS / "how-to" / "inject-faults.md").read_text()]


def rows(heading: str) -> list[tuple[str, ...]]:
    """The cells of the tables under a heading, without their own headings."""
    section = re.split(rf"^#+ {heading}\n", PAGE, flags=re.MULTILINE)[1]
    section = re.split(r"^#", section, flags=re.MULTILINE)[0]
    lines = re.findall(r"^\| (.*) \|$", section, re.MULTILINE)
    return [tuple(cell.strip() for cell in line.split(" | ")) for line in lines][1:]


def fields(shape: Any) -> list[tuple[str, str, str]]:
    """Name, default and meaning of each field of a shape, as in a table."""
    found = []
    _, components = msgspec.json.schema_components([shape])
    described = components[shape.__name__]["properties"]
    for field in msgspec.structs.fields(shape):
        text = described[field.name]["description"]
        default = "required" if field.required else _shown(field.default)
        found.append((f"`{field.name}`", default, text))
    return found


def _shown(value: Any) -> str:
    if isinstance(value, msgspec.Struct):
        return f"`{msgspec.json.encode(value).decode()}`"
    if value is None or value == "":
        return "none"
    return f"`{value}`" if isinstance(value, str) else str(value).lower().removesuffix(".0")


def meaning(shape: Any) -> str:
    return " ".join((shape.__doc__ or "").split())


PLACES = {
    Stage.REQUEST: "a request",
    Stage.PUSH: "an accepted push",
    Stage.DEVICE: "a device",
    Stage.CONNECTION: "a connection",
}


def kind(shape: Any) -> str:
    return f"`{shape.__struct_config__.tag}`"


def actions() -> list[tuple[str, ...]]:
    found = []
    for shape in get_args(Action):
        place = PLACES[shape.stage] + (", HTTP/2 only" if shape.http2_only else "")
        found.append((kind(shape), place, meaning(shape)))
    return found


TABLES = {
    "Match": fields(Match),
    "Action": actions(),
    "Fields of actions": [
        (kind(shape), *field) for shape in get_args(Action) for field in fields(shape)
    ],
    "Latency": [
        (kind(shape), f"`{name.name}`", text)
        for shape in get_args(Latency)
        for name, (_, _, text) in zip(msgspec.structs.fields(shape), fields(shape), strict=True)
    ],
    "Scenarios": [(f"`{each.name}`", each.meaning) for each in SCENARIOS.values()],
    "Magic tokens": [(f"`{each.token_prefix}`", each.effect) for each in MAGIC],
}


@pytest.mark.parametrize("heading", TABLES)
def test_the_table_is_that_of_the_code(heading: str) -> None:
    assert rows(heading) == TABLES[heading]


def test_every_field_of_a_rule_is_told() -> None:
    told = re.findall(r"^- `(\w+)`", PAGE, re.MULTILINE)
    assert set(told) >= {field.name for field in msgspec.structs.fields(Rule)}


def test_the_limits_are_told() -> None:
    assert f"{MAX_RULES} rules" in PAGE
    assert f"{MAX_NAMES:,} names" in PAGE


@pytest.mark.parametrize("page", PAGES, ids=["reference", "how-to"])
def test_the_examples_can_be_used(page: str) -> None:
    in_toml = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    in_json = re.findall(r"--json '(\{.*?\})' \S*/v1/faults$", page, re.MULTILINE | re.DOTALL)
    assert in_toml
    assert in_json
    for text in in_toml:
        assert rules_of(tomllib.loads(text))
    for text in in_json:
        msgspec.json.decode(text, type=Rule)
