"""What the clients share: what they push, for how long, and how they say what they did.

Each is run as `python -m loadtest.providers.NAME HOST PORT CA SECONDS`, where CA is the file of the
certificate to trust. It pushes over HTTP/2 with TLS for tokens that nobody listens to, "now or
never", and prints one line when the time is up.
"""

from __future__ import annotations

import json
import ssl
import sys
import time
from typing import Final, NamedTuple

TOPIC: Final = "com.apple.mgmt.0"
PAYLOAD: Final = {"mdm": "D2B4B7B1-3B57-4C6C-9E0E-2B8B5A4B1A57"}
#: pushes under way at once, for a client that has to be told; as many as one of Apple's
#: connections takes
CONCURRENCY: Final = 1000


class Order(NamedTuple):
    """What the command line says."""

    host: str
    port: int
    ca: str
    seconds: float

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}"

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca)


def order() -> Order:
    host, port, ca, seconds = sys.argv[1:]
    return Order(host, int(port), ca, float(seconds))


def token_of(number: int) -> str:
    return f"{number % 1000:064x}"


class Watch:
    """Measures from its making until `report`."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._cpu_s = time.process_time()
        self.accepted = 0
        self.failed = 0

    def over(self, seconds: float) -> bool:
        return time.monotonic() - self._began_s >= seconds

    def report(self) -> None:
        event = {
            "event": "pushed",
            "accepted": self.accepted,
            "failed": self.failed,
            "seconds": time.monotonic() - self._began_s,
            "cpu_s": time.process_time() - self._cpu_s,
        }
        print(json.dumps(event), flush=True)
