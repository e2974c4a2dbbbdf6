"""Faults on demand: which rules there are; adding and removing them while the server runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
from quart import Blueprint, Response
from quart_schema import document_request, document_response, tag_blueprint

from trio_push.api.base import current_api, json_response, read_json
from trio_push.api.models import ActiveFault, FaultsAdded, FaultScenario, FaultsPage, FaultsRemoved
from trio_push.api.openapi import may_refuse
from trio_push.api.problems import Invalid
from trio_push.engine.rules import Applied
from trio_push.faults import SCENARIOS, Rule, RuleRefused

blueprint = Blueprint("faults", __name__)
tag_blueprint(blueprint, ["Faults"])

_decoder: Final = msgspec.json.Decoder(Rule)
_SCENARIOS: Final = [FaultScenario(each.name, each.meaning) for each in SCENARIOS.values()]


@blueprint.get("/v1/faults")
@document_response(FaultsPage)
async def list_faults() -> Response:
    """List the faults on demand

    The rules of all nodes in the order in which they are tried, how often they were applied,
    and the scenarios there are.
    """
    rules, nodes = await current_api().node.rules.listing()
    return json_response(FaultsPage([_shown(each) for each in rules], nodes, _SCENARIOS))


@blueprint.post("/v1/faults")
@document_request(Rule)
@document_response(ActiveFault, 201)
@may_refuse(400, 409, 413, 415, 503)
async def add_fault() -> Response:
    """Add a fault

    Behind the others, on all nodes. 409 when there is a rule of this name already, or too many.
    """
    [added] = await _add([await read_json(_decoder)])
    return json_response(_shown(added), 201)


@blueprint.delete("/v1/faults")
@document_response(FaultsRemoved)
@may_refuse(503)
async def remove_faults() -> Response:
    """Remove all faults

    From all nodes. What is being delayed or held goes on being so.
    """
    return json_response(FaultsRemoved(await current_api().node.rules.clear()))


@blueprint.delete("/v1/faults/<name>")
@document_response(FaultsRemoved)
@may_refuse(404, 503)
async def remove_fault(name: str) -> Response:
    """Remove a fault

    From all nodes. What is being delayed or held goes on being so.
    """
    if not await current_api().node.rules.remove(name):
        raise Invalid(f"there is no rule named {name}", status=404)
    return json_response(FaultsRemoved(1))


@blueprint.post("/v1/faults/scenarios/<name>")
@document_response(FaultsAdded, 201)
@may_refuse(404, 409, 503)
async def apply_scenario(name: str) -> Response:
    """Apply a scenario

    Adds its rules behind the others, all or none. Answers with those that it added.
    """
    if name not in SCENARIOS:
        raise Invalid(f"there is no scenario {name}: there are {', '.join(SCENARIOS)}", status=404)
    added = await _add(SCENARIOS[name].rules)
    return json_response(FaultsAdded([_shown(each) for each in added]), 201)


async def _add(rules: Iterable[Rule]) -> list[Applied]:
    try:
        return await current_api().node.rules.add(rules)
    except RuleRefused as refused:
        raise Invalid(str(refused), status=409) from refused


def _shown(applied: Applied) -> ActiveFault:
    rule = applied.rule
    return ActiveFault(
        name=rule.name,
        match=rule.match,
        action=rule.action,
        seed=rule.seed,
        times=applied.times,
        age_s=round(applied.age_s, 3),
        nodes=applied.nodes,
    )
