"""The books of the node."""

from __future__ import annotations

from quart import Blueprint, Response
from quart_schema import document_response, tag_blueprint

from trio_push import __version__
from trio_push.api.base import current_api, json_response
from trio_push.api.models import Books

blueprint = Blueprint("ledger", __name__)
tag_blueprint(blueprint, ["Watching"])


@blueprint.get("/v1/ledger")
@document_response(Books)
async def show_ledger() -> Response:
    """Show the books

    Every push that was accepted is in exactly one place: open, or ended in one outcome.
    """
    node = current_api().node
    books = node.ledger.snapshot(node.router.held())
    return json_response(
        {"node": node.id, "epoch": node.router.epoch, "version": __version__, **books}
    )
