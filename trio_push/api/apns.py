"""What the strict profile of APNs knows of providers and device tokens: shown and changed.

Registered when the server has that profile. A change holds at all nodes until the last of them
ends; the file of `--apns-credentials` is not written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from quart import Blueprint, Response
from quart_schema import document_request, document_response, tag_blueprint

from trio_push.api.base import current_api, json_response, read_json
from trio_push.api.models import ApnsKnown, KeyBody, TeamBody, TokenBody
from trio_push.api.openapi import may_refuse
from trio_push.api.problems import Invalid, invalid_from
from trio_push.auth.apns_registry import KeyRecord, TeamRecord, TokenRecord
from trio_push.errors import ConfigError
from trio_push.wire.tokens import parse_token

if TYPE_CHECKING:
    from trio_push.auth.apns_registry import Registry
    from trio_push.engine.providers import Providers

blueprint = Blueprint("apns", __name__)
tag_blueprint(blueprint, ["APNs"])

_read_key: Final = msgspec.json.Decoder(KeyBody)
_read_team: Final = msgspec.json.Decoder(TeamBody)
_read_token: Final = msgspec.json.Decoder(TokenBody)

R = TypeVar("R", bound=msgspec.Struct)


@blueprint.get("/v1/apns")
@document_response(ApnsKnown)
async def show_apns() -> Response:
    """Show what the strict profile knows

    Device tokens are counted; one is shown by its own path.
    """
    registry = _registry()
    return json_response(
        ApnsKnown(
            environment=current_api().node.settings.apns_environment,
            keys=registry.list_keys(),
            teams=registry.list_teams(),
            tokens=registry.count_tokens(),
        )
    )


@blueprint.put("/v1/apns/keys/<key_id>")
@document_request(KeyBody)
@document_response(KeyRecord)
@may_refuse(400, 503)
async def put_key(key_id: str) -> Response:
    """Add or replace a key of provider tokens

    Connections that use the key that was there have to show another token.
    """
    body = await read_json(_read_key)
    record = _record(KeyRecord, body, key_id=key_id)
    try:
        await _providers().put_key(record)
    except ConfigError as error:
        raise Invalid(str(error), field="public_key") from None
    return json_response(record)


@blueprint.delete("/v1/apns/keys/<key_id>")
@document_response(KeyRecord)
@may_refuse(404, 503)
async def delete_key(key_id: str) -> Response:
    """Take a key away

    Tokens that it has signed are invalid from now on.
    """
    return _found(await _providers().drop_key(key_id), "key")


@blueprint.put("/v1/apns/teams/<team_id>")
@document_request(TeamBody)
@document_response(TeamRecord)
@may_refuse(400, 503)
async def put_team(team_id: str) -> Response:
    """Say what a team may push to

    Of a team that is not known any topic is taken.
    """
    body = await read_json(_read_team)
    record = _record(TeamRecord, body, team_id=team_id)
    await _providers().put_team(record)
    return json_response(record)


@blueprint.delete("/v1/apns/teams/<team_id>")
@document_response(TeamRecord)
@may_refuse(404, 503)
async def delete_team(team_id: str) -> Response:
    """Forget what a team may push to

    From now on that is everything.
    """
    return _found(await _providers().drop_team(team_id), "team")


@blueprint.put("/v1/apns/tokens/<token>")
@document_request(TokenBody)
@document_response(TokenRecord)
@may_refuse(400, 503)
async def put_token(token: str) -> Response:
    """Say what a device token is for

    Pushes for another topic or environment, or after it has expired, are refused.
    """
    body = await read_json(_read_token)
    record = _record(TokenRecord, body, token=token)
    return json_response(await _providers().put_token(record))


@blueprint.get("/v1/apns/tokens/<token>")
@document_response(TokenRecord)
@may_refuse(400, 404)
async def show_token(token: str) -> Response:
    """Show what is known of a device token"""
    return _found(_registry().token(parse_token(token)), "token")


@blueprint.delete("/v1/apns/tokens/<token>")
@document_response(TokenRecord)
@may_refuse(400, 404, 503)
async def delete_token(token: str) -> Response:
    """Forget what is known of a device token

    From now on it is for everything.
    """
    return _found(await _providers().drop_token(parse_token(token)), "token")


def _registry() -> Registry:
    registry = current_api().node.apns_registry
    assert registry is not None, "the blueprint is registered with a registry alone"
    return registry


def _providers() -> Providers:
    providers = current_api().node.providers
    assert providers is not None, "as there is a registry"
    return providers


def _record(kind: type[R], body: msgspec.Struct, **ids: str) -> R:
    """The record that a request asks for: its body, and what its path says. Raises Invalid."""
    fields: dict[str, Any] = msgspec.structs.asdict(body)
    try:
        return msgspec.convert(fields | ids, kind)
    except msgspec.ValidationError as exc:
        raise invalid_from(exc) from exc


def _found(record: R | None, what: str) -> Response:
    if record is None:
        raise Invalid(f"there is no such {what}", status=404)
    return json_response(record)
