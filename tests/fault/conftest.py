from __future__ import annotations

from tests.serving import tls, trust

__all__ = ["tls", "trust"]
