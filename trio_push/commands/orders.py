"""What `push` is asked to send, as requests; and what the server answered. Pure.

An order becomes a request of the provider client, or one `POST /v1/push`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import httpx
import msgspec

from trio_push.apns import Outcome, Request, Result
from trio_push.commands.client import reason_in
from trio_push.errors import ConfigError


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One push to send. What is None is left to the server.

    The fields are those of `POST /v1/push`, and those that only APNs knows.
    """

    #: None: every device that is connected
    token: str | None = None
    #: JSON; of a string its text is sent, so that a payload need not be JSON. Empty: not said
    payload: msgspec.Raw = msgspec.Raw()
    id: str | None = None
    topic: str | None = None
    collapse_id: str | None = None
    priority: int | None = None
    ttl_s: float | None = None
    #: epoch seconds, instead of ttl_s
    expiration: int | None = None
    #: APNs only
    push_type: str | None = None
    delay_s: float | None = None
    not_before: float | None = None
    event: str | None = None


DEFAULT_PAYLOAD: Final = msgspec.Raw(b'{"mdm":"hello"}')


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an order."""

    #: None: it was a broadcast
    token: str | None
    #: by which the server knows the push; None if it did not say
    id: str | None
    status: int
    #: what our API says became of it; from APNs "accepted", or "refused", "unanswered", "unsent"
    outcome: str
    #: why it was refused or dropped
    reason: str | None = None
    #: since when the device token is gone, in epoch milliseconds
    timestamp_ms: int | None = None
    #: how often it was sent
    attempts: int = 1
    #: of the file that asked for it, from 1; None: none did
    line: int | None = None

    @property
    def is_accepted(self) -> bool:
        return self.outcome not in _NOT_ACCEPTED


_NOT_ACCEPTED: Final = frozenset((Outcome.REFUSED, Outcome.UNANSWERED, Outcome.UNSENT))


def order_of_line(line: bytes, defaults: Order) -> Order:
    """The order in a line of NDJSON; what it leaves out is as in `defaults`.

    Raises ConfigError saying what is wrong with the line; the caller knows which one it is.
    """
    try:
        order = msgspec.json.decode(line, type=Order)
    except msgspec.DecodeError as exc:
        raise ConfigError(f"not a push: {exc}") from exc
    if order.token is None:
        raise ConfigError("not a push: it has no token")
    return msgspec.structs.replace(defaults, **_said(order))


def payload_of_text(text: str) -> msgspec.Raw:
    """A payload as typed: JSON as it stands, anything else as a JSON string."""
    encoded = text.encode()
    try:
        msgspec.json.decode(encoded)
    except msgspec.DecodeError:
        encoded = msgspec.json.encode(text)
    return msgspec.Raw(encoded)


def apns_push(order: Order, now: float, line: int | None = None) -> Request:
    """As a provider sends it to APNs; `line` is the one that asks for it.

    Raises ConfigError for what cannot be sent there.
    """
    for name, is_asked in (
        ("--broadcast", order.token is None),
        ("--delay", order.delay_s is not None),
        ("not_before", order.not_before is not None),
        ("--event", order.event is not None),
    ):
        if is_asked:
            raise ConfigError(f"{name} is nothing that APNs knows: add --via api")
    try:
        return Request(
            token=order.token or "",
            payload=_text_of_string(_said(order).get("payload", DEFAULT_PAYLOAD)),
            topic=order.topic,
            push_type=order.push_type,
            id=order.id,
            priority=order.priority,
            expiration=_expiration(order, now),
            collapse_id=order.collapse_id,
            context=line,
        )
    except ValueError as exc:
        raise ConfigError(f"not a push: {exc}") from exc


def api_request(client: httpx.AsyncClient, url: str, order: Order, now: float) -> httpx.Request:
    """As our own API takes it. Raises ConfigError for what only APNs knows."""
    if order.push_type is not None:
        raise ConfigError("--push-type is nothing that the API knows: leave out --via api")
    body = {"payload": DEFAULT_PAYLOAD} | _said(order)
    if order.token is None:
        body["broadcast"] = True
    if (expiration := body.pop("expiration", None)) is not None:
        body["ttl_s"] = max(expiration - now, 0)
    return client.build_request(
        "POST",
        f"{url}/v1/push",
        headers={"Content-Type": "application/json"},
        content=msgspec.json.encode(body),
    )


def apns_answer(result: Result) -> Answer:
    return Answer(
        result.request.token,
        result.id or result.request.id,
        result.status,
        result.outcome.value,
        result.reason or None,
        result.timestamp_ms,
        result.attempts,
        line_of(result.request),
    )


def line_of(request: Request) -> int | None:
    """The line that asked for it."""
    return request.context if isinstance(request.context, int) else None


def api_answer(order: Order, response: httpx.Response) -> Answer:
    if not response.is_success:
        return Answer(order.token, order.id, response.status_code, "refused", reason_in(response))
    body = response.json()
    if order.token is None:
        outcomes = ", ".join(f"{n} {outcome}" for outcome, n in body["outcomes"].items())
        return Answer(None, body["id"], response.status_code, outcomes or "nobody connected")
    result = body["results"][0]
    outcome = "duplicate" if body.get("duplicate") else result["outcome"]
    return Answer(order.token, body["id"], response.status_code, outcome, result.get("reason"))


def _said(order: Order) -> dict[str, Any]:
    """The fields that say something."""
    fields = msgspec.structs.asdict(order)
    return {name: value for name, value in fields.items() if value not in (None, msgspec.Raw())}


def _expiration(order: Order, now: float) -> int | None:
    """The `apns-expiration`; a ttl of 0 is its 0, "now or never"."""
    if order.ttl_s is None:
        return order.expiration
    return int(now + order.ttl_s) if order.ttl_s else 0


def _text_of_string(payload: msgspec.Raw) -> bytes:
    """What the device is to get: of a JSON string its text, else the JSON as it stands."""
    json = bytes(payload).strip()
    return msgspec.json.decode(json, type=str).encode() if json.startswith(b'"') else json
