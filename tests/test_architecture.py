"""The lines between the parts: who may import whom, what does no I/O, how big a module grows.

Imports for type checking alone do not count: a name is no dependency at run time.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
MAX_LINES = 400

#: Modules and packages that take bytes or values and return values, with `now` as an argument.
#: Those that are not there yet are left out.
SANS_IO = (
    "trio_push.push",
    "trio_push.errors",
    "trio_push.address",
    "trio_push.framing",
    "trio_push.config",
    "trio_push.consistency",
    "trio_push.settings",
    "trio_push.engine.url",
    "trio_push.wire",
    "trio_push.faults",
    "trio_push.apns.backoff",
    "trio_push.apns.bucket",
    "trio_push.apns.flight",
    "trio_push.apns.flights",
    "trio_push.apns.governor",
    "trio_push.apns.h2_session",
    "trio_push.apns.http1_session",
    "trio_push.apns.request",
    "trio_push.apns.retries",
    "trio_push.apns.scaling",
    "trio_push.apns.statistics",
    "trio_push.apns.waiting",
    "trio_push.auth.apikey",
    "trio_push.auth.apns_certificate",
    "trio_push.auth.apns_registry",
    "trio_push.auth.apns_session",
    "trio_push.auth.apns_token",
    "trio_push.auth.bearer",
    "trio_push.auth.jws",
    "trio_push.auth.jwt",
    "trio_push.auth.keys",
    "trio_push.watch.ledger",
    "trio_push.watch.summing",
    "trio_push.workers.backoff",
    "trio_push.workers.crew",
    "trio_push.workers.messages",
    "trio_push.workers.split",
    "trio_push.watch.histogram",
    "trio_push.swarm.audit",
    "trio_push.swarm.books",
    "trio_push.swarm.connections",
    "trio_push.swarm.histogram",
    "trio_push.swarm.position",
    "trio_push.swarm.read_marks",
    "trio_push.swarm.reconnect",
    "trio_push.swarm.stamp",
    "trio_push.swarm.thresholds",
    "trio_push.swarm.users",
    "trio_push.swarm.worst",
)
#: What reaches the world or a clock: no import of these, nor of anything inside them …
# fmt: off
WORLD = frozenset((
    "asyncio", "httpx", "logging", "multiprocessing", "random", "secrets", "select",
    "selectors", "shutil", "signal", "socket", "ssl", "structlog", "subprocess", "tempfile",
    "threading", "time", "trio",
))
# fmt: on
#: … and no call of these, nor of anything in `os` but its source of random numbers.
WORLDLY_CALLS = frozenset({"open", "print", "input"})
HARMLESS_IN_OS = frozenset({"urandom"})


class Rule(NamedTuple):
    """Modules at or below `who` import nothing at or below any of `never`, `unless` excepted."""

    who: str
    never: tuple[str, ...]
    unless: tuple[str, ...] = ()


ROOMS = tuple(
    f"trio_push.{room}"
    for room in ("auth", "intake", "router", "mailbox", "devices", "engine", "api", "watch")
)
SERVER = (*ROOMS, "trio_push.node", "trio_push.server")
# fmt: off
OUTER = (
    "trio_push.swarm", "trio_push.server", "trio_push.workers", "trio_push.cli", "trio_push.demo",
    "trio_push.testing", "loadtest",
)
# fmt: on

#: A push travels intake → router → mailbox → connection → wire; intake and devices never meet.
RULES = (
    Rule("trio_push.wire", (*SERVER, *OUTER)),
    # asked by those whom faults befall, who carry them out
    Rule("trio_push.faults", (*SERVER, *OUTER)),
    Rule("trio_push.intake", ("trio_push.devices", "trio_push.api", *OUTER)),
    Rule("trio_push.router", ("trio_push.intake", "trio_push.api", "trio_push.node", *OUTER)),
    # asked by intake, devices and API; itself it asks none of them
    Rule("trio_push.auth", (*SERVER, *OUTER)),
    # what makes a node one of several knows its rooms, and not who comes in at the door
    Rule("trio_push.engine", ("trio_push.intake", "trio_push.api", "trio_push.node", *OUTER)),
    Rule("trio_push.mailbox", ("trio_push.intake", "trio_push.api", "trio_push.node", *OUTER)),
    # the front door reads the request's path: a device's goes one way, a provider's the other
    Rule("trio_push.devices", ("trio_push.intake",), unless=("trio_push.devices.front",)),
    Rule("trio_push.devices", ("trio_push.api", *OUTER)),
    Rule("trio_push.watch", ("trio_push.intake", "trio_push.devices", "trio_push.api", *OUTER)),
    Rule("trio_push.node", ("trio_push.intake", "trio_push.devices", "trio_push.api", *OUTER)),
    Rule("trio_push.api", OUTER),
    # a server does not know whether it is a worker
    Rule("trio_push.server", ("trio_push.workers",)),
    # a provider's client knows nothing of this server: it pushes to others too
    Rule("trio_push.apns", (*SERVER, *OUTER)),
    # the swarm shares the protocols with the server and nothing else, or it could not judge it
    Rule("trio_push.swarm", tuple(set(SERVER) - {"trio_push.watch"})),
    Rule("trio_push", ("tests", "loadtest")),
)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {
    module_name(path): path
    for package in ("trio_push", "loadtest")
    for path in sorted((ROOT / package).rglob("*.py"))
}


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def tree_of(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text())


def running(node: ast.AST) -> Iterator[ast.AST]:
    """Every node of a module but what stands under `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from running(child)


def imports_of(module: str, tree: ast.Module) -> set[str]:
    """The modules that it imports, in full, wherever in the file the import stands."""
    package = module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in running(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                ancestor = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
                base = f"{ancestor}.{base}".rstrip(".")
            # a name may be a module, or something inside one
            names = {f"{base}.{alias.name}" for alias in node.names}
            found.update(names & FILES.keys() or {base})
    return found


def sans_io_modules() -> list[str]:
    return [module for module in FILES if within(module, SANS_IO)]


@pytest.mark.parametrize("module", FILES)
def test_opens_with_a_docstring_and_is_one_idea(module: str) -> None:
    assert ast.get_docstring(tree_of(module)), "say what it is, who calls it, what it promises"
    assert len(FILES[module].read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("module", sans_io_modules())
def test_sans_io(module: str) -> None:
    tree = tree_of(module)
    imports = imports_of(module, tree)
    assert not {name for name in imports if name.partition(".")[0] in WORLD}
    ours = {name for name in imports if within(name, ("trio_push",)) and name != "trio_push"}
    assert all(within(name, SANS_IO) for name in ours), f"sans-IO all the way down: {ours}"
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not {call.id for call in calls if isinstance(call, ast.Name)} & WORLDLY_CALLS
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    of_os = {node.attr for node in attributes if ast.unparse(node.value) == "os"}
    assert of_os <= HARMLESS_IN_OS


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.who}-{len(rule.never)}")
def test_who_may_import_whom(rule: Rule) -> None:
    broken = [
        f"{module} imports {name}"
        for module in FILES
        if within(module, (rule.who,)) and not within(module, rule.unless)
        for name in sorted(imports_of(module, tree_of(module)))
        if within(name, rule.never) and not within(name, (rule.who,))
    ]
    assert not broken


def test_the_reader_of_imports_sees_each_form(tmp_path: Path) -> None:
    source = """
from __future__ import annotations
import trio
import trio_push.errors as e
from trio_push import push, __version__
from trio_push.wire.reasons import SHUTDOWN
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from trio_push.node import Node
def late():
    from trio_push.router import channel
"""
    assert imports_of("trio_push.config", ast.parse(source)) == {
        "__future__",
        "trio",
        "trio_push.errors",
        "trio_push.push",
        "trio_push.wire.reasons",
        "typing",
        "trio_push.router.channel",
    }
    relative = "from . import config\nfrom .wire import reasons\n"
    assert imports_of("trio_push.node", ast.parse(relative)) == {
        "trio_push.config",
        "trio_push.wire.reasons",
    }
    deeper = "from ..push import Push\nfrom .channel import PushChannel\n"
    assert imports_of("trio_push.router.channel", ast.parse(deeper)) == {
        "trio_push.push",
        "trio_push.router.channel",
    }


def test_the_list_of_sans_io_modules_finds_them() -> None:
    expected = {"trio_push.push", "trio_push.errors", "trio_push.wire.reasons"}
    assert expected <= set(sans_io_modules())
