"""The books of the node, or of all workers."""

from __future__ import annotations

from typing import Any

import msgspec
from quart import Blueprint, Response
from quart_schema import document_querystring, document_response, tag_blueprint

from trio_push import __version__
from trio_push.api.base import Api, answer_of, current_api, json_response, read_query
from trio_push.api.models import Books, NodeQuery
from trio_push.api.openapi import may_refuse
from trio_push.push import State
from trio_push.watch.ledger import Ledger
from trio_push.watch.summing import settle_between, sum_books
from trio_push.watch.whole import Answers, Figures, Whole

blueprint = Blueprint("ledger", __name__)
tag_blueprint(blueprint, ["Watching"])

KIND = "ledger"


@blueprint.get("/v1/ledger")
@document_querystring(NodeQuery)
@document_response(Books)
@may_refuse(400, 404, 503)
async def show_ledger() -> Response:
    """Show the books

    Every push that was accepted is in exactly one place: open, or ended in one outcome.
    """
    node = current_api().node
    whole = node.whole
    query = read_query(NodeQuery)
    answers = await whole.ask(KIND)
    if query.node is not None:
        books = msgspec.json.decode(answer_of(answers, query.node))
    else:
        books = _sum(answers, whole)
    living = 1 if node.engine is None else len(node.engine.members.living)
    elsewhere = max(living - books["nodes"], 0)
    return json_response({"version": __version__, **books, "elsewhere": elsewhere})


async def answer(api: Api, _: bytes) -> bytes:
    """The books of this node alone."""
    node = api.node
    books = node.ledger.snapshot(node.router.held())
    return msgspec.json.encode(
        {"node": node.id, "epoch": node.router.epoch, **books, "nodes": 1, "silent": 0}
    )


def _sum(answers: Answers, whole: Whole) -> dict[str, Any]:
    heard = [msgspec.json.decode(each.body) for each in answers.heard]
    # Nodes that share a store share its epoch.
    epochs = {books.pop("epoch") for books in heard}
    for books in heard:
        del books["node"]
    unheard = [_books(figures) for figures in answers.silent]
    summed = sum_books([*heard, *unheard, _books(whole.past())])
    if any(each.worker for each in answers.heard):
        settle_between(summed)
    return {
        "node": whole.id,
        "epoch": epochs.pop() if len(epochs) == 1 else whole.id,
        **summed,
        "nodes": len(heard) + len(unheard),
        "silent": len(unheard),
    }


def _books(figures: Figures) -> dict[str, Any]:
    """What is known without asking, as books."""
    ledger = Ledger(list(figures.counts), list(figures.origins))
    ledger.accepted = figures.accepted
    return ledger.snapshot({state: ledger.counts[state] for state in State})
