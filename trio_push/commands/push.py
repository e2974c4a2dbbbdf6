"""`trio-push push`: send one push, or many from a file.

What became of the pushes goes to stdout, how far it has got to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated

import httpx
import msgspec
import trio
from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from trio_push.commands.client import base_url, open_client
from trio_push.commands.flags import make_command
from trio_push.commands.orders import DEFAULT_PAYLOAD, Answer, Order, payload_of_text
from trio_push.commands.sending import Sender, find_api, lines_of, send_lines
from trio_push.config import check_api_key
from trio_push.errors import ConfigError
from trio_push.settings import setting

#: time that the server has to answer
_TIMEOUT_S = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class PushSettings:
    """What `trio-push push` can be told."""

    url: str = setting(
        "http://127.0.0.1:8080",
        "The server; with --via api either of its addresses will do.",
        unit="url",
        check=base_url,
    )
    via: str = setting(
        "apns",
        "How: as to APNs over HTTP/1.1 (with TLS over what it agrees on), as to APNs over "
        "HTTP/2, or by the server's own API.",
        choices=("apns", "apns-h2", "api"),
    )
    topic: str | None = setting(None, "The topic.")
    ttl_s: float | None = setting(
        None, "Time to keep it for a device that is away; 0: now or never.", unit="s"
    )
    expiration: int | None = setting(
        None, "Until when to keep it, instead of --ttl; 0: now or never.", unit="epoch-seconds"
    )
    priority: int | None = setting(None, "10, 5 or 1.")
    collapse_id: str | None = setting(
        None, "Replace a push with this collapse id that still waits."
    )
    id: str | None = setting(None, "The push's id; as to APNs a UUID.")
    event: str | None = setting(None, "Name of the device's event; --via api only.")
    delay_s: float | None = setting(None, "Time to hold it before; --via api only.", unit="s")
    broadcast: bool = setting(
        False, "Push to every connected device: leave out TOKEN. --via api only."
    )
    file: str | None = setting(
        None,
        "Send a push for each line of JSON: token, payload and more, as POST /v1/pushes takes "
        "them; flags stand for what a line leaves out. '-' is stdin.",
        unit="file",
    )
    json: bool = setting(False, "Print what became of each push as a line of JSON.")
    ca: str | None = setting(None, "PEM file of the CA to trust.", unit="file")
    api_key: str | None = setting(
        None,
        "A key of the server's API, if it asks for one; better as TRIO_PUSH_API_KEY.",
        unit="key",
        check=check_api_key,
        secret=True,
    )

    def __post_init__(self) -> None:
        if self.ttl_s is not None and self.expiration is not None:
            raise ConfigError("--ttl and --expiration both say how long: leave one out")
        if self.file and (self.id or self.broadcast):
            raise ConfigError("--id and --broadcast are for one push: leave out --file")


_PAYLOAD_HELP = (
    f"JSON, or text to send as it is; '-' is stdin. [default: {bytes(DEFAULT_PAYLOAD).decode()}]"
)


async def run(
    settings: PushSettings,
    token: Annotated[str | None, Parameter(help="The device token, hex.")] = None,
    payload: Annotated[str | None, Parameter(help=_PAYLOAD_HELP)] = None,
) -> int:
    """Send what is asked for; 0 if all of it was accepted, else 1. Raises Unreachable."""
    order = _order(settings, token, payload)
    report = Report(as_json=settings.json, refused_only=settings.file is not None)
    via, url = settings.via, base_url(settings.url)
    timeout = httpx.Timeout(_TIMEOUT_S)
    async with open_client(
        ca=settings.ca, timeout=timeout, http1=via != "apns-h2", bearer=settings.api_key
    ) as client:
        if via == "api":
            url = await find_api(client, url)
        sender = Sender(client, url, via)
        if settings.file is None:
            report.add(await sender.send(order, sender.request(order)))
        else:
            await _send_file(settings.file, order, sender, report)
    return 1 if report.refused else 0


push = make_command(
    "push",
    PushSettings,
    run,
    epilogue="Exit code: 0 all was accepted, 1 a push was refused, 2 the server did not answer.",
)


def _order(settings: PushSettings, token: str | None, payload: str | None) -> Order:
    """The push that is asked for, or what lines of a file leave out."""
    if settings.broadcast:
        if payload is not None:
            raise ConfigError("--broadcast goes to every device: leave out TOKEN")
        token, payload = None, token
    elif settings.file is not None and token is not None:
        raise ConfigError("the lines of --file say what to push: leave out TOKEN and PAYLOAD")
    elif settings.file is None and token is None:
        raise ConfigError("no device: give a TOKEN, --broadcast or --file")
    if payload is not None and payload.strip() == "-":
        payload = _stdin_text()
    return Order(
        token=token,
        payload=msgspec.Raw() if payload is None else payload_of_text(payload),
        id=settings.id,
        topic=settings.topic,
        collapse_id=settings.collapse_id,
        priority=settings.priority,
        ttl_s=settings.ttl_s,
        expiration=settings.expiration,
        delay_s=settings.delay_s,
        event=settings.event,
    )


def _stdin_text() -> str:
    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"the payload on stdin is not UTF-8: {exc}") from exc


@contextmanager
def _opened(name: str) -> Iterator[tuple[int, int | None]]:
    """The file descriptor to read from, and the size where there is one. '-' is stdin."""
    if name == "-":
        yield sys.stdin.fileno(), None
        return
    try:
        fd = os.open(name, os.O_RDONLY)
    except OSError as exc:
        raise ConfigError(f"--file {name} cannot be read: {exc.strerror}") from exc
    try:
        yield fd, os.fstat(fd).st_size or None
    finally:
        os.close(fd)


def _progress_bar() -> Progress:
    """On stderr, and only if that is a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        # else what goes to stdout would come out of stderr
        redirect_stdout=sys.stdout.isatty(),
        transient=True,
    )


async def _send_file(name: str, defaults: Order, sender: Sender, report: Report) -> None:
    """Send the orders in a file, showing on a terminal how far it is; then sum up."""
    began = trio.current_time()
    with _opened(name) as (fd, size):
        try:
            with _progress_bar() as bar:
                task = bar.add_task("", total=size)

                def take(answer: Answer) -> None:
                    report.add(answer)
                    bar.update(task, description=report.progress)

                async with aclosing(lines_of(fd, partial(bar.advance, task))) as lines:
                    await send_lines(lines, name, defaults, sender, take)
        finally:
            report.sum_up(trio.current_time() - began)


class Report:
    """Prints what became of each push, counts, and sums up."""

    def __init__(self, *, as_json: bool, refused_only: bool) -> None:
        self._as_json = as_json
        self._refused_only = refused_only
        self._outcomes: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self.refused = 0

    def add(self, answer: Answer) -> None:
        self._outcomes[answer.outcome] += 1
        if answer.reason is not None:
            self._reasons[answer.reason] += 1
        self.refused += not answer.is_accepted
        if self._as_json:
            print(json.dumps(asdict(answer)), flush=True)
        elif not (self._refused_only and answer.is_accepted):
            Console(highlight=False).print(_line(answer), soft_wrap=True)

    @property
    def progress(self) -> str:
        return f"{self._outcomes.total():,} pushes, {self.refused:,} refused"

    def sum_up(self, seconds: float) -> None:
        """To stderr when stdout is for machines."""
        sent = self._outcomes.total()
        counts = ", ".join(f"{n:,} {outcome}" for outcome, n in self._outcomes.most_common())
        lines = [f"{sent:,} push{'' if sent == 1 else 'es'} in {seconds:.1f}s: {counts or 'none'}"]
        lines += [f"{n:>9,}  {reason}" for reason, n in self._reasons.most_common()]
        print("\n".join(lines), file=sys.stderr if self._as_json else sys.stdout)


def _line(answer: Answer) -> Text:
    """An answer for people."""
    parts = [
        (answer.outcome, "green" if answer.is_accepted else "red"),
        (answer.token or "broadcast", ""),
        (f"{answer.status} {answer.reason}" if answer.reason else "", "bold"),
        (answer.id or "", "dim"),
    ]
    return Text("  ").join(Text(*part) for part in parts if part[0])
