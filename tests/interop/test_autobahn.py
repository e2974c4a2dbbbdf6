"""Autobahn's test suite for WebSocket against an endpoint that echoes: the whole protocol."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.conftest import AUTOBAHN
from tests.interop.conftest import ENVIRONMENT
from tests.interop.running import running

pytestmark = pytest.mark.needs("autobahn")

#: Groups of cases: framing, pings, reserved bits, opcodes, fragmentation, UTF-8, closing, limits
#: and performance, and one that is different. 12 and 13 are compression, which is declined.
GROUPS = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1}
#: seconds that all of them together may take
PATIENCE_S = 180.0

#: What Autobahn gives no verdict on: the RFC leaves it open.
NO_VERDICT = {
    "7.1.6",  # a close frame right behind a message of 256 KiB: we close before all is echoed
    "7.13.1",  # code 5000, and
    "7.13.2",  # code 65535, which no frame should have: both are protocol errors to us
}

#: case → verdicts on its conversation and on how that was closed
Verdicts = dict[str, tuple[str, str]]


@pytest.fixture(scope="module")
def verdicts(tls_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    """What a run of all groups says."""
    folder = tmp_path_factory.mktemp("autobahn")
    # Pings of ours would be events that no case expects.
    with running(tls_dir, debug_echo=True, keepalive_s=0) as server:
        url = f"{server.plain.replace('http', 'ws')}/echo?token=aa"
        run = {
            "outdir": str(folder / "reports"),
            "servers": [{"agent": "trio-push", "url": url}],
            "cases": [f"{group}.*" for group in GROUPS],
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }
        (folder / "run.json").write_text(json.dumps(run))
        result = subprocess.run(
            [AUTOBAHN / "bin" / "wstest", "-m", "fuzzingclient", "-s", folder / "run.json"],
            env=ENVIRONMENT | {"PYTHONUSERBASE": str(AUTOBAHN)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    assert result.returncode == 0, result.stdout + result.stderr
    index = json.loads((folder / "reports" / "index.json").read_text())
    return {
        case: (verdict["behavior"], verdict["behaviorClose"])
        for case, verdict in index["trio-push"].items()
    }


@pytest.mark.parametrize(("group", "cases"), GROUPS.items())
def test_every_case_is_passed(verdicts: Verdicts, group: str, cases: int) -> None:
    of_group = {case: v for case, v in verdicts.items() if case.partition(".")[0] == group}
    assert len(of_group) == cases
    good = {("OK", "OK")}
    for case, verdict in of_group.items():
        allowed = good | {("INFORMATIONAL",) * 2} if case in NO_VERDICT else good
        assert verdict in allowed, case
