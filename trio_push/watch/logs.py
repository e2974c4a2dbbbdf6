"""How log lines look and what never stands in them.

`configure` is called once by each command that logs, before anything else runs. Everything
logs through `structlog.get_logger()`; what libraries log through `logging` comes out in the
same form, warnings and worse only (httpx, for one, logs whole URLs as information).
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, TextIO

import orjson
import structlog
from structlog.typing import Processor

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

#: values under such a key open something
_SECRET_KEY: Final = re.compile(
    r"authorization|secret|password|api_?key|private_?key|jwt|access_?token|cookie"
)
#: and so does such text anywhere: credentials of HTTP …
_SECRET_TEXT: Final = re.compile(r"(?i)\b(bearer|basic)\s+[^\s,;\"']+")
#: … and what looks like a JWT, whose header begins with `{"` in Base64
_JWT: Final = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*")
_DEVICE_TOKEN_KEYS: Final = frozenset({"token", "device_token"})
_DEVICE_TOKEN_SHOWN: Final = 8


def configure(level: str, format: str, stream: TextIO) -> None:
    """Log lines of `level` and worse go to `stream`, as `format` says (console, json, auto).

    Device tokens are shortened unless `level` is debug; secrets never appear.
    """
    console = format == "console" or (format == "auto" and stream.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # a plain traceback: a pretty one shows local variables, and so secrets
            structlog.processors.format_exc_info,
            redact_secrets,
            *([] if level == "debug" else [shorten_device_tokens]),
            _console_renderer(stream) if console else _json_renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=_logger_factory(stream, text=console),
        # a logger made at import must follow a later call of this function
        cache_logger_on_first_use=False,
    )
    library_level = max(LEVELS[level], logging.WARNING)
    logging.basicConfig(handlers=[_ToStructlog()], level=library_level, force=True)


def redact_secrets(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A structlog processor: replace what opens something, also inside mappings."""
    for key, value in event.items():
        event[key] = _redacted(key, value)
    return event


def shorten_device_tokens(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A structlog processor: enough of a device token to recognise it, too little to use it."""
    for key in _DEVICE_TOKEN_KEYS & event.keys():
        token = str(event[key])
        if len(token) > _DEVICE_TOKEN_SHOWN:
            event[key] = token[:_DEVICE_TOKEN_SHOWN] + "…"
    return event


def _redacted(key: object, value: Any) -> Any:
    if isinstance(key, str) and _SECRET_KEY.search(key.lower().replace("-", "_")):
        return "[redacted]"
    if isinstance(value, Mapping):
        return {inner: _redacted(inner, each) for inner, each in value.items()}
    if isinstance(value, str):
        return _JWT.sub("[redacted]", _SECRET_TEXT.sub(r"\1 [redacted]", value))
    return value


def _console_renderer(stream: TextIO) -> Processor:
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty() and not os.environ.get("NO_COLOR"),
        exception_formatter=structlog.dev.plain_traceback,
    )


def _json_renderer(logger: Any, method: str, event: MutableMapping[str, Any]) -> bytes:
    """A line that begins with what people look for first."""
    head = {key: event.pop(key) for key in ("timestamp", "level", "event")}
    return orjson.dumps({**head, **event}, default=str, option=orjson.OPT_NON_STR_KEYS)


def _logger_factory(stream: TextIO, *, text: bool) -> Any:
    """Any: structlog's factories share no type."""
    if text:
        return structlog.WriteLoggerFactory(stream)
    return structlog.BytesLoggerFactory(stream.buffer)


class _ToStructlog(logging.Handler):
    """Hands the records of `logging` to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger()
        logger.log(
            record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info
        )
