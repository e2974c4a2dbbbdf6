"""Child processes: what they say, how they end."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import trio

from loadtest.child import ChildDied, running
from tests.serving import PATIENCE_S


def python(script):
    return running([sys.executable, "-u", "-c", script])


CHATTY = """
print("starting")
print('{"event": "listening", "listener": "api", "url": "http://127.0.0.1:2"}')
print('{"event": "listening", "listener": "wire", "url": "http://127.0.0.1:1"}')
print('[1, 2]')
print('{"event": "heard", "line": "%s"}' % input())
"""


def gone(pid):
    """Whether the process has ended (a zombie of nobody's has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def soon_gone(pid):
    """The same for a process that somebody else must reap."""
    deadline = time.monotonic() + PATIENCE_S
    while not gone(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return gone(pid)


async def test_events_are_found_among_other_lines_and_in_any_order():
    async with python(CHATTY) as child:
        assert await child.listening("wire") == ("127.0.0.1", 1)
        assert await child.listening("api") == ("127.0.0.1", 2)
        await child.tell("hello")
        assert (await child.event("heard"))["line"] == "hello"


async def test_a_child_that_ends_leaves_its_last_words():
    with pytest.RaisesGroup(pytest.RaisesExc(ChildDied, match="no such thing")):
        async with python("raise SystemExit('no such thing')") as child:
            await child.event("listening")


async def test_a_child_ends_with_the_block_and_so_do_its_own_children():
    script = (
        "import subprocess, sys, json, signal\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit())\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "print(json.dumps({'event': 'ready', 'pid': child.pid}))\n"
        "signal.pause()"
    )
    async with python(script) as child:
        grandchild = (await child.event("ready"))["pid"]
        assert not gone(child.pid)
    assert gone(child.pid)
    assert soon_gone(grandchild)


async def test_a_stubborn_child_is_killed(monkeypatch):
    monkeypatch.setattr("loadtest.child._TERM_S", 0.1)
    script = (
        "import signal\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        'print(\'{"event": "ready"}\')\n'
        "while True: signal.pause()"
    )
    async with python(script) as child:
        await child.event("ready")
    assert gone(child.pid)


async def test_cancelling_ends_the_child():
    with trio.CancelScope() as scope:
        async with running(["sleep", "600"]) as child:
            scope.deadline = trio.current_time() + 0.3
            await child.event("never")
    assert scope.cancelled_caught
    assert gone(child.pid)


async def test_a_child_that_is_asked_to_end():
    async with python('import time; print(\'{"event": "up"}\'); time.sleep(60)') as child:
        await child.event("up")
        with trio.fail_after(PATIENCE_S):
            await child.terminate()
        assert gone(child.pid)
