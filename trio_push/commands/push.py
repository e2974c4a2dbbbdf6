"""`trio-push push`: send one push, or many from a file.

What became of the pushes goes to stdout, how far it has got to stderr.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Annotated

import httpx
import msgspec
import trio
from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from trio_push.apns import Request
from trio_push.clock import Clock
from trio_push.commands.apns_sending import push_by_apns
from trio_push.commands.client import open_client
from trio_push.commands.flags import make_command
from trio_push.commands.orders import (
    DEFAULT_PAYLOAD,
    Answer,
    Order,
    apns_push,
    order_of_line,
    payload_of_text,
)
from trio_push.commands.push_report import Report
from trio_push.commands.push_settings import ANSWER_S, PushSettings
from trio_push.commands.sending import Sender, find_api, lines_of, send_lines
from trio_push.errors import ConfigError
from trio_push.settings import with_place

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
    if settings.by_api:
        await _push_by_api(settings, order, report)
    elif settings.file is None:
        await _push_one(settings, order, report)
    else:
        await _push_file(settings, settings.file, order, report)
    return 1 if report.refused else 0


push = make_command(
    "push",
    PushSettings,
    run,
    epilogue="Exit code: 0 all was accepted, 1 a push was not, 2 the server did not answer, "
    "130 interrupted: the first Ctrl-C waits for answers under way, a second one does not.",
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
        push_type=settings.push_type,
    )


def _stdin_text() -> str:
    try:
        return sys.stdin.buffer.read().decode().removesuffix("\n")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"the payload on stdin is not UTF-8: {exc}") from exc


@contextmanager
def _opened(name: str) -> Iterator[tuple[int, int | None]]:
    """The file descriptor to read from, and the size where there is one. '-' is stdin."""
    try:
        fd = sys.stdin.fileno() if name == "-" else os.open(name, os.O_RDONLY)
    except OSError as exc:
        raise ConfigError(f"--file {name} cannot be read: {exc.strerror}") from exc
    try:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            raise ConfigError(f"--file {name} cannot be read: it is a directory")
        yield fd, status.st_size or None
    finally:
        if name != "-":
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


async def _push_one(settings: PushSettings, order: Order, report: Report) -> None:
    request = apns_push(order, Clock().wall())

    async def one() -> AsyncGenerator[Request]:
        yield request

    async with aclosing(one()) as pushes:
        await push_by_apns(settings.host, settings.options(), pushes, report.add)


async def _push_file(settings: PushSettings, name: str, defaults: Order, report: Report) -> None:
    """Push the orders in a file by APNs, showing on a terminal how far it is; then sum up."""
    options = settings.options()
    with _opened(name) as (fd, size), _summed_up(report), _progress_bar() as bar:
        task = bar.add_task("", total=size)

        def show(connections: int) -> None:
            many = "" if connections == 1 else "s"
            text = f"{report.progress(trio.current_time())}, {connections} connection{many}"
            bar.update(task, description=text)

        place = _place(name)
        async with (
            aclosing(lines_of(fd, partial(bar.advance, task))) as lines,
            aclosing(_requests(lines, place, defaults)) as requests,
        ):
            await push_by_apns(settings.host, options, requests, report.add, show=show, place=place)


async def _requests(
    lines: AsyncIterable[bytes], place: str, defaults: Order
) -> AsyncGenerator[Request]:
    """What the lines ask for. Raises ConfigError for one that is no push, and names it."""
    clock, number = Clock(), 0

    def parse(line: bytes) -> Request:
        return apns_push(order_of_line(line, defaults), clock.wall(), number)

    async for line in lines:
        number += 1
        if line.strip():
            yield with_place(f"{place}:{number}", parse, line)


def _place(name: str) -> str:
    """What the file is called where its lines are named."""
    return "stdin" if name == "-" else name


async def _push_by_api(settings: PushSettings, order: Order, report: Report) -> None:
    timeout = httpx.Timeout(ANSWER_S)
    async with open_client(ca=settings.ca, timeout=timeout, bearer=settings.api_key) as client:
        sender = Sender(client, await find_api(client, settings.host))
        if settings.file is None:
            report.add(await sender.send(order, sender.request(order)))
            return
        with _opened(settings.file) as (fd, size), _summed_up(report), _progress_bar() as bar:
            task = bar.add_task("", total=size)
            take = partial(_take, report, bar, task)
            async with aclosing(lines_of(fd, partial(bar.advance, task))) as lines:
                await send_lines(lines, _place(settings.file), order, sender, take)


def _take(report: Report, bar: Progress, task: TaskID, answer: Answer) -> None:
    report.add(answer)
    bar.update(task, description=report.progress(trio.current_time()))


@contextmanager
def _summed_up(report: Report) -> Iterator[None]:
    """Sum up at the end of the block, however it ends."""
    began = trio.current_time()
    try:
        yield
    finally:
        report.sum_up(trio.current_time() - began)
