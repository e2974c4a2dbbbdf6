from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from trio_push.body import Body


@asynccontextmanager
async def block(*, fails: bool = False) -> AsyncIterator[trio.Nursery]:
    """Two nurseries and a task; with `fails` that raises as it is cancelled."""

    async def task() -> None:
        try:
            await trio.sleep_forever()
        finally:
            if fails:
                raise OSError("the task's")

    body = Body()
    with body.unwrapped():
        async with trio.open_nursery() as outer, trio.open_nursery():
            outer.start_soon(task)
            try:
                with body.running():
                    yield outer
            finally:
                outer.cancel_scope.cancel()


@pytest.mark.parametrize(
    "error", [ValueError("mine"), KeyboardInterrupt(), pytest.skip.Exception()]
)
async def test_what_the_body_raises_comes_out_as_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        async with block():
            raise error from KeyError("its cause")
    assert caught.value is error
    assert isinstance(error.__cause__, KeyError)
    assert error.__context__ is None
    assert caught.traceback[-1].name == "test_what_the_body_raises_comes_out_as_it_is"


async def test_a_group_of_the_body_stays_one() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with block(), trio.open_nursery():
            raise ValueError("mine")
    assert [str(each) for each in caught.value.exceptions] == ["mine"]


async def test_nothing_is_lost_when_a_task_fails_too() -> None:
    with pytest.RaisesGroup(ValueError, OSError, flatten_subgroups=True):
        async with block(fails=True):
            raise ValueError("mine")


async def test_what_a_task_raises_is_a_group_as_ever() -> None:
    with pytest.RaisesGroup(OSError):
        async with block(fails=True):
            pass


async def test_being_cancelled() -> None:
    with trio.CancelScope() as scope:
        async with block():
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
