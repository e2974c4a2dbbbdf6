from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

#: forks in a process of its own: pytest has threads and more
PROGRAM = """
import os, signal, sys
from trio_push.forking import fork, freeze

def fail():
    raise RuntimeError("as it must")

def end():
    # Linux only
    policy = os.sched_getscheduler(0) if hasattr(os, "SCHED_BATCH") else None
    print("work done", "in turns" if policy == getattr(os, "SCHED_BATCH", None) else policy)
    return 7

freeze()
for work in (end, fail, lambda: os.kill(os.getpid(), signal.SIGKILL)):
    _, status = os.waitpid(fork(work), 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


def test_a_child_does_its_work_and_nothing_else() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n") == ["work done in turns", "7", "1", f"{-signal.SIGKILL}", ""]
    assert done.stderr.count("RuntimeError: as it must") == 1
