"""Faults on demand: which rules there are; adding and removing them while the server runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import msgspec
import trio
from quart import Blueprint, Response
from quart_schema import document_request, document_response, tag_blueprint

from trio_push.api.base import current_api, json_response, read_json
from trio_push.api.models import ActiveFault, FaultScenario, FaultsPage, FaultsRemoved
from trio_push.api.openapi import may_refuse
from trio_push.api.problems import Invalid
from trio_push.faults import SCENARIOS, Rule, RuleRefused

if TYPE_CHECKING:
    from trio_push.faults.active import ActiveRule

blueprint = Blueprint("faults", __name__)
tag_blueprint(blueprint, ["Faults"])

_decoder: Final = msgspec.json.Decoder(Rule)
_SCENARIOS: Final = [FaultScenario(each.name, each.meaning) for each in SCENARIOS.values()]


@blueprint.get("/v1/faults")
@document_response(FaultsPage)
async def list_faults() -> Response:
    """List the faults on demand

    The rules of this node in the order in which they are tried, and the scenarios there are.
    """
    return json_response(_page(current_api().node.faults.active))


@blueprint.post("/v1/faults")
@document_request(Rule)
@document_response(ActiveFault, 201)
@may_refuse(400, 409, 413, 415)
async def add_fault() -> Response:
    """Add a fault

    Behind the others. 409 when there is a rule of this name already, or too many.
    """
    [added] = _add([await read_json(_decoder)])
    return json_response(_shown(added), 201)


@blueprint.delete("/v1/faults")
@document_response(FaultsRemoved)
async def remove_faults() -> Response:
    """Remove all faults

    What is being delayed or held goes on being so.
    """
    return json_response(FaultsRemoved(current_api().node.faults.clear()))


@blueprint.delete("/v1/faults/<name>")
@document_response(FaultsRemoved)
@may_refuse(404)
async def remove_fault(name: str) -> Response:
    """Remove a fault

    What is being delayed or held goes on being so.
    """
    if not current_api().node.faults.remove(name):
        raise Invalid(f"there is no rule named {name}", status=404)
    return json_response(FaultsRemoved(1))


@blueprint.post("/v1/faults/scenarios/<name>")
@document_response(FaultsPage, 201)
@may_refuse(404, 409)
async def apply_scenario(name: str) -> Response:
    """Apply a scenario

    Adds its rules behind the others, all or none. Answers with those that it added.
    """
    if name not in SCENARIOS:
        raise Invalid(f"there is no scenario {name}: there are {', '.join(SCENARIOS)}", status=404)
    return json_response(_page(_add(SCENARIOS[name].rules)), 201)


def _add(rules: Iterable[Rule]) -> list[ActiveRule]:
    try:
        return current_api().node.faults.add(rules, trio.current_time())
    except RuleRefused as refused:
        raise Invalid(str(refused), status=409) from refused


def _page(rules: Iterable[ActiveRule]) -> FaultsPage:
    return FaultsPage([_shown(each) for each in rules], _SCENARIOS)


def _shown(active: ActiveRule) -> ActiveFault:
    rule = active.rule
    return ActiveFault(
        name=rule.name,
        match=rule.match,
        action=rule.action,
        seed=rule.seed,
        times=active.times,
        age_s=round(trio.current_time() - active.added_at, 3),
    )
