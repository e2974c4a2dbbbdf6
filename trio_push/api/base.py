"""What the handlers of the API share: the application, the way in for JSON and the way out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple, cast

import msgspec
import outcome
import structlog
import trio
from quart import Response, current_app, request
from quart_trio import QuartTrio
from werkzeug.exceptions import InternalServerError, RequestEntityTooLarge

from trio_push.api.asgi import ApiRequest, HttpConnection
from trio_push.api.problems import Invalid, invalid_from
from trio_push.api.pusher import Pusher
from trio_push.api.requests import decode
from trio_push.errors import Refusal
from trio_push.watch.metrics import Metrics
from trio_push.watch.whole import Answers
from trio_push.wire.reasons import SHUTDOWN

if TYPE_CHECKING:
    from types import TracebackType

    from trio_push.node import Node

#: bytes of a body that is read whole: 100,000 tokens of 64 digits, and some to spare
MAX_BODY_BYTES: Final = 16 * 2**20

log = structlog.get_logger()

R = TypeVar("R")
T = TypeVar("T", bound=msgspec.Struct)
Ts = TypeVarTuple("Ts")


class Api(QuartTrio):
    """The application of one node."""

    asgi_http_class = HttpConnection
    request_class = ApiRequest

    def __init__(self, node: Node, shutdown: trio.Event) -> None:
        super().__init__("trio_push.api", static_folder=None)
        self.node = node
        #: set when the server is to end
        self.shutdown_began = shutdown
        self.pusher = Pusher(node)
        self.metrics = Metrics(node)
        self.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES

    async def carry_out(self, work: Callable[[*Ts], Awaitable[R]], *args: *Ts) -> R:
        """Do `work` to its end, even when the request is cancelled meanwhile.

        Returns and raises what it does; raises Refusal(SHUTDOWN) when the application ends first.
        """
        done = trio.Event()
        result: outcome.Outcome[R] | None = None

        async def carry() -> None:
            nonlocal result
            try:
                result = outcome.Value(await work(*args))
            except (Refusal, Invalid) as exc:
                result = outcome.Error(exc)
            except Exception:
                # Here, because the request that would log it may be gone.
                log.exception("request_failed")
                result = outcome.Error(InternalServerError())
            finally:
                done.set()

        self.nursery.start_soon(carry)
        await done.wait()
        if result is None:
            raise Refusal(SHUTDOWN)
        return result.unwrap()

    def log_exception(
        self,
        exception_info: tuple[type, BaseException, TracebackType] | tuple[None, None, None],
    ) -> None:
        log.error("request_failed", path=request.path, exc_info=exception_info)


def current_api() -> Api:
    """The application that handles the current request; it may be kept for after it."""
    return cast(Api, current_app._get_current_object())  # type: ignore[attr-defined]  # a proxy


async def read_json(decoder: msgspec.json.Decoder[T]) -> T:
    """The body of the current request; raises Invalid."""
    if request.mimetype != "application/json" and not request.mimetype.endswith("+json"):
        # Not only pedantry: a page on another site can post forms and plain text without asking.
        raise Invalid("the Content-Type has to be application/json", status=415)
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise _too_large()
    try:
        return decode(
            decoder, await request.get_data(cache=False, as_text=False, parse_form_data=False)
        )
    except RequestEntityTooLarge:
        raise _too_large() from None


def read_query(shape: type[T]) -> T:
    """The query of the current request; raises Invalid."""
    try:
        return msgspec.convert(request.args.to_dict(), shape, strict=False)
    except msgspec.ValidationError as exc:
        raise invalid_from(exc) from exc


def answer_of(answers: Answers, node: str) -> bytes:
    """What the node of that id has answered; raises Invalid with 404 when it has not."""
    for each in answers.heard:
        if each.node == node:
            return each.body
    raise Invalid(f"there is no node {node!r} that answers", status=404, field="node")


def _too_large() -> Invalid:
    return Invalid(f"the body has more than {MAX_BODY_BYTES} bytes", status=413)


def json_response(
    value: Any,  # whatever msgspec encodes
    status: int = 200,
    *,
    content_type: str = "application/json",
) -> Response:
    return Response(msgspec.json.encode(value), status, content_type=content_type)
