"""`trio-push swarm` as a load generator: run as a user would, and its report read."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import orjson
import trio

from loadtest.child import Failed

#: what the swarm says by its exit code: all well, or thresholds and books missed
_REPORTED: Final = (0, 99)


async def swarm_report(flags: dict[str, object]) -> dict[str, Any]:
    """Run `trio-push swarm` and give its report. Raises Failed when it has none."""
    with tempfile.TemporaryDirectory(prefix="loadtest-swarm-") as directory:
        file = Path(directory) / "report.json"
        words = [f"--{name}={value}" for name, value in (flags | {"json": file}).items()]
        result = await trio.run_process(
            [sys.executable, "-m", "trio_push", "swarm", *words],
            check=False,
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        if result.returncode not in _REPORTED:
            raise Failed(f"swarm failed ({result.returncode}):\n{result.stdout.decode()}")
        report: dict[str, Any] = orjson.loads(file.read_bytes())
        return report
