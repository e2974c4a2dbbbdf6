"""Faults on demand of requests: what is to befall one, and how long it takes until then.

Asked by the HTTP/1.1 and the HTTP/2 side while there are rules for requests, before anything
else is looked at: a fault does not depend on whether the request is right.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Sequence
from typing import Final, NamedTuple

import trio

from trio_push.faults.actions import (
    Delay,
    GoAway,
    Hold,
    MaxStreams,
    ResetStream,
    Status,
    TcpReset,
)
from trio_push.faults.active import Subject
from trio_push.faults.book import Fault
from trio_push.ids import new_id
from trio_push.intake.apns import Answer
from trio_push.node import Node
from trio_push.sockets import has_left
from trio_push.wire.apns import PUSHES, is_uuid
from trio_push.wire.page import AnyRequest

#: seconds between two looks at whether a peer that gets no answer is still there
_LOOK_S: Final = 0.5


class Fate(NamedTuple):
    """What befalls one request."""

    #: seconds until anything else happens; math.inf: nothing else does
    wait_s: float = 0.0
    #: the limit on streams of its connection from now on
    max_streams: int | None = None
    #: what happens instead of an answer, or beside it; None: it is served as always
    end: Status | ResetStream | GoAway | TcpReset | None = None

    @property
    def is_processed(self) -> bool:
        """Whether the push is accepted and its sender is not told."""
        return isinstance(self.end, ResetStream | TcpReset) and self.end.processed


def fate_of(faults: Sequence[Fault]) -> Fate:
    fate = Fate()
    for fault in faults:
        match fault.action:
            case Delay(latency):
                fate = fate._replace(wait_s=fate.wait_s + fault.sample_s(latency))
            case Hold(for_s):
                wait_s = math.inf if for_s is None else fate.wait_s + for_s
                fate = fate._replace(wait_s=wait_s)
            case MaxStreams(streams):
                fate = fate._replace(max_streams=streams)
            case Status() | ResetStream() | GoAway() | TcpReset() as end:
                fate = fate._replace(end=end)
    return fate


class Fates:
    """Decides for the requests of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def threaten(self) -> bool:
        """Whether anything may befall a request at all."""
        return self._node.faults.requests is not None

    def of(self, request: AnyRequest, *, is_http2: bool) -> Fate | None:
        """What befalls a request; None: it is served as always."""
        bench = self._node.faults.requests
        if bench is None or not request.target.startswith(PUSHES):
            return None
        token = request.target[len(PUSHES) :].decode("ascii", "replace").lower()
        topic = (_header(request, b"apns-topic")).decode("utf-8", "backslashreplace")
        faults = bench.judge(trio.current_time(), Subject(token, topic, is_http2))
        return fate_of(faults) if faults else None

    def refuse(self, request: AnyRequest, why: Status) -> Answer:
        """The answer to a request that is refused on demand."""
        self._node.ledger.refuse(why.reason)
        timestamp = b""
        if why.http_status == 410:
            timestamp = b',"timestamp":%d' % ((self._node.clock.wall() - why.since_s) * 1000)
        body = b'{"reason":"%b"%b}\n' % (why.reason.encode(), timestamp)
        return Answer(why.http_status, _apns_id(request), body, why.retry_after_s)


def _apns_id(request: AnyRequest) -> bytes:
    given = _header(request, b"apns-id")
    return given if is_uuid(given) else new_id().encode()


def _header(request: AnyRequest, name: bytes) -> bytes:
    return next((value for each, value in request.headers if each == name), b"")


async def outlast(sock: socket.socket, wait_s: float) -> None:
    """Wait so long before an answer. Raises trio.ClosedResourceError when the peer has gone."""
    until = trio.current_time() + wait_s
    while (left_s := until - trio.current_time()) > 0:
        await trio.sleep(min(_LOOK_S, left_s))
        if has_left(sock):
            raise trio.ClosedResourceError
