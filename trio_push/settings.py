"""What a setting is, and how its value is found: flag, environment, file, default, in this order.

A command's settings are a frozen dataclass whose fields are made by `setting`. The command
line, the environment, the TOML file and the reference page read the same `Setting` records,
so they can only agree. Pure: values in, values out; a wrong one raises ConfigError naming the
place it stands in and what to write instead.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final, TypeVar, get_args, get_origin, get_type_hints

from trio_push.errors import ConfigError

#: a dataclass of settings
S = TypeVar("S")

_NO_VALUES: Final[Mapping[str, Any]] = MappingProxyType({})


def setting(
    default: Any,
    help: str,
    *,
    unit: str = "",
    minimum: float = 0,
    maximum: float = float("inf"),
    choices: tuple[str, ...] = (),
    check: Callable[[str], object] | None = None,
    secret: bool = False,
) -> Any:
    """A field of a dataclass of settings; returns Any as `dataclasses.field` does.

    `unit` says what one value is: "s" (a duration), "1/s" (a rate), else a word for the help
    ("devices", "host:port", "file"). `minimum` and `maximum` bound numbers; `check` raises
    ConfigError on text that cannot be used. A `secret` is left out of messages and of the repr;
    what its `check` raises must not show it either.
    """
    metadata = {
        "help": help,
        "unit": unit,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "check": check,
        "secret": secret,
    }
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One setting: how it is called, what it may be, and what it is when nobody says."""

    #: its field in the dataclass: `write_timeout_s`
    field: str
    #: bool, int, float or str: the type of the value, or of each of several
    type: type
    #: whether it holds a tuple of values; its flag may then be repeated
    many: bool
    default: Any
    help: str
    unit: str
    minimum: float
    maximum: float
    choices: tuple[str, ...]
    check: Callable[[str], object] | None
    secret: bool

    @property
    def key(self) -> str:
        """Its name in a file. A duration is written with its unit, so the name has none."""
        return self.field.removesuffix("_s") if self.unit == "s" else self.field

    @property
    def flag(self) -> str:
        return "--" + self.key.replace("_", "-")

    def parse(self, raw: object) -> Any:
        """The value that `raw` (text, or what TOML has for it) stands for, checked.

        Raises ConfigError saying what is wrong with it; the caller adds where it stands.
        """
        if self.many:
            items = raw.split(",") if isinstance(raw, str) else raw
            values = items if isinstance(items, list | tuple) else [items]
            value: Any = tuple(self._parse_one(item) for item in values)
        else:
            value = self._parse_one(raw)
        self.validate(value)
        return value

    def validate(self, value: Any) -> None:
        """Raises ConfigError when `value` is out of range or cannot be used."""
        for one in value if self.many else [value]:
            if isinstance(one, str):
                self._validate_text(one)
            elif one is not None:
                self._validate_number(one)

    def show(self, value: Any) -> str:
        """`value` as somebody would write it; nothing for None."""
        if isinstance(value, tuple):
            return ", ".join(map(str, value))
        if isinstance(value, bool):
            return "yes" if value else "no"
        if value is None or isinstance(value, str):
            return value or ""
        return format_duration(value) if self.unit == "s" else format_number(value)

    def _parse_one(self, raw: object) -> Any:
        if isinstance(raw, list | tuple | dict):
            raise ConfigError(f"{'this' if self.secret else repr(raw)} is not one value")
        text = str(raw).strip()
        if self.type is bool:
            return parse_bool(text)
        if self.type is str:
            return text
        if self.unit == "s":
            return parse_duration(text)
        number = parse_number(text.removesuffix("/s") if self.unit == "1/s" else text)
        if self.type is float:
            return number
        if not number.is_integer():
            raise ConfigError(f"{text!r} is not a whole number")
        return int(number)

    def _validate_text(self, value: str) -> None:
        if self.choices and value not in self.choices:
            raise ConfigError(f"{value!r} is not one of {', '.join(self.choices)}")
        if self.check is not None:
            self.check(value)

    def _validate_number(self, value: float) -> None:
        if value < self.minimum:
            raise ConfigError(f"{self.show(value)} is too low: at least {self.show(self.minimum)}")
        if value > self.maximum:
            raise ConfigError(f"{self.show(value)} is too high: at most {self.show(self.maximum)}")


def settings_of(cls: type[Any]) -> tuple[Setting, ...]:
    """Every setting of a dataclass of settings, in the order it lists them."""
    hints = get_type_hints(cls)
    return tuple(_setting_of(field, hints[field.name]) for field in dataclasses.fields(cls))


def validate(settings: Any) -> None:
    """Check every value of `settings` by itself; for its `__post_init__`."""
    for each in settings_of(type(settings)):
        with_place(each.flag, each.validate, getattr(settings, each.field))


def load(
    cls: type[S],
    *,
    flags: Mapping[str, object],
    environ: Mapping[str, str] = _NO_VALUES,
    prefix: str = "",
    file: Mapping[str, object] = _NO_VALUES,
    file_place: str = "",
) -> S:
    """The settings as a flag, the environment (`<prefix><KEY>`) or a file's section gives them.

    `flags` go by field name. Raises ConfigError, also for a key of the file that is no setting.
    """
    settings = {each.key: each for each in settings_of(cls)}
    given: dict[str, Any] = {}
    for key, raw in file.items():
        each = settings[known(key.replace("-", "_"), settings, file_place)]
        given[each.field] = with_place(f"{file_place} {key}", each.parse, raw)
    for each in settings.values():
        variable = prefix + each.key.upper()
        if variable in environ:
            given[each.field] = with_place(variable, each.parse, environ[variable])
        if each.field in flags:
            given[each.field] = with_place(each.flag, each.parse, flags[each.field])
    return cls(**given)


def known(key: str, keys: Iterable[str], place: str) -> str:
    """`key`, if it is one of `keys`; else raises ConfigError naming the nearest one."""
    keys = list(keys)
    if key in keys:
        return key
    near = get_close_matches(key, keys, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(keys)}"
    raise ConfigError(f"{place} has no {key!r}: {hint}")


def with_place(place: str, check: Callable[[Any], Any], value: object) -> Any:
    """`check(value)`; its ConfigError is raised again naming the place the value stands in."""
    try:
        return check(value)
    except ConfigError as exc:
        raise ConfigError(f"{place}: {exc}") from None


def parse_bool(text: str) -> bool:
    try:
        return _BOOLS[text.lower()]
    except KeyError:
        raise ConfigError(f"{text!r} is neither yes nor no") from None


def parse_duration(text: str) -> float:
    """Seconds of "10", "10s", "500ms", "1m", "24h" or "7d"."""
    return _parse_scaled(text, _DURATIONS, "a duration: write 10s, 500ms, 1m, 24h or 7d")


def parse_number(text: str) -> float:
    """The number in "1500", "1_500", "1.5k" or "4M"."""
    return _parse_scaled(text, _SCALES, "a number: write 1500, 1_500, 1.5k or 4M")


def format_duration(seconds: float) -> str:
    """Seconds as `parse_duration` reads them, in the unit people would use."""
    # a day is "24h", as people say, and days only begin at two
    for unit, least in (("d", 2 * 86400), ("h", 3600), ("m", 60)):
        if seconds >= least and seconds % _DURATIONS[unit] == 0:
            return f"{_plain(seconds / _DURATIONS[unit])}{unit}"
    return f"{_plain(seconds)}s" if seconds >= 1 or not seconds else f"{_plain(seconds * 1000)}ms"


def format_number(number: float) -> str:
    """A number as `parse_number` reads it, digits grouped from a million on."""
    return f"{int(number):_}" if number >= 1_000_000 else _plain(number)


def _plain(number: float) -> str:
    """Without an exponent and without idle zeros."""
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _setting_of(field: dataclasses.Field[Any], hint: Any) -> Setting:
    many = get_origin(hint) is tuple
    # of `str | None` and `tuple[str, ...]` the first part says what a value is
    value_type = (get_args(hint) or (hint,))[0]
    return Setting(
        field=field.name, type=value_type, many=many, default=field.default, **field.metadata
    )


def _parse_scaled(text: str, scales: Mapping[str, float], what: str) -> float:
    match = _SCALED.fullmatch(text)
    if match is None or match["unit"] not in scales:
        raise ConfigError(f"{text!r} is not {what}")
    return float(match["number"].replace("_", "")) * scales[match["unit"]]


_SCALED: Final = re.compile(r"(?P<number>[0-9][0-9_]*(\.[0-9]+)?)\s*(?P<unit>[a-zA-Z]*)")
_DURATIONS: Final = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SCALES: Final = {"": 1, "k": 1e3, "M": 1e6}
_BOOLS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
