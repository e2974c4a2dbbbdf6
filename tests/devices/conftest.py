from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from tests.router.conftest import node, settings
from trio_push.tls import dev_context

__all__ = ["node", "settings"]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Settings of a server with a TLS listener beside the plain one."""
    folder = tmp_path_factory.mktemp("tls")
    return {"tls_listen": ("127.0.0.1:0",), "tls_dev": True, "tls_dev_dir": str(folder)}


@pytest.fixture(scope="module")
def trust(tls: dict[str, object]) -> ssl.SSLContext:
    _, ca_file = dev_context(Path(str(tls["tls_dev_dir"])))
    return ssl.create_default_context(cafile=ca_file)
