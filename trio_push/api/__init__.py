"""The HTTP API: a Quart application on Hypercorn's protocols, served by `serve_api`."""

from trio_push.api.app import make_app
from trio_push.api.serve import serve_api

__all__ = ["make_app", "serve_api"]
