"""Devices: who is connected, what waits for one, and which tokens get pushes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import msgspec
from quart import Blueprint, Response
from quart_schema import document_querystring, document_response, tag_blueprint

from trio_push.api.base import Api, current_api, json_response, read_query
from trio_push.api.models import Device, DevicesPage, DevicesQuery, Unregistered
from trio_push.api.openapi import may_refuse
from trio_push.wire.tokens import parse_token

if TYPE_CHECKING:
    from trio_push.devices.connection import Connection
    from trio_push.node import Node

blueprint = Blueprint("devices", __name__)
tag_blueprint(blueprint, ["Devices"])

PAGE = "devices"
ONE = "device"


@blueprint.get("/v1/devices")
@document_querystring(DevicesQuery)
@document_response(DevicesPage)
@may_refuse(400)
async def list_devices() -> Response:
    """List the connected devices

    In the order of their tokens, a page at a time.
    """
    query = read_query(DevicesQuery)
    answers = await current_api().node.whole.ask(PAGE, msgspec.json.encode(query))
    decoder = msgspec.json.Decoder(DevicesPage)
    pages = [decoder.decode(each.body) for each in answers.heard]
    return json_response(_merge(pages, query.limit))


async def answer_page(api: Api, body: bytes) -> bytes:
    """A page of the devices of this node alone."""
    directory = api.node.directory
    query = msgspec.json.decode(body, type=DevicesQuery)
    tokens = directory.tokens(query.after, query.limit)
    found = [(token, directory.get(token)) for token in tokens]
    page = DevicesPage(
        total=len(directory),
        devices=[_connected(token, device) for token, device in found if device is not None],
        next=tokens[-1] if len(tokens) == query.limit else None,
    )
    return msgspec.json.encode(page)


def _merge(pages: Sequence[DevicesPage], limit: int) -> DevicesPage:
    """The first `limit` devices of several pages."""
    # A device that has just moved may be on two: the later connection counts.
    devices: dict[str, Device] = {}
    for device in chain.from_iterable(page.devices for page in pages):
        other = devices.get(device.token)
        if other is None or (other.connected_at or 0) < (device.connected_at or 0):
            devices[device.token] = device
    first = [devices[token] for token in sorted(devices)[:limit]]
    return DevicesPage(
        total=sum(page.total for page in pages),
        devices=first,
        next=first[-1].token if len(first) == limit else None,
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


async def answer_one(api: Api, body: bytes) -> bytes:
    """How a device is connected to this node, if it is."""
    token = body.decode()
    return msgspec.json.encode(_connected_here(api.node, token))


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
    """A device, on whichever node it is connected."""
    answers = await node.whole.ask(ONE, token.encode())
    decoder = msgspec.json.Decoder(Device)
    found = [decoder.decode(each.body) for each in answers.heard]
    device = max(found, key=lambda device: device.connected_at or 0)
    waiting = await node.everywhere.waiting(token)
    return msgspec.structs.replace(device, stored=waiting.stored, delayed=waiting.delayed)


def _connected_here(node: Node, token: str) -> Device:
    connection = node.directory.get(token)
    if connection is None:
        return Device(token=token, connected=False, queued=0)
    return _connected(token, connection)


def _connected(token: str, connection: Connection) -> Device:
    return Device(
        token=token,
        connected=True,
        connected_at=connection.connected_at,
        transport=connection.transport.name,
        remote=connection.remote,
        queued=connection.queued,
    )
