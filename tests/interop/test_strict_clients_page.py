"""The page that `trio-push apns-credentials` writes: what it says of clients works as it stands."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent
from typing import Any
from urllib.parse import urlsplit

import pytest
from aioapns.connection import APNsProductionClientProtocol

from tests.interop.conftest import ENVIRONMENT, JS
from tests.interop.running import Device
from tests.interop.strict import Strict
from tests.serving import PATIENCE_S
from trio_push.commands.apns_credentials import CredentialSet


@pytest.fixture
def example(
    strict: Strict, strict_files: tuple[CredentialSet, Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], str]:
    """The code that stands under a heading, for this server."""
    monkeypatch.setenv("SSL_CERT_FILE", strict.server.ca)
    page = (strict_files[1] / "clients.md").read_text()

    def code_of(heading: str) -> str:
        section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
        lines = [line for line in section.splitlines() if line.startswith("    ")]
        code = dedent("\n".join(lines)).replace('"ca.pem"', f'"{strict.server.ca}"')
        return code.replace("8443", str(urlsplit(strict.server.tls).port))

    return code_of


@pytest.mark.parametrize("heading", ["aioapns", "kalyke", "httpx"])
def test_python(
    example: Callable[[str], str],
    strict: Strict,
    token: str,
    heading: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("APNS_SERVER", "APNS_PORT"):  # which the example sets
        monkeypatch.setattr(
            APNsProductionClientProtocol, name, getattr(APNsProductionClientProtocol, name)
        )
    known: dict[str, Any] = {"token": token}
    body = indent(example(heading), "    ")
    exec(f"async def main():\n{body}\n    return client", known)

    async def main() -> None:
        client = await known["main"]()
        if heading == "aioapns":
            client.pool.close()
            await asyncio.sleep(0.01)  # what close() began ends in the loop
        elif heading == "httpx":
            client.close()

    with Device(strict.server, token) as device:
        asyncio.run(main())
        assert b"Hello" in device.pings(1)[0]


@pytest.mark.needs("node", "npm-packages")
def test_node_apn(
    example: Callable[[str], str], strict: Strict, token: str, tool: Callable[[str], str]
) -> None:
    send = example("@parse/node-apn")
    code = f'const token = "{token}";\n{send}\nawait provider.shutdown();'
    with Device(strict.server, token) as device:
        subprocess.run(
            [tool("node"), "--input-type=module", "-e", code],
            cwd=JS,
            env=ENVIRONMENT,
            timeout=PATIENCE_S,
            check=True,
        )
        assert b"Hello" in device.pings(1)[0]
