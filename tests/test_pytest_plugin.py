"""The fixtures, in projects of others: with and without pytest-trio, asked for or not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOW_TO = ROOT / "docs" / "how-to" / "test-your-own-code.md"

PLAIN = """
import asyncio, urllib.request

def test_sync(push_server):
    url = push_server.url + "/3/device/c0ffee"
    urllib.request.urlopen(url, data=b'{"n": 1}').close()
    assert push_server.wait_for("c0ffee").json == {"n": 1}

def test_every_test_has_its_own(push_server):
    assert push_server.received() == []
"""
TRIO = """
import pytest, trio

@pytest.mark.trio
async def test_trio(trio_push_server):
    host, port = trio_push_server.url.removeprefix("http://").split(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        head = b"POST /3/device/aa HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 1\\r\\n"
        await stream.send_all(head + b"\\r\\nx")
        assert (await trio_push_server.wait_for("aa")).payload == b"x"
"""
SETTINGS = """
import pytest

@pytest.fixture
def push_server_settings():
    return {"api": "127.0.0.1:0"}

def test_api(push_server):
    assert push_server.api_url.startswith("http://127.0.0.1:")
"""
UNUSED = """
import sys

def test_nothing_is_imported():
    assert "trio_push.server" not in sys.modules
"""


def run_pytest(folder: Path, *options: str) -> str:
    """pytest in a project of its own; its output."""
    installed = any(
        each.value == "trio_push.pytest_plugin" for each in metadata.entry_points(group="pytest11")
    )
    plugin = [] if installed else ["-p", "trio_push.pytest_plugin"]
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *plugin, *options, str(folder)],
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{ROOT}", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


def test_it_is_an_entry_point() -> None:
    assert 'trio_push = "trio_push.pytest_plugin"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("test", "passed", "options"),
    [
        (PLAIN, 2, ()),
        (PLAIN, 2, ("-p", "no:trio")),
        (TRIO, 1, ()),
        (SETTINGS, 1, ()),
        (UNUSED, 1, ()),
    ],
)
def test_fixtures(tmp_path: Path, test: str, passed: int, options: tuple[str, ...]) -> None:
    (tmp_path / "test_it.py").write_text(test)
    output = run_pytest(tmp_path, *options)
    assert f"{passed} passed" in output, output


def test_without_pytest_trio(tmp_path: Path) -> None:
    """As where it is not installed: nothing of that name is found."""
    hidden = "import importlib.util as u; f = u.find_spec\n"
    hidden += "u.find_spec = lambda name, *a: None if name == 'pytest_trio' else f(name, *a)\n"
    (tmp_path / "conftest.py").write_text("")
    (tmp_path / "sitecustomize.py").write_text(hidden)
    (tmp_path / "test_it.py").write_text(
        PLAIN + "def test_no(request):\n    import pytest\n"
        "    with pytest.raises(pytest.FixtureLookupError):\n"
        "        request.getfixturevalue('trio_push_server')\n"
    )
    output = run_pytest(tmp_path, "-p", "no:trio")
    assert "3 passed" in output, output


def test_the_examples_of_the_how_to(tmp_path: Path) -> None:
    block = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```", re.MULTILINE | re.DOTALL)
    files = block.findall(HOW_TO.read_text())
    assert len(files) >= 3
    for name, text in files:
        (tmp_path / name).write_text(text)
    output = run_pytest(tmp_path)
    assert re.search(r"^\d+ passed in ", output, re.MULTILINE), output
