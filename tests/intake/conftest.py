from __future__ import annotations

from tests.router.conftest import node, settings
from tests.serving import tls, trust

__all__ = ["node", "settings", "tls", "trust"]
