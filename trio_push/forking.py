"""Forking from a process that has neither a loop nor threads, which makes it harmless.

Such a process imports all that its children need, and they share that memory. The fork servers of
a server's workers and of a swarm's use it.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from contextlib import suppress


def freeze() -> None:
    """To be called before the first fork, when all is imported.

    What there is now is never looked through, nor written to, by any child.
    """
    gc.collect()
    gc.freeze()


def fork(work: Callable[[], int]) -> int:
    """Have `work` done by a child, which ends with the exit code that it returns.

    Returns the child's pid. What `work` raises is shown, and makes the code 1.
    """
    pid = os.fork()
    if pid != 0:
        return pid
    code = 1
    try:
        _take_turns()
        code = work()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        # the exit handlers of the process that was forked are not ours
        os._exit(code)


def _take_turns() -> None:
    """Do not interrupt another process, having been woken, before it has had its turn.

    Children are many to a core. Each would interrupt the others for every small thing that has
    arrived, and find the core's caches full of theirs; some milliseconds later it finds more to
    do. See sched(7); a policy that was chosen for us stays.
    """
    if hasattr(os, "SCHED_BATCH") and os.sched_getscheduler(0) == os.SCHED_OTHER:
        with suppress(PermissionError):  # in some sandboxes
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
