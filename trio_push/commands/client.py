"""The HTTP client of the small commands: httpx, because they hold few connections.

Used by `push` and `listen`. Mistakes in `--url` and `--ca` come out as ConfigError, a server
that does not answer as Unreachable.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from trio_push.errors import ConfigError, Unreachable


def base_url(text: str) -> str:
    """`text` as scheme, host and port alone; ConfigError if it says anything else."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as exc:
        raise ConfigError(f"{text!r}: {exc}") from exc
    if url.scheme not in ("http", "https") or not url.host or (url.port or 0) > 65535:
        raise ConfigError(f"{text!r} is no server's address: write http://127.0.0.1:8080")
    if url.path != "/" or url.query or url.fragment:
        raise ConfigError(f"{text!r} has a path: leave it out, each command knows its own")
    return text.rstrip("/")


def open_client(
    *,
    ca: str | None,
    timeout: httpx.Timeout,
    http2: bool = True,
    bearer: str | None = None,
) -> httpx.AsyncClient:
    """A client that speaks HTTP/1.1, and the later one where TLS agrees on it.

    `ca` is a PEM file to trust instead of the usual authorities; `bearer` is what each request
    shows for who sends it.
    """
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as exc:
        raise ConfigError(f"--ca {ca} cannot be used: {exc.strerror or exc}") from exc
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    return httpx.AsyncClient(http2=http2, verify=context, timeout=timeout, headers=headers)


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Translate what httpx raises when the server at `url` does not answer to Unreachable."""
    try:
        yield
    except httpx.TransportError as exc:
        raise unreachable(url, exc) from exc


def unreachable(url: str, exc: httpx.TransportError) -> Unreachable:
    return Unreachable(f"{url} does not answer: {reason_of(exc)}")


def reason_of(exc: httpx.TransportError) -> str:
    """What went wrong, in a few words: those of the system, where it was the system."""
    root: BaseException = exc
    while deeper := _below(root):
        root = deeper
    if isinstance(root, ssl.SSLCertVerificationError):
        return f"{root.verify_message} (--ca says whom else to trust)"
    if isinstance(root, OSError) and root.strerror:
        # "Error connecting to (…): Connection refused": who reads this knows where to
        return root.strerror.rpartition(": ")[2]
    return str(exc) or type(exc).__name__


def _below(exc: BaseException) -> BaseException | None:
    """What `exc` came of; httpcore keeps that as an argument, and trio groups its attempts."""
    if isinstance(exc, BaseExceptionGroup):
        return exc.exceptions[0]
    wrapped = exc.args[0] if exc.args and isinstance(exc.args[0], BaseException) else None
    return exc.__cause__ or wrapped


def json_object(response: httpx.Response) -> dict[str, Any]:
    """The object in the body; an empty one when there is something else."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def reason_in(response: httpx.Response) -> str:
    """Why a server refused: what APNs or our API calls it, else what HTTP does."""
    problem = json_object(response)
    for key in ("reason", "detail", "title"):
        if isinstance(problem.get(key), str):
            return str(problem[key])
    # from the table, because HTTP/2 transmits no phrase
    return httpx.codes.get_reason_phrase(response.status_code) or "no reason given"
