"""`POST /events/ack`: the word of a device that can otherwise only listen."""

from __future__ import annotations

import msgspec

from trio_push.auth.devices import DeviceAuth
from trio_push.errors import Refusal
from trio_push.router.router import Router
from trio_push.wire.page import AnyRequest, Page, json_page
from trio_push.wire.query import split_target

PATH = b"/events/ack"


class _Ack(msgspec.Struct):
    notification_id: str
    token: str = ""


_decoder = msgspec.json.Decoder(_Ack)


class AckPage:
    """Takes acknowledgements for the devices of one node."""

    def __init__(self, router: Router, auth: DeviceAuth) -> None:
        self._router = router
        self._auth = auth

    def answer(self, request: AnyRequest) -> Page | None:
        """The answer to a request; None for one that is not for this page."""
        path, query = split_target(request.target)
        if path != PATH:
            return None
        if request.method != b"POST":
            return json_page({"reason": "MethodNotAllowed"}, 405)
        try:
            ack = _decoder.decode(request.body)
            credentials = self._auth.read(request.headers, query)
            if ack.token:
                credentials = credentials._replace(asked=ack.token.encode())
            token = self._auth.authenticate(credentials).token
        except msgspec.DecodeError as error:
            return json_page({"reason": "BadRequest", "detail": str(error)}, 400)
        except Refusal as refusal:
            return json_page({"reason": refusal.reason.name}, refusal.status)
        if self._router.acks.acknowledge(token, ack.notification_id):
            return json_page({"acknowledged": True})
        if self._router.engine is not None:
            # The device's stream may be another node's. Whether that one knows is not waited for.
            self._router.engine.acknowledge(token, ack.notification_id)
            return json_page({"acknowledged": None}, 202)
        return json_page({"acknowledged": False}, 404)
