from __future__ import annotations

from tests.router.conftest import node, settings

__all__ = ["node", "settings"]
