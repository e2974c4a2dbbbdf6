"""A page to read about the API, made from its OpenAPI document; it needs nothing from elsewhere."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any, Final, NamedTuple

from markupsafe import Markup, escape
from quart import Blueprint, Response, render_template, request
from quart_schema import hide

from trio_push import __version__
from trio_push.api.base import current_api, json_response
from trio_push.wire.reasons import REASONS

blueprint = Blueprint("docs", __name__, template_folder="templates")

#: JSON Schema, and the parts of OpenAPI that contain it
Schema = dict[str, Any]

LINKS: Final = {
    "docs": "/docs",
    "openapi": "/openapi.json",
    "push": "/v1/push",
    "pushes": "/v1/pushes",
    "devices": "/v1/devices",
    "faults": "/v1/faults",
    "ledger": "/v1/ledger",
    "nodes": "/v1/nodes",
    "metrics": "/metrics",
    "healthz": "/healthz",
    "readyz": "/readyz",
}


@blueprint.get("/")
@hide
async def index() -> Response:
    node = current_api().node
    return json_response(
        {"name": "trio-push", "version": __version__, "node": node.id, "links": LINKS}
    )


@blueprint.get("/docs")
@hide
async def page() -> str:
    document = current_api().extensions["QUART_SCHEMA"].openapi_provider.schema()
    return await render_template(
        "docs.html",
        info=document["info"],
        needs_key="security" in document,
        sections=sections_of(document, request.host_url),
        reasons=sorted(REASONS.values(), key=lambda reason: (reason.status, reason.name)),
    )


class Field(NamedTuple):
    """One row of a table of fields or parameters."""

    name: str
    type: str
    required: bool
    description: str
    default: str


class Body(NamedTuple):
    """What goes in or comes out."""

    status: int | None
    media_type: str
    description: str
    fields: list[Field]


class Operation(NamedTuple):
    """A method of a path."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    parameters: list[Field]
    request: Body | None
    answers: list[Body]
    refusals: list[int]
    curl: str


def sections_of(document: Schema, base_url: str) -> list[tuple[Schema, list[Operation]]]:
    """The operations of each tag, in the order of the document."""
    operations = [
        (operation, _operation(document, base_url, method, path, operation))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return [
        (tag, [shown for operation, shown in operations if tag["name"] in operation["tags"]])
        for tag in document["tags"]
    ]


def _operation(
    document: Schema, base_url: str, method: str, path: str, operation: Schema
) -> Operation:
    answers, refusals = [], []
    for status, answer in sorted(operation["responses"].items()):
        if "application/problem+json" in answer["content"]:
            refusals.append(status)
        else:
            answers.append(_body(document, answer, int(status)))
    body = operation.get("requestBody")
    needs_key = bool(operation.get("security", document.get("security")))
    return Operation(
        operation["operationId"],
        method.upper(),
        path,
        operation["summary"],
        operation["description"],
        [_field(p["name"], p["schema"], p) for p in operation["parameters"]],
        _body(document, body, None) if body else None,
        answers,
        refusals,
        _curl(base_url, method, path, body, needs_key=needs_key),
    )


def _body(document: Schema, body: Schema, status: int | None) -> Body:
    [(media_type, content)] = body["content"].items()
    fields = _fields(document, content["schema"]) if "schema" in content else []
    return Body(status, media_type, body.get("description", ""), fields)


def _fields(document: Schema, ref: Schema, inside: str = "") -> list[Field]:
    """A row for each field of a shape, and after a list of shapes those of its items."""
    shape = document["components"]["schemas"][_name(ref["$ref"])]
    required = shape.get("required", [])
    rows = []
    for name, schema in shape["properties"].items():
        rows.append(_field(inside + name, schema, {"required": name in required}))
        if "$ref" in schema.get("items", {}):
            rows += _fields(document, schema["items"], f"{name}[].")
    return rows


def _field(name: str, schema: Schema, more: Schema) -> Field:
    default = schema.get("default")
    return Field(
        name,
        _type(schema),
        more.get("required", False),
        more.get("description") or schema.get("description", ""),
        "" if default in (None, "", []) else json.dumps(default),
    )


def _type(schema: Schema) -> str:
    """A schema's type in words; null is left out, since not giving a field is the same."""
    if "anyOf" in schema:
        return " or ".join(_type(s) for s in schema["anyOf"] if s.get("type") != "null")
    if "enum" in schema:
        return ", ".join(map(str, sorted(schema["enum"], reverse=True)))
    if "$ref" in schema:
        return _name(schema["$ref"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}s"
    if schema.get("type") == "object":
        return f"{_type(schema['additionalProperties'])} by name"
    return str(schema.get("type", "any JSON"))


def _name(ref: str) -> str:
    return ref.rpartition("/")[2]


def _curl(base_url: str, method: str, path: str, body: Schema | None, *, needs_key: bool) -> str:
    words = ["curl"]
    if method != "get":
        words += ["-X", method.upper()]
    url = base_url.rstrip("/") + path.replace("{token}", "00aa11bb").replace("{id}", "my-id")
    words.append(url)
    if body is not None:
        [(media_type, content)] = body["content"].items()
        words += ["-H", f"Content-Type: {media_type}", "-d", json.dumps(content["example"])]
    # in quotes in which the shell sees the variable
    return shlex.join(words) + needs_key * ' -H "Authorization: Bearer $TRIO_PUSH_API_KEY"'


@blueprint.app_template_filter()
def prose(text: str) -> Markup:
    """Text with `code` in it, as HTML."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
