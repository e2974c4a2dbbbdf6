"""What every test may use: the marker `needs`, `--transport`, hypothesis without a deadline.

    @pytest.mark.needs("curl", "h2load")
    def test_…(tool): subprocess.run([tool("curl"), …])

A test that needs a tool from outside PyPI is skipped where the tool is missing, with the
command that installs it as the reason. With CI=true it fails instead: there, everything is
installed (by .ci/install-tools), and a test that quietly did not run shows nothing.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import hypothesis
import pytest
import structlog

# How long one example takes says nothing on a machine that runs other things too. All else is
# as hypothesis has it, which in CI is to try the same examples each time.
hypothesis.settings.register_profile(
    "trio-push", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("trio-push")

JS_PACKAGES = Path(__file__).parent / "interop" / "js" / "node_modules"
AUTOBAHN = Path(__file__).parent / "interop" / ".autobahn"


class Tool(NamedTuple):
    """A tool from outside PyPI: how to get it, and the names it goes by."""

    install: str
    #: commands, any of which will do, or files
    found_as: tuple[str, ...]


TOOLS = {
    "autobahn": Tool(".ci/install-autobahn", (str(AUTOBAHN / "bin" / "wstest"),)),
    "chromium": Tool("apt install chromium", ("chromium", "chromium-browser", "google-chrome")),
    "curl": Tool("apt install curl", ("curl",)),
    # a command of its own, or the plugin that `docker compose` runs
    "docker-compose": Tool(
        "apt install docker-compose",
        (
            "docker-compose",
            "/usr/libexec/docker/cli-plugins/docker-compose",
            "/usr/lib/docker/cli-plugins/docker-compose",
        ),
    ),
    "go": Tool("apt install golang-go", ("go",)),
    "haproxy": Tool("apt install haproxy", ("haproxy", "/usr/sbin/haproxy")),
    "h2load": Tool("apt install nghttp2-client", ("h2load",)),
    "make": Tool("apt install make", ("make",)),
    "nchan": Tool(
        "apt install libnginx-mod-nchan", ("/usr/lib/nginx/modules/ngx_nchan_module.so",)
    ),
    "nginx": Tool("apt install nginx", ("nginx", "/usr/sbin/nginx")),
    "node": Tool("apt install nodejs npm", ("node",)),
    "npm-packages": Tool("npm ci --prefix tests/interop/js", (str(JS_PACKAGES),)),
    "redis-server": Tool("apt install redis-server", ("redis-server",)),
}


def find_tool(name: str) -> str | None:
    """Where the tool is; None when it is missing. Raises KeyError for one not in TOOLS."""
    for candidate in TOOLS[name].found_as:
        if Path(candidate).is_absolute() and Path(candidate).exists():
            return candidate
        if found := shutil.which(candidate):
            return found
    return None


def pytest_addoption(parser: pytest.Parser) -> None:
    # here and not in tests/e2e: options have to be known before folders are looked into
    parser.addoption(
        "--transport", choices=("sse", "ws"), help="the only transport of tests/e2e; else both"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "needs(*tools): skipped where a tool is missing; fails there when CI=true"
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    names = [name for marker in item.iter_markers("needs") for name in marker.args]
    missing = [name for name in names if find_tool(name) is None]
    if not missing:
        return
    remedy = "; ".join(f"needs {name}: {TOOLS[name].install}" for name in missing)
    if os.environ.get("CI") == "true":
        pytest.fail(remedy, pytrace=False)
    pytest.skip(remedy)


@pytest.fixture
def tool() -> Callable[[str], str]:
    """The path of a tool that the test is marked with."""

    def path_of(name: str) -> str:
        path = find_tool(name)
        assert path is not None, f"mark the test with @pytest.mark.needs({name!r})"
        return path

    return path_of


@pytest.fixture(autouse=True)
def log_configuration() -> Iterator[None]:
    """How a test configures logs does not outlive it: commands do, for their process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level
