"""The nodes that are one server, each by itself."""

from __future__ import annotations

import os

import msgspec
from quart import Blueprint, Response
from quart_schema import document_response, tag_blueprint

from trio_push.api.base import Api, current_api, json_response
from trio_push.api.models import NodeFigures, NodesList
from trio_push.api.openapi import may_refuse
from trio_push.capacity import capacity, file_limit
from trio_push.push import State
from trio_push.watch.health import memstats

blueprint = Blueprint("nodes", __name__)
tag_blueprint(blueprint, ["Watching"])

KIND = "node"


@blueprint.get("/v1/nodes")
@document_response(NodesList)
@may_refuse(503)
async def list_nodes() -> Response:
    """List the nodes

    One for each worker of `serve --workers`. `/v1/ledger` and `/metrics` are of all of them, or
    of the one named by `?node=`.
    """
    answers = await current_api().node.whole.ask(KIND)
    decoder = msgspec.json.Decoder(NodeFigures)
    nodes = [
        msgspec.structs.replace(decoder.decode(each.body), worker=each.worker)
        for each in answers.heard
    ]
    nodes.sort(key=lambda each: (each.worker, each.node))
    return json_response(NodesList(nodes, silent=len(answers.silent)))


async def answer(api: Api, _: bytes) -> bytes:
    """The figures of this node."""
    node = api.node
    counts = node.ledger.counts
    return msgspec.json.encode(
        NodeFigures(
            node=node.id,
            worker=0,
            pid=os.getpid(),
            phase=node.phase,
            devices=len(node.directory),
            fit=capacity(node.settings.max_connections, file_limit()).devices,
            accepted=node.ledger.accepted,
            open=sum(counts[state] for state in State if state.is_open),
            memory_bytes=memstats()["in_use_bytes"],
        )
    )
