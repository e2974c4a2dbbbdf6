"""Makes the Quart application, and says what becomes of its errors."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from werkzeug.exceptions import HTTPException, MethodNotAllowed

from trio_push.api import apns, devices, docs, faults, health, ledger, nodes, push
from trio_push.api.base import Api, json_response
from trio_push.api.keys import check_key
from trio_push.api.openapi import add_openapi
from trio_push.api.problems import CONTENT_TYPE, Invalid, problem_of, retry_after_s
from trio_push.errors import Refusal

if TYPE_CHECKING:
    import trio
    from quart import Response

    from trio_push.node import Node

#: kind of question → what a node answers for itself when another asks on behalf of the whole
ANSWERS: Final = {
    ledger.KIND: ledger.answer,
    nodes.KIND: nodes.answer,
    health.METRICS: health.answer_metrics,
    devices.PAGE: devices.answer_page,
    devices.ONE: devices.answer_one,
}


def make_app(node: Node, shutdown: trio.Event) -> Api:
    """The API of `node`. Streams end, once all they have taken in is answered, at `shutdown`."""
    app = Api(node, shutdown)
    app.before_request(check_key)
    of_profile = [] if node.apns_registry is None else [apns]
    for part in (push, devices, *of_profile, faults, ledger, nodes, health, docs):
        app.register_blueprint(part.blueprint)
    for kind, answer in ANSWERS.items():
        node.answers[kind] = partial(answer, app)
    for error in (Refusal, Invalid, HTTPException):
        app.register_error_handler(error, _problem_response)
    add_openapi(app, needs_key=node.api_keys is not None)
    return app


async def _problem_response(error: Refusal | Invalid | HTTPException) -> Response:
    problem = problem_of(error)
    response = json_response(problem, problem.status, content_type=CONTENT_TYPE)
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    elif problem.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="trio-push"'
    elif (seconds := retry_after_s(error)) is not None:
        response.headers["Retry-After"] = str(seconds)
    return response
