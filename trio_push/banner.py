"""What `serve` says once it is ready: a banner on a terminal, one log line per listener else.

The banner's lines can be copied and pasted as they stand. Pure apart from `announce`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import structlog
from rich.console import Console
from rich.text import Text

from trio_push import __version__
from trio_push.capacity import Capacity

#: a token to copy: any hex will do, but for the strict profile
_TOKEN = "c0ffee"
_STRICT_TOKEN = "c0ffee00" * 8


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a server can be reached, as URLs without a trailing slash: real hosts and ports."""

    wire: tuple[str, ...]
    tls: tuple[str, ...] = ()
    api: str | None = None
    #: the CA to trust for `tls`, when it is a development CA
    ca_file: str | None = None
    #: who has to prove who they are: "device", "provider", "user" (of the API)
    asked: frozenset[str] = frozenset()
    #: whether pushes are judged by all of Apple's rules
    strict: bool = False


def announce(addresses: Addresses, fits: Capacity) -> None:
    """Print the banner on a terminal; else log a line for each listener."""
    if sys.stdout.isatty():
        # soft_wrap: a line must stay one line to be copied
        Console(highlight=False).print(banner(addresses, fits), soft_wrap=True)
        return
    log = structlog.get_logger()
    for listener, url in _listeners(addresses):
        log.info("listening", listener=listener, url=url)
    log.info("ready", devices_fit=fits.devices, reason=fits.reason)


def banner(addresses: Addresses, fits: Capacity) -> Text:
    """The banner, in colours that a terminal may show."""
    text = Text(f"\ntrio-push {__version__} is ready\n\n")
    for listener, url in _listeners(addresses):
        text.append(f"  {listener:<5} ").append(url, "bold cyan").append(f"  {_SERVES[listener]}\n")
    text.append("\n")
    for what, line in _lines_to_copy(addresses):
        text.append(f"  {what:<14} ", "dim").append(line + "\n", "green")
    text.append(f"\n  {fits.devices:,} devices fit: {fits.reason}\n")
    return text.append("  Ctrl-C drains and stops\n", "dim")


_SERVES = {
    "wire": "devices; APNs providers over HTTP/1.1 and h2c",
    "tls": "the same over TLS",
    "api": "push API, ledger, metrics",
}


def _listeners(addresses: Addresses) -> Iterator[tuple[str, str]]:
    yield from (("wire", url) for url in addresses.wire)
    yield from (("tls", url) for url in addresses.tls)
    if addresses.api is not None:
        yield "api", addresses.api


def _lines_to_copy(addresses: Addresses) -> Iterator[tuple[str, str]]:
    base = _reachable((addresses.wire + addresses.tls)[0])
    curl = "curl"
    if addresses.ca_file and not addresses.wire:
        curl += f" --cacert {addresses.ca_file}"
    asked = addresses.asked
    token = _STRICT_TOKEN if addresses.strict else _TOKEN
    if "device" in asked:
        yield "be a device", f"{curl} -N{_shown('TRIO_PUSH_JWT')} '{base}/events'"
    else:
        yield "be a device", f"{curl} -N '{base}/events?token={token}'"
    key = _shown("TRIO_PUSH_API_KEY")
    yield "send a push", f"{curl}{_push_options(addresses)} '{base}/3/device/{token}'"
    if addresses.api is not None:
        api = _reachable(addresses.api)
        body = f'{{"token":"{token}","payload":{{"hello":"you"}}}}'
        by_user = key if "user" in asked else ""
        yield "by the API", f"curl{by_user} --json '{body}' '{api}/v1/push'"
        yield "API reference", f"{api}/docs"
    yield "Fleet", f"FLEET_DEV_MDM_APPLE_PUSH_SERVER_URL={base}"
    if addresses.tls and addresses.ca_file:
        yield "CA of TLS", addresses.ca_file


def _push_options(addresses: Addresses) -> str:
    """What curl is told of a push by APNs."""
    if addresses.strict:
        shown = _shown("PROVIDER_TOKEN")
        return f"{shown} -H 'apns-topic: com.example.app' -d '{{\"aps\":{{}}}}'"
    shown = _shown("TRIO_PUSH_API_KEY") if "provider" in addresses.asked else ""
    return f'{shown} -d \'{{"mdm":"hello"}}\''


def _shown(variable: str) -> str:
    """The option of curl by which somebody proves who they are; quoted so that the shell helps."""
    return f' -H "Authorization: Bearer ${variable}"'


def _reachable(url: str) -> str:
    """`url` as this machine can open it: "every interface" is no address to connect to."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
