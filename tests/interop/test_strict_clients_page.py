"""The page that `trio-push apns-credentials` writes: what it says of clients works as it stands."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent
from typing import Any
from urllib.parse import urlsplit

import pytest
from aioapns.connection import APNsProductionClientProtocol

from tests.interop.conftest import ENVIRONMENT, JS, run
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


def test_our_own_commands(
    example: Callable[[str], str], strict: Strict, token: str, tmp_path: Path
) -> None:
    """Each as it stands; a swarm also needs to be told where its devices go."""
    trust, *commands = _commands_of(example("trio-push"))
    assert trust.startswith("export SSL_CERT_FILE=")
    environment = {"TRIO_PUSH_SWARM_URL": strict.server.plain}
    environment |= {"TRIO_PUSH_SWARM_DURATION": "300ms", "TRIO_PUSH_SWARM_DEVICES": "200"}
    environment |= {"SSL_CERT_FILE": strict.server.ca, "PATH": str(tmp_path)}
    (tmp_path / "trio-push").write_text(f'#!/bin/sh\nexec {sys.executable} -m trio_push "$@"\n')
    (tmp_path / "trio-push").chmod(0o755)
    alert, mdm, swarm = commands
    for command, to, payload in ((alert, token, b"Hello"), (mdm, token[::-1], b"magic")):
        with Device(strict.server, to) as device:
            assert "accepted" in run("/bin/sh", "-c", command, **environment | {"TOKEN": to})
            assert payload in device.pings(1)[0]
    said = run("/bin/sh", "-c", swarm, **environment)
    assert " 0 refused" in said


def _commands_of(code: str) -> list[str]:
    return code.replace("\\\n", " ").splitlines()


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
