"""How many devices fit into this process or its workers, and what says so."""

from __future__ import annotations

import resource
from dataclasses import dataclass

#: open files that are not devices: listeners, providers' connections, the API, logs, the loop
FILES_KEPT_FREE = 256


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many devices fit, and why no more."""

    devices: int
    reason: str


def capacity(max_connections: int, file_limit: int, workers: int = 1) -> Capacity:
    """Every device needs an open file; `max_connections` may set less (0: it does not)."""
    by_files = max(file_limit - FILES_KEPT_FREE, 0) * workers
    if 0 < max_connections <= by_files:
        return Capacity(max_connections, "--max-connections")
    who = "this process" if workers == 1 else f"each of {workers} workers"
    return Capacity(by_files, f"{who} may open {file_limit:,} files (ulimit -n)")


def file_limit() -> int:
    """How many files this process may open now."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def raise_file_limit() -> int:
    """Let this process open as many files as it may without privileges; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
