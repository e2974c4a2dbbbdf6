"""Lines come as they are written, from whatever a file is; waiting for them can be ended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import aclosing

import pytest
import trio

from trio_push.commands import sending
from trio_push.commands.sending import lines_of


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The end to read from, and the end to write to, which the test closes."""
    read_end, write_end = os.pipe()
    yield read_end, write_end
    os.close(read_end)


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", [b""]),
        (b"one\ntwo\n", [b"one", b"two", b""]),
        (b"one\n\ntwo", [b"one", b"", b"two"]),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [1, 4, 1000])
async def test_lines_whatever_the_chunks(
    pipe: tuple[int, int],
    content: bytes,
    lines: list[bytes],
    chunk_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "CHUNK_BYTES", chunk_bytes)
    read_end, write_end = pipe
    os.write(write_end, content)
    os.close(write_end)
    sizes: list[int] = []
    async with aclosing(lines_of(read_end, sizes.append)) as stream:
        assert [line async for line in stream] == lines
    assert sum(sizes) == len(content)


async def test_a_line_comes_before_the_next_one_is_written(pipe: tuple[int, int]) -> None:
    read_end, write_end = pipe
    async with aclosing(lines_of(read_end, lambda _: None)) as stream:
        for line in (b"one", b"two"):
            os.write(write_end, line + b"\n")
            assert await anext(stream) == line
        with trio.move_on_after(0.01) as waiting:
            await anext(stream)
        assert waiting.cancelled_caught
    os.close(write_end)
