"""Who may use the API: where the settings name keys, whoever shows one of them.

Open to all is what tells nothing of devices and pushes: whether the server is well, and how the
API is used.
"""

from __future__ import annotations

from typing import Final

from quart import request

from trio_push.api.base import current_api
from trio_push.api.problems import Invalid, name_of
from trio_push.auth.apikey import shown_key

OPEN: Final = frozenset({"/", "/docs", "/openapi.json", "/healthz", "/readyz"})


async def check_key() -> None:
    """To be called before each request. Raises Invalid with status 401."""
    node = current_api().node
    if node.api_keys is None or request.path in OPEN:
        return
    key = shown_key(request.scope["headers"])
    if not node.api_keys.accept(key):
        detail = "the API key is not one of this server's" if key else "an API key is needed"
        error = Invalid(detail, status=401)
        node.ledger.refuse(name_of(error))
        raise error
