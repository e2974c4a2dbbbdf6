"""Lines out and lines in at the same time, against a server that answers each at once."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import h11
import pytest
import trio

from loadtest.child import Failed
from loadtest.ndjson import post_lines
from tests.serving import PATIENCE_S


async def upper_case(stream, status):
    """Answer every piece of the body with itself in upper case before reading the next."""
    protocol = h11.Connection(h11.SERVER)
    while True:
        event = protocol.next_event()
        if event is h11.NEED_DATA:
            protocol.receive_data(await stream.receive_some())
        elif isinstance(event, h11.Request):
            head = h11.Response(status_code=status, headers=[("Transfer-Encoding", "chunked")])
            await stream.send_all(protocol.send(head))
        elif isinstance(event, h11.Data):
            await stream.send_all(protocol.send(h11.Data(data=bytes(event.data).upper())))
        elif isinstance(event, h11.EndOfMessage):
            await stream.send_all(protocol.send(h11.EndOfMessage()))
        else:
            return


@pytest.fixture
async def serving(nursery):
    async def serve(status):
        async def handler(stream):
            # who was refused leaves, in the middle of its request perhaps
            with suppress(trio.BrokenResourceError, h11.RemoteProtocolError):
                await upper_case(stream, status)

        listeners = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        return listeners[0].socket.getsockname()

    return serve


async def test_more_lines_than_any_buffer_holds(serving):
    answers = []
    lines = [b'{"n": %d, "pad": "%b"}' % (number, b"x" * 1000) for number in range(20_000)]
    with trio.fail_after(PATIENCE_S):
        await post_lines(await serving(200), "/v1/pushes", lines, answers.append)
    assert answers == [line.upper() for line in lines]


async def test_a_refusal_is_raised(serving):
    with pytest.RaisesGroup(pytest.RaisesExc(Failed, match="503")):
        await post_lines(await serving(503), "/v1/pushes", [b"{}"] * 3, print)
