"""What is wrong with a request, and how the client is told: problem details (RFC 9457).

Every error of the API becomes a `Problem` here: refusals that APNs has a name for, requests that
cannot be understood, and what the framework raises.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from werkzeug.exceptions import HTTPException

from trio_push.errors import PushError, Refusal
from trio_push.wire.reasons import (
    BAD_COLLAPSE_ID,
    BAD_DEVICE_TOKEN,
    BAD_MESSAGE_ID,
    BAD_PRIORITY,
    SERVICE_UNAVAILABLE,
    SHUTDOWN,
    Reason,
)

CONTENT_TYPE: Final = "application/problem+json"

#: seconds after which trying again makes sense, where a refusal does not say
_RETRY_AFTER_S: Final = {SHUTDOWN: 5, SERVICE_UNAVAILABLE: 1}

_FIELD_REASONS: Final = {
    "id": BAD_MESSAGE_ID,
    "token": BAD_DEVICE_TOKEN,
    "collapse_id": BAD_COLLAPSE_ID,
    "priority": BAD_PRIORITY,
}


class Problem(msgspec.Struct, omit_defaults=True, kw_only=True, frozen=True):
    """Why a request, or a line of a stream, was refused (RFC 9457)."""

    type: Annotated[
        str, Meta(description="Which problem this is: a place on the page of documentation.")
    ]
    title: Annotated[str, Meta(description="The problem in words, the same each time.")]
    status: Annotated[int, Meta(description="The HTTP status.")]
    detail: Annotated[str, Meta(description="What is wrong this time.")]
    reason: Annotated[
        str | None, Meta(description="The name that APNs has for it, where it has one.")
    ] = None
    field: Annotated[str | None, Meta(description="The field that is wrong.")] = None
    timestamp: Annotated[
        int | None,
        Meta(description="With `Unregistered`: since when, in milliseconds since the epoch."),
    ] = None


class Invalid(PushError):
    """A request cannot be carried out as it stands; `field` names the part that is wrong."""

    def __init__(self, detail: str, *, status: int = 400, field: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.field = field
        #: APNs' name for it
        self.reason: Reason | None = _FIELD_REASONS.get(field or "")


def problem_of(error: Refusal | Invalid | HTTPException) -> Problem:
    """The problem that an error is told as."""
    if isinstance(error, Refusal):
        return _with_reason(error.reason, str(error), timestamp=error.timestamp_ms)
    if isinstance(error, HTTPException):
        return _without_reason(error.code or 500, error.description or "")
    if error.reason is not None:
        return _with_reason(error.reason, str(error), field=error.field)
    return _without_reason(error.status, str(error), field=error.field)


def name_of(error: Refusal | Invalid) -> str:
    """The name under which a refusal is counted."""
    if error.reason is not None:
        return error.reason.name
    return HTTPStatus(error.status).phrase.title().replace(" ", "")


def retry_after_s(error: Exception) -> int | None:
    """When to try again, for refusals that will pass."""
    if not isinstance(error, Refusal):
        return None
    return error.retry_after_s or _RETRY_AFTER_S.get(error.reason)


def _with_reason(
    reason: Reason, detail: str, *, field: str | None = None, timestamp: int | None = None
) -> Problem:
    return Problem(
        type=f"/docs#{reason.name}",
        title=reason.trigger,
        status=reason.status,
        detail=detail,
        reason=reason.name,
        field=field,
        timestamp=timestamp,
    )


def _without_reason(status: int, detail: str, *, field: str | None = None) -> Problem:
    return Problem(
        type="about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        field=field,
    )


_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(.*)`")
_WHERE: Final = re.compile(r"(.*) - at `\$\.?(\w*).*`", re.DOTALL)

#: characters of a field that a client made up that it gets to see again
_SHOWN: Final = 64


def invalid_from(error: Exception) -> Invalid:
    """What the JSON decoder objects to, by the name of the field."""
    message = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return Invalid(f"not JSON: {message}")
    if unknown := _UNKNOWN.fullmatch(message):
        field = unknown[1][:_SHOWN]
        return Invalid(f"there is no field {field!r}", field=field)
    if missing := _MISSING.fullmatch(message):
        return Invalid(f"the field {missing[1]!r} is missing", field=missing[1])
    if where := _WHERE.fullmatch(message):
        return Invalid(where[1], field=where[2] or None)
    return Invalid(message)
