"""Devices: who is connected, what waits for one, and which tokens get pushes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from quart import Blueprint, Response
from quart_schema import document_querystring, document_response, tag_blueprint

from trio_push.api.base import current_api, json_response, read_query
from trio_push.api.models import Device, DevicesPage, DevicesQuery, Unregistered
from trio_push.api.openapi import may_refuse
from trio_push.wire.tokens import parse_token

if TYPE_CHECKING:
    from trio_push.devices.connection import Connection
    from trio_push.node import Node

blueprint = Blueprint("devices", __name__)
tag_blueprint(blueprint, ["Devices"])


@blueprint.get("/v1/devices")
@document_querystring(DevicesQuery)
@document_response(DevicesPage)
@may_refuse(400)
async def list_devices() -> Response:
    """List the connected devices

    In the order of their tokens, a page at a time.
    """
    directory = current_api().node.directory
    query = read_query(DevicesQuery)
    tokens = directory.tokens(query.after, query.limit)
    found = [(token, directory.get(token)) for token in tokens]
    return json_response(
        DevicesPage(
            total=len(directory),
            devices=[_connected(token, device) for token, device in found if device is not None],
            next=tokens[-1] if len(tokens) == query.limit else None,
        )
    )


@blueprint.get("/v1/devices/<token>")
@document_response(Device)
@may_refuse(400, 410)
async def show_device(token: str) -> Response:
    """Show a device

    Any token may be asked for: one that is not connected and for which nothing waits is not
    known to the server. 410 for one that was unregistered.
    """
    node = current_api().node
    token = parse_token(token)
    node.directory.check(token)
    return json_response(await _device(node, token))


@blueprint.put("/v1/devices/<token>")
@document_response(Device)
@may_refuse(400, 503)
async def register_device(token: str) -> Response:
    """Register a token again

    Pushes to it are taken again. Only a token that was unregistered needs it.
    """
    node = current_api().node
    token = parse_token(token)
    await node.everywhere.register(token)
    return json_response(await _device(node, token))


@blueprint.delete("/v1/devices/<token>")
@document_response(Unregistered)
@may_refuse(400, 503)
async def unregister_device(token: str) -> Response:
    """Unregister a token

    Its device is disconnected, what waits for it is recalled, and from now on pushes to it are
    refused with 410 `Unregistered`. Repeated, it answers the first time's timestamp.
    """
    node = current_api().node
    token = parse_token(token)
    since = await node.everywhere.unregister(token)
    return json_response(Unregistered(token, since))


async def _device(node: Node, token: str) -> Device:
    connection = node.directory.get(token)
    device = Device(token=token, connected=False, queued=0)
    if connection is not None:
        device = _connected(token, connection)
    waiting = await node.everywhere.waiting(token)
    return msgspec.structs.replace(device, stored=waiting.stored, delayed=waiting.delayed)


def _connected(token: str, connection: Connection) -> Device:
    return Device(
        token=token,
        connected=True,
        connected_at=connection.connected_at,
        transport=connection.transport.name,
        remote=connection.remote,
        queued=connection.queued,
    )
