"""Rules from the tables of a file; the caller has read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from trio_push.errors import ConfigError
from trio_push.faults.rules import Rule


class _File(msgspec.Struct, forbid_unknown_fields=True):
    rules: list[Rule] = []


def rules_of(content: Mapping[str, Any]) -> list[Rule]:
    """The rules in `[[rules]]`. Raises ConfigError saying which value is wrong."""
    try:
        return msgspec.convert(content, _File).rules
    except msgspec.ValidationError as exc:
        raise ConfigError(str(exc)) from exc
