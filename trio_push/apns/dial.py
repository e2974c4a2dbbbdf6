"""Opens connections to a host: its URL, TLS with the client's certificate, and which HTTP.

Used by the client for each connection anew, names and all: a host like Apple's has many
addresses. Mistakes come out as ConfigError, a host that does not answer as Unreachable.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

import trio

from trio_push.errors import ConfigError, Unreachable

#: h2: HTTP/2, over TLS even if the host chooses nothing; http/1.1; any: over TLS what the host
#: chooses, else HTTP/1.1, as MDM servers do
Http = Literal["h2", "http/1.1", "any"]

_PORTS: Final = {"http": 80, "https": 443}


class Wire(NamedTuple):
    """A connection, and whether HTTP/2 is spoken on it."""

    stream: trio.abc.Stream
    is_h2: bool


#: opens a connection; raises Unreachable
Dial = Callable[[], Awaitable[Wire]]


class Host(NamedTuple):
    """Where pushes are sent."""

    scheme: str
    name: str
    port: int

    @property
    def authority(self) -> str:
        """Name and port as in a Host header."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port == _PORTS[self.scheme] else f"{name}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}"


def host_of(url: str) -> Host:
    """The host that an URL names. Raises ConfigError when it names something else."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        parts, port = None, 0
    if parts is None or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ConfigError(
            f"{url!r} is no host to push to: write https://api.push.apple.com, without a path"
        )
    return Host(parts.scheme, parts.hostname, port)


def client_context(
    *, ca: str | None = None, certificate: str | None = None, key: str | None = None
) -> ssl.SSLContext:
    """TLS as a provider speaks it. Reads files.

    `ca` is a PEM file to trust instead of the usual authorities; `certificate` one with the push
    certificate (and its private key, if `key` is None). Raises ConfigError.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as exc:
        raise ConfigError(f"--ca {ca} cannot be used: {exc.strerror or exc}") from exc
    if certificate is not None:
        try:
            context.load_cert_chain(certificate, key)
        except OSError as exc:
            raise ConfigError(f"--cert {certificate} cannot be used: {exc.strerror}") from exc
    return context


def dialer(host: Host, http: Http, context: ssl.SSLContext | None, timeout_s: float) -> Dial:
    """What opens connections to `host`."""
    if host.scheme == "https":
        context = context or ssl.create_default_context()
        context.set_alpn_protocols([http] if http != "any" else ["h2", "http/1.1"])
    else:
        context = None

    async def dial() -> Wire:
        try:
            with trio.fail_after(timeout_s):
                return await _open(host, http, context)
        except trio.TooSlowError:
            raise Unreachable(f"{host.url} does not answer within {timeout_s:g} s") from None
        except (OSError, trio.BrokenResourceError) as exc:
            raise Unreachable(f"{host.url} does not answer: {_why(exc)}") from exc

    return dial


async def _open(host: Host, http: Http, context: ssl.SSLContext | None) -> Wire:
    stream = await trio.open_tcp_stream(host.name, host.port)
    if context is None:
        return Wire(stream, http == "h2")
    encrypted = trio.SSLStream(stream, context, server_hostname=host.name, https_compatible=True)
    try:
        await encrypted.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    chosen = encrypted.selected_alpn_protocol()
    # a host that chooses nothing may still know HTTP/2, and says so at once if it does not
    return Wire(encrypted, chosen == "h2" or (http == "h2" and chosen is None))


def _why(exc: BaseException) -> str:
    """In a few words: those of the system, where it was the system."""
    while (deeper := _below(exc)) is not None:
        exc = deeper
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"{exc.verify_message} (--ca says whom else to trust)"
    if isinstance(exc, ssl.SSLError):
        return exc.reason or "TLS failed"
    if isinstance(exc, OSError) and exc.strerror:
        # "Error connecting to (…): Connection refused": the URL says where to
        return exc.strerror.rpartition(": ")[2]
    return str(exc) or type(exc).__name__


def _below(exc: BaseException) -> BaseException | None:
    """What `exc` came of: trio groups the attempts at several addresses."""
    if isinstance(exc, BaseExceptionGroup):
        return exc.exceptions[0]
    return exc.__cause__
