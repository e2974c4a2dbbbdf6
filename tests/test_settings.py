"""One value, one meaning, wherever it is given; and errors that say what to write instead."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_push.errors import ConfigError
from trio_push.settings import (
    format_duration,
    format_number,
    load,
    parse_bool,
    parse_duration,
    parse_number,
    setting,
    settings_of,
    validate,
)


def _no_z(text: str) -> None:
    if "z" in text:
        raise ConfigError(f"{text!r} has a z")


@dataclass(frozen=True, kw_only=True, slots=True)
class Kettle:
    wait_s: float = setting(10, "How long.", unit="s", maximum=3600)
    rate: float = setting(0, "How often.", unit="1/s")
    cups: int = setting(2, "How many.", unit="cups", minimum=1)
    teas: tuple[str, ...] = setting(("black",), "Which.", check=_no_z)
    name: str | None = setting(None, "Its name.", check=_no_z)
    size: str = setting("big", "Its size.", choices=("big", "small"))
    lid: bool = setting(False, "Closed.")
    guest: str | None = setting(None, "Nobody is to know.", secret=True)

    def __post_init__(self) -> None:
        validate(self)


SETTINGS = {each.key: each for each in settings_of(Kettle)}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10", 10),
        ("10s", 10),
        ("0", 0),
        ("500ms", 0.5),
        ("1m", 60),
        ("24h", 86400),
        ("7d", 604800),
        ("1.5h", 5400),
        ("10 s", 10),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10x", "-5", "s", "1e3", "nan", "inf", "1h30m", ".5", "٣"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a duration: write 10s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.001, "1ms"),
        (0.25, "250ms"),
        (10, "10s"),
        (90, "90s"),
        (60, "1m"),
        (3600, "1h"),
        (86400, "24h"),
        (7 * 86400, "7d"),
        (1.5, "1.5s"),
    ],
)
def test_durations_are_shown_as_people_say_them(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, 10**12))
def test_a_duration_that_is_shown_is_read_back(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "number"), [("1500", 1500), ("1_500", 1500), ("1.5k", 1500), ("4M", 4e6)]
)
def test_numbers(text: str, number: float) -> None:
    assert parse_number(text) == number


@pytest.mark.parametrize("text", ["", "k", "1K", "0x10", "1/s", "_1", "-1"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a number"):
        parse_number(text)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (64, "64"), (0.5, "0.5"), (4_000_000, "4_000_000")]
)
def test_numbers_are_shown_as_they_are_written(number: float, text: str) -> None:
    assert format_number(number) == text
    assert parse_number(text) == number


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("1", True),
        ("true", True),
        ("YES", True),
        ("on", True),
        ("0", False),
        ("False", False),
        ("no", False),
        ("off", False),
    ],
)
def test_switches(text: str, truth: bool) -> None:
    assert parse_bool(text) is truth


def test_what_is_no_switch() -> None:
    with pytest.raises(ConfigError, match="'maybe' is neither yes nor no"):
        parse_bool("maybe")


@pytest.mark.parametrize(
    ("key", "raw", "value"),
    [
        ("wait", "1m", 60),
        ("wait", 5, 5),
        ("rate", "2k/s", 2000),
        ("rate", 0.5, 0.5),
        ("cups", "1k", 1000),
        ("cups", 3, 3),
        ("teas", "green, red", ("green", "red")),
        ("teas", ["green", "red"], ("green", "red")),
        ("teas", ("a,b", "c"), ("a,b", "c")),
        ("teas", [], ()),
        ("name", " Earl ", "Earl"),
        ("size", "small", "small"),
        ("lid", True, True),
        ("lid", "off", False),
    ],
)
def test_a_setting_reads_text_and_what_toml_has(key: str, raw: object, value: object) -> None:
    assert SETTINGS[key].parse(raw) == value


@pytest.mark.parametrize(
    ("key", "raw", "problem"),
    [
        ("wait", True, "'True' is not a duration"),
        ("wait", "2h", "2h is too high: at most 1h"),
        ("wait", [1], r"\[1\] is not one value"),
        ("cups", 0, "0 is too low: at least 1"),
        ("cups", "1.5", "'1.5' is not a whole number"),
        ("cups", "1/s", "is not a number"),
        ("teas", "green,zed", "'zed' has a z"),
        ("name", "z", "'z' has a z"),
        ("size", "huge", "'huge' is not one of big, small"),
        ("lid", 2, "'2' is neither yes nor no"),
    ],
)
def test_a_setting_says_what_is_wrong(key: str, raw: object, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        SETTINGS[key].parse(raw)


def test_names() -> None:
    assert [(each.flag, each.key) for each in settings_of(Kettle)][:2] == [
        ("--wait", "wait"),
        ("--rate", "rate"),
    ]


@pytest.mark.parametrize(
    ("file", "environ", "flags", "cups"),
    [
        ({}, {}, {}, 2),
        ({"cups": 3}, {}, {}, 3),
        ({"cups": 3}, {"K_CUPS": "4"}, {}, 4),
        ({"cups": 3}, {"K_CUPS": "4"}, {"cups": "5"}, 5),
        ({"cups": 3}, {}, {"cups": "5"}, 5),
        ({}, {"CUPS": "4"}, {}, 2),
    ],
)
def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    file: dict[str, object], environ: dict[str, str], flags: dict[str, str], cups: int
) -> None:
    kettle = load(Kettle, file=file, file_place="f", environ=environ, prefix="K_", flags=flags)
    assert kettle == Kettle(cups=cups)


@pytest.mark.parametrize(
    ("file", "environ", "flags", "problem"),
    [
        ({}, {}, {"wait_s": "x"}, "^--wait: 'x' is not a duration"),
        ({}, {"K_WAIT": "x"}, {}, "^K_WAIT: 'x' is not a duration"),
        ({"wait": "x"}, {}, {}, r"^f \[k\] wait: 'x' is not a duration"),
        ({"wiat": 1}, {}, {}, r"^f \[k\] has no 'wiat': did you mean 'wait'\?"),
        ({"wait_s": 1}, {}, {}, "did you mean 'wait'"),
        ({"xyz": 1}, {}, {}, "known are wait, rate, cups"),
    ],
)
def test_an_error_names_the_place(
    file: dict[str, object], environ: dict[str, str], flags: dict[str, str], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        load(Kettle, file=file, file_place="f [k]", environ=environ, prefix="K_", flags=flags)


def test_a_key_of_a_file_may_be_written_like_a_flag() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Pot:
        tea_leaves: int = setting(1, "How many.")

    assert load(Pot, file={"tea-leaves": 7}, flags={}) == Pot(tea_leaves=7)


def test_values_are_checked_however_they_came() -> None:
    with pytest.raises(ConfigError, match=r"^--cups: 0 is too low"):
        Kettle(cups=0)
    with pytest.raises(ConfigError, match=r"^--teas: 'zzz' has a z"):
        Kettle(teas=("green", "zzz"))


def test_a_secret_is_not_shown() -> None:
    assert "Earl" not in repr(Kettle(guest="Earl"))
    with pytest.raises(ConfigError, match=r"^f guest: this is not one value$"):
        load(Kettle, file={"guest": ["Earl"]}, file_place="f", flags={})
