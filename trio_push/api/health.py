"""For those who watch the server: is it alive, does it take pushes, and its figures."""

from __future__ import annotations

from quart import Blueprint, Response
from quart_schema import (
    document_querystring,
    document_response,
    security_scheme,
    tag_blueprint,
)

from trio_push.api.base import Api, answer_of, current_api, json_response, read_query
from trio_push.api.models import Health, NodeQuery
from trio_push.api.openapi import may_refuse
from trio_push.watch.metrics import CONTENT_TYPE
from trio_push.watch.summing import sum_metrics

blueprint = Blueprint("health", __name__)
tag_blueprint(blueprint, ["Watching"])

METRICS = "metrics"


@blueprint.get("/healthz")
@security_scheme([])
@document_response(Health)
async def alive() -> Response:
    """Ask whether it is alive

    Answers as long as the process does.
    """
    return json_response(Health("ok"))


@blueprint.get("/readyz")
@security_scheme([])
@document_response(Health)
@document_response(Health, 503)
async def ready() -> Response:
    """Ask whether it takes pushes

    503 while it starts, while its store cannot be written, and from SIGTERM on.
    """
    node = current_api().node
    failure = node.journal.failure
    if node.phase == "ready" and not node.whole.ready:
        return json_response(Health("starting"), 503)
    if node.phase == "ready" and failure is not None:
        return json_response(Health("store_failed", failure), 503)
    return json_response(Health(node.phase), 200 if node.phase == "ready" else 503)


@blueprint.get("/metrics")
@document_querystring(NodeQuery)
@may_refuse(400, 404, 503)
async def metrics() -> Response:
    """Get the figures for Prometheus

    In its text format. They are counted from the start of the process.
    """
    query = read_query(NodeQuery)
    answers = await current_api().node.whole.ask(METRICS)
    if query.node is not None:
        text = answer_of(answers, query.node)
    else:
        [*texts] = (each.body for each in answers.heard)
        text = texts[0] if len(texts) == 1 else sum_metrics(texts)
    return Response(text, content_type=CONTENT_TYPE)


async def answer_metrics(api: Api, _: bytes) -> bytes:
    """The metrics of this node alone."""
    return api.metrics.expose()
