"""Makes a command whose flags are the fields of a dataclass of settings.

Used by every command. Text becomes values in `trio_push.settings`, the same for a flag, the
environment and a file; cyclopts tells the flags apart and prints the help.
"""

from __future__ import annotations

import inspect
import os
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import App, Parameter

from trio_push.errors import ConfigError
from trio_push.settings import Setting, known, load, settings_of

S = TypeVar("S")

#: the commands that take settings from a file, each from the section of its name, and how the
#: names of their environment variables begin
CONFIGURABLE = {
    "serve": "TRIO_PUSH_",
    "swarm": "TRIO_PUSH_SWARM_",
    "swarm-agent": "TRIO_PUSH_SWARM_AGENT_",
}

#: how the names of environment variables begin that hold other commands' secrets
_SECRET_PREFIX = "TRIO_PUSH_"


def make_command(
    name: str, cls: type[S], run: Callable[..., Awaitable[int]], *, epilogue: str = ""
) -> App:
    """The command `name`: finds its settings and awaits `run` with them, for an exit code.

    What `run` takes besides the settings are the command's positional arguments.
    """
    settings = settings_of(cls)
    configurable = name in CONFIGURABLE
    flags = {each.field: _annotation(each, configurable) for each in settings}
    help = [epilogue]
    if configurable:
        flags = {"config": Annotated[str | None, _CONFIG]} | flags
        variable = CONFIGURABLE[name] + settings[0].key.upper()
        help.append(_CONFIGURABLE_HELP.format(variable=variable, section=name))
    if any(each.unit == "s" for each in settings):
        help.append("A DURATION is 10s, 500ms, 1m, 24h or 7d.")

    async def command(*arguments: str, config: str | None = None, **given: object) -> int:
        said = {field: raw for field, raw in given.items() if raw is not None}
        return await run(_settings(name, cls, config, said), *arguments)

    _set_signature(command, run, flags)
    return App(name=name, default_command=command, help_epilogue=" ".join(filter(None, help)))


def read_section(path: str, section: str) -> Mapping[str, object]:
    """The table `[section]` of the TOML file; ConfigError when it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            content = tomllib.load(file)
    except OSError as exc:
        raise ConfigError(f"--config {path} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise ConfigError(f"--config {path} is not TOML: {exc}") from exc
    for key in content:
        known(key, CONFIGURABLE, path)
    table = content.get(section, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: {section} is a section: write [{section}]")
    return table


def _settings(name: str, cls: type[S], config: str | None, flags: Mapping[str, object]) -> S:
    if name not in CONFIGURABLE:
        # a secret on the command line is there for every user of the machine to read
        secrets = {_SECRET_PREFIX + each.key.upper() for each in settings_of(cls) if each.secret}
        environ = {name: os.environ[name] for name in secrets & os.environ.keys()}
        return load(cls, flags=flags, environ=environ, prefix=_SECRET_PREFIX)
    config = config or os.environ.get("TRIO_PUSH_CONFIG")
    return load(
        cls,
        file=read_section(config, name) if config else {},
        file_place=f"{config} [{name}]",
        environ=os.environ,
        prefix=CONFIGURABLE[name],
        flags=flags,
    )


_CONFIG = Parameter(name="--config", metavar="FILE.toml", help="File to take settings from.")

_CONFIGURABLE_HELP = (
    "Settings may also stand in the environment, as {variable} and so on (several values with "
    "commas), and in section [{section}] of --config FILE.toml (or TRIO_PUSH_CONFIG). A flag "
    "wins over the environment, and that over the file."
)

_METAVARS = {"s": "DURATION", "1/s": "PER-SECOND"}


def _metavar(setting: Setting) -> str | None:
    """What stands for the value in the help; None: what cyclopts has for switches and choices."""
    if setting.type is bool or setting.choices:
        return None
    fallback = "TEXT" if setting.type is str else "NUMBER"
    return _METAVARS.get(setting.unit, setting.unit.upper() or fallback)


def _annotation(setting: Setting, configurable: bool) -> Any:
    """What cyclopts is told of a flag; Any, because the type is made at run time."""
    # a switch can be turned off where it may have been turned on: by default or in a file
    may_be_on = setting.default is True or (configurable and not setting.field.startswith("no_"))
    parameter = Parameter(
        name=setting.flag,
        help=setting.help,
        metavar=_metavar(setting),
        show_default=setting.show(setting.default) or None,
        choices=setting.choices or None,
        negative=None if setting.type is bool and may_be_on else (),
    )
    if setting.type is bool:
        return Annotated[bool | None, parameter]
    return Annotated[tuple[str, ...] | None if setting.many else str | None, parameter]


def _set_signature(
    command: Callable[..., Any], run: Callable[..., Any], flags: Mapping[str, Any]
) -> None:
    """Let `command` take the arguments of `run` after the settings, and the flags."""
    _, *arguments = inspect.signature(run, eval_str=True).parameters.values()
    optional = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint)
        for name, hint in flags.items()
    ]
    # positional only: else the help would offer a flag for each argument
    parameters = [each.replace(kind=each.POSITIONAL_ONLY) for each in arguments] + optional
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
