"""What processes cost, read from the kernel, and percentiles of what was measured.

Used by every scenario. Nothing here waits; all of it is Linux only.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

KIB = 1024
_PROC = Path("/proc")


@dataclass(frozen=True)
class Usage:
    """What a family of processes has used; the difference of two is what a stretch of work cost."""

    cpu_s: float
    pss_bytes: int
    #: kernel memory of the whole machine that sockets lie in: slabs and socket buffers
    kernel_bytes: int
    at_s: float

    def __sub__(self, earlier: Usage) -> Usage:
        return Usage(
            self.cpu_s - earlier.cpu_s,
            self.pss_bytes - earlier.pss_bytes,
            self.kernel_bytes - earlier.kernel_bytes,
            self.at_s - earlier.at_s,
        )


def usage(pid: int) -> Usage:
    """What `pid` and its descendants use now. Raises OSError when `pid` has ended."""
    return usage_of(family(pid))


def usage_of(pids: Sequence[int]) -> Usage:
    """What these processes use now; one that has ended meanwhile uses nothing."""
    used = []
    for pid in pids:
        with suppress(OSError):
            used.append((cpu_s(pid), pss_bytes(pid)))
    return Usage(
        cpu_s=sum(cpu for cpu, _ in used),
        pss_bytes=sum(pss for _, pss in used),
        kernel_bytes=kernel_bytes(),
        at_s=time.monotonic(),
    )


def family(pid: int) -> list[int]:
    """`pid` and all its descendants (nginx has a master and workers)."""
    children: list[int] = []
    for thread in (_PROC / str(pid) / "task").iterdir():
        # a thread may end while they are walked; its children have gone to another one
        with suppress(FileNotFoundError, ProcessLookupError):
            children += map(int, (thread / "children").read_text().split())
    return [pid, *(member for child in children for member in family(child))]


def cpu_s(pid: int) -> float:
    """User and system time of all threads, ended ones too, in nanosecond steps.

    The clock id is that of clock_getcpuclockid(3); utime and stime of /proc/PID/stat are the
    same sum in steps of 10 ms, too coarse for 15,000 sends.
    """
    return time.clock_gettime((~pid << 3) | 2)


def open_files(pid: int) -> int:
    """How many files, and so sockets, the process has open."""
    files = _PROC / str(pid) / "fd"
    # the kernel says so since Linux 6.2; before, they have to be counted
    return files.stat().st_size or sum(1 for _ in files.iterdir())


def pss_bytes(pid: int) -> int:
    """Resident memory, a shared page counted in proportion: summing it over workers is right."""
    return _field((_PROC / str(pid) / "smaps_rollup").read_text(), "Pss:") * KIB


def kernel_bytes() -> int:
    """Slabs (where socket structures live) and the pages in TCP buffers, of the whole machine."""
    slab = _field((_PROC / "meminfo").read_text(), "Slab:") * KIB
    sockstat = (_PROC / "net/sockstat").read_text()
    tcp = next(line for line in sockstat.splitlines() if line.startswith("TCP:"))
    return slab + _field(tcp, "mem") * resource.getpagesize()


def _field(text: str, name: str) -> int:
    """The number after the word `name`."""
    words = text.split()
    return int(words[words.index(name) + 1])


def percentile(values: Iterable[float], share: float) -> float:
    """The least value that is not below `share` of all (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
