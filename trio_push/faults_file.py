"""Reads the faults on demand that the settings name: a file of rules, and scenarios."""

from __future__ import annotations

import tomllib
from pathlib import Path

from trio_push.config import ServeSettings
from trio_push.errors import ConfigError
from trio_push.faults import SCENARIOS, Rule
from trio_push.faults.table import rules_of


def open_rules(settings: ServeSettings) -> list[Rule]:
    """The rules to begin with: those of the file first. Raises ConfigError."""
    rules = [] if settings.faults is None else _read(settings.faults)
    return [*rules, *(rule for name in settings.scenario for rule in SCENARIOS[name].rules)]


def _read(path: str) -> list[Rule]:
    try:
        with Path(path).expanduser().open("rb") as file:
            return rules_of(tomllib.load(file))
    except OSError as exc:
        raise ConfigError(f"--faults {path} cannot be read: {exc.strerror}") from exc
    except ConfigError as exc:
        raise ConfigError(f"--faults {path}: {exc}") from exc
    except ValueError as exc:
        raise ConfigError(f"--faults {path} is not TOML: {exc}") from exc
