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
        code = work()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        # the exit handlers of the process that was forked are not ours
        os._exit(code)
