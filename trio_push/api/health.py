"""For those who watch the server: is it alive, does it take pushes, and its figures."""

from __future__ import annotations

from quart import Blueprint, Response
from quart_schema import document_response, security_scheme, tag_blueprint

from trio_push.api.base import current_api, json_response
from trio_push.api.models import Health

blueprint = Blueprint("health", __name__)
tag_blueprint(blueprint, ["Watching"])


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
    if node.phase == "ready" and failure is not None:
        return json_response(Health("store_failed", failure), 503)
    return json_response(Health(node.phase), 200 if node.phase == "ready" else 503)


@blueprint.get("/metrics")
async def metrics() -> Response:
    """Get the figures for Prometheus

    In its text format. They are counted from the start of the process.
    """
    text, content_type = current_api().metrics.expose()
    return Response(text, content_type=content_type)
