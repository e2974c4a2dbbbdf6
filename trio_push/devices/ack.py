"""`POST /events/ack`: the word of a device that can otherwise only listen.

Asked by HTTP/1.1 and HTTP/2 intake for each request that is no push.
"""

from __future__ import annotations

import msgspec

from trio_push.errors import Refusal
from trio_push.router.router import Router
from trio_push.wire.page import Page, json_page
from trio_push.wire.tokens import parse_token

PATH = b"/events/ack"


class _Ack(msgspec.Struct):
    token: str
    notification_id: str


_decoder = msgspec.json.Decoder(_Ack)


class AckPage:
    """Takes acknowledgements for the devices of one node."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def answer(self, method: bytes, path: bytes, body: bytes) -> Page | None:
        """The answer to a request; None for one that is not for this page."""
        if path != PATH:
            return None
        if method != b"POST":
            return json_page({"reason": "MethodNotAllowed"}, 405)
        try:
            ack = _decoder.decode(body)
            token = parse_token(ack.token)
        except msgspec.DecodeError as error:
            return json_page({"reason": "BadRequest", "detail": str(error)}, 400)
        except Refusal as refusal:
            return json_page({"reason": refusal.reason.name}, refusal.status)
        known = self._router.acknowledge(token, ack.notification_id)
        return json_page({"acknowledged": known}, 200 if known else 404)
