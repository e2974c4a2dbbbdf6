"""The OpenAPI document, made by quart-schema from the handlers and the shapes they name.

quart-schema knows JSON bodies alone and puts every shape where it is used; here the shapes are
named once, and bodies may be problems or streams.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from quart_schema import (
    APIKeySecurityScheme,
    HttpSecurityScheme,
    Info,
    OpenAPIProvider,
    QuartSchema,
    Tag,
    document_response,
)
from quart_schema.validation import DataSource

from trio_push import __version__
from trio_push.api.models import KeyBody, LineAnswer, PushLine, PushRequest, TeamBody, TokenBody
from trio_push.api.problems import Problem
from trio_push.faults.rules import Rule as FaultRule

if TYPE_CHECKING:
    from quart_trio import QuartTrio
    from werkzeug.routing import BaseConverter, Rule

_REF: Final = "#/components/schemas/{name}"

#: what is not plain JSON
_MEDIA_TYPES: Final[dict[type, str]] = {
    Problem: "application/problem+json",
    PushLine: "application/x-ndjson",
    LineAnswer: "application/x-ndjson",
}

_EXAMPLES: Final[dict[type, Any]] = {
    PushRequest: {"token": "00aa11bb", "payload": {"aps": {"alert": "Hello"}}, "delay_s": 5},
    PushLine: {"token": "00aa11bb", "payload": "Hello"},
    KeyBody: {"team_id": "TEAM000001", "public_key": "-----BEGIN PUBLIC KEY-----\n…"},
    TeamBody: {"topics": ["com.example.app"]},
    TokenBody: {"topics": ["com.example.app"], "expired_at": 1700000000},
    FaultRule: {
        "name": "lossy",
        "match": {"share": 0.1, "token_prefix": "00aa"},
        "action": {"kind": "lose"},
    },
}

#: how an API key may be shown
_SECURITY: Final = {
    "bearer": HttpSecurityScheme(scheme="bearer"),
    "header": APIKeySecurityScheme(name="X-API-Key", in_="header"),
}

_PARAMETERS: Final = {
    "token": "The device token: an even number of hex digits.",
    "id": "The id of the push: yours, or the one it was given.",
    "key_id": "The id of the key: `kid` in the tokens that it signs.",
    "team_id": "The id of the team: `iss` in its tokens.",
    "name": "The name of the rule, or of the scenario.",
}

_APNS_TAG: Final = Tag("APNs", "What the strict profile knows of providers and device tokens.")

F = TypeVar("F", bound=Callable[..., Any])


def may_refuse(*statuses: int) -> Callable[[F], F]:
    """Documents the statuses of the problems that a handler answers with."""

    def decorate(handler: F) -> F:
        for status in statuses:
            handler = document_response(Problem, status)(handler)
        return handler

    return decorate


def add_openapi(app: QuartTrio, *, needs_key: bool) -> None:
    """Serve the document of the handlers registered so far, at /openapi.json."""
    QuartSchema(
        app,
        openapi_path="/openapi.json",
        redoc_ui_path=None,
        scalar_ui_path=None,
        swagger_ui_path=None,
        info=Info(
            title="trio-push",
            version=__version__,
            description="Push to devices, see who is connected, and account for every push.",
        ),
        tags=[
            Tag("Pushes", "Push to devices, now or later, and take back what is not delivered."),
            Tag("Devices", "Who is connected, and who gets no pushes."),
            *([_APNS_TAG] if "apns" in app.blueprints else []),
            Tag("Faults", "Have things go wrong, on demand."),
            Tag("Watching", "The books, and how the server is."),
        ],
        security_schemes=dict(_SECURITY) if needs_key else None,
        security=[{name: []} for name in _SECURITY] if needs_key else None,
        conversion_preference="msgspec",
        openapi_provider_class=_Provider,
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the order is the author's


class _Provider(OpenAPIProvider):
    """Names each shape once, under components."""

    def build_request_body(
        self, model: Any, source: DataSource
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        content, components = _content(model)
        return {"required": True, "content": content}, components

    def build_response_object(
        self, model: Any, headers_model: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        content, components = _content(model)
        return {"description": inspect.getdoc(model) or "", "content": content}, components

    def build_path_parameter(self, name: str, converter: BaseConverter) -> dict[str, Any]:
        parameter = super().build_path_parameter(name, converter)
        return {**parameter, "description": _PARAMETERS[name]}

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        paths, components = super().build_paths(rule)
        for operations in paths.values():
            for operation in operations.values():
                operation["description"] = operation.get("description", "").strip()
                # OpenAPI asks for one; text that is no JSON has no shape
                operation["responses"] = operation["responses"] or {
                    "200": {"description": "Text.", "content": {"text/plain": {}}}
                }
        return paths, components

    def operation_id(self, method: str, path: str, func: Callable[..., Any]) -> str:
        return func.__name__


def _content(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    [schema], components = msgspec.json.schema_components([model], ref_template=_REF)
    body = {"schema": schema}
    if model in _EXAMPLES:
        body["example"] = _EXAMPLES[model]
    return {_MEDIA_TYPES.get(model, "application/json"): body}, components
