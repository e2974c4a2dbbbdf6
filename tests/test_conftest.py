"""The marker `needs`: skipped with the remedy on a user's machine, failed in CI."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import TOOLS

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent
NEEDS_H2LOAD_AND_GO = """
import pytest

@pytest.mark.needs("h2load", "go")
def test_it(tool):
    assert tool("h2load").endswith("/h2load")
"""


@pytest.fixture
def tools(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A directory that is the whole PATH, beside a test that needs h2load and go."""
    pytester.makeconftest((ROOT / "tests/conftest.py").read_text())
    pytester.makepyfile(NEEDS_H2LOAD_AND_GO)
    folder = tmp_path_factory.mktemp("tools")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CI", raising=False)
    return folder


def add(folder: Path, name: str) -> None:
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(0o755)


def test_a_missing_tool_skips_with_the_command_that_installs_it(
    tools: Path, pytester: pytest.Pytester
) -> None:
    add(tools, "h2load")
    result = pytester.runpytest_inprocess("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines("*needs go: apt install golang-go*")
    assert "nghttp2" not in result.stdout.str()


def test_a_missing_tool_fails_in_ci(
    tools: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines("*needs h2load: apt install nghttp2-client; needs go: *")


@pytest.mark.parametrize("ci", ["true", ""])
def test_with_its_tools_a_test_runs(
    tools: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ci: str
) -> None:
    monkeypatch.setenv("CI", ci)
    add(tools, "h2load")
    add(tools, "go")
    pytester.runpytest_inprocess().assert_outcomes(passed=1)


def test_an_unknown_tool_never_skips(tools: Path, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.needs('gcc')\ndef test_it(): pass")
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_ci_installs_every_tool() -> None:
    script = (ROOT / ".ci/install-tools").read_text()
    for name, tool in TOOLS.items():
        command = tool.install.removeprefix("apt install ")
        for word in [command] if command.startswith("npm") else command.split():
            assert re.search(rf"(?<!\w){re.escape(word)}(?!\w)", script), f"{name}: {word}"
