"""Pushes in: one request with one push, a stream of them, and taking them back."""

from __future__ import annotations

from collections.abc import Sequence

from quart import Blueprint, Response, request
from quart_schema import (
    document_querystring,
    document_request,
    document_response,
    tag_blueprint,
)

from trio_push.api.asgi import PacedBody
from trio_push.api.base import current_api, json_response, read_json, read_query
from trio_push.api.lines import Batch
from trio_push.api.models import LineAnswer, PushAnswer, PushLine, PushQuery, PushRequest, Recalled
from trio_push.api.ndjson import Line
from trio_push.api.openapi import may_refuse
from trio_push.api.problems import Invalid
from trio_push.api.requests import request_decoder
from trio_push.api.stream import AnswerStream
from trio_push.errors import Refusal

blueprint = Blueprint("push", __name__)
tag_blueprint(blueprint, ["Pushes"])

NDJSON = "application/x-ndjson"
_NDJSON_TYPES = (NDJSON, "application/ndjson", "application/jsonl", "application/x-jsonlines")


@blueprint.post("/v1/push")
@document_request(PushRequest)
@document_response(PushAnswer)
@document_querystring(PushQuery)
@may_refuse(400, 404, 408, 409, 410, 413, 415, 503)
async def push() -> Response:
    """Push to a device, to several, or to all

    Answers when every push is where its outcome says. A refused `token` is the error of the
    request; refused ones among `tokens` are among the results, and the others get their push.
    Once it is read a request is carried out, even if its sender hangs up: give it an `id` and
    send it again to learn what became of it. The ids of the last 200,000 pushes are remembered
    for an hour.

    With `wait=ack` it answers when the device has acknowledged the push, or with 408 when it has
    not in time; the push then goes on waiting.
    """
    api = current_api()
    try:
        api.pusher.check_phase()
        query = read_query(PushQuery)
        order = await read_json(request_decoder)
        if query.wait is None:
            answer = await api.carry_out(api.pusher.push, order)
        else:
            answer = await api.carry_out(api.pusher.push_and_wait, order, query.timeout_s)
    except (Refusal, Invalid) as error:
        api.pusher.count_refused(error)
        raise
    return json_response(answer)


@blueprint.post("/v1/pushes")
@document_request(PushLine)
@document_response(LineAnswer)
@may_refuse(415, 503)
async def push_lines() -> Response:
    """Push a stream of any length

    Newline-delimited JSON in both directions, one push to one `token` a line, each line at most
    32 KiB; the answers come while you write, in the order of the lines. A line that is refused
    has an `error` and harms no other. Read while you write, or in a task of your own: answers to
    some 200,000 lines are held for a client that only writes, and a client that neither reads
    nor writes for a minute although it has answers to read is cut off.
    """
    api = current_api()
    api.pusher.check_phase()
    if request.mimetype not in _NDJSON_TYPES:
        raise Invalid(f"the Content-Type has to be {NDJSON}", status=415)

    async def push_some(lines: Sequence[Line]) -> bytes:
        return await api.carry_out(Batch(api.pusher, lines).push)

    assert isinstance(request.body, PacedBody)
    response = Response(
        AnswerStream(request.body, push_some, api.shutdown_began),
        content_type=NDJSON,
        headers={"Cache-Control": "no-store"},
    )
    response.timeout = None  # it takes as long as the request does
    return response


@blueprint.delete("/v1/push/<id>")
@document_response(Recalled)
@may_refuse(404, 503)
async def recall(id: str) -> Response:
    """Recall a push

    Takes back every push with this id that is delayed, or stored for a device that is not
    there. One that is on its way to its device, or has ended, cannot be recalled.
    """
    recalled = await current_api().node.everywhere.recall(id)
    if recalled == 0:
        raise Invalid(f"no push with the id {id!r} is held", status=404)
    return json_response(Recalled(id, recalled))
