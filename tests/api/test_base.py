from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from werkzeug.exceptions import InternalServerError

from tests.api.conftest import make_node
from tests.serving import PATIENCE_S
from trio_push.api.app import make_app
from trio_push.api.base import Api
from trio_push.api.problems import Invalid
from trio_push.errors import Refusal


@pytest.fixture
async def app(nursery: trio.Nursery) -> Api:
    app = make_app(make_node(), trio.Event())
    app.nursery = nursery
    return app


async def test_work_is_carried_out(app: Api) -> None:
    async def add(a: int, b: int) -> int:
        await trio.lowlevel.checkpoint()
        return a + b

    assert await app.carry_out(add, 1, 2) == 3


async def test_even_when_its_request_is_cancelled(app: Api) -> None:
    go_on, done = trio.Event(), trio.Event()

    async def work() -> None:
        await go_on.wait()
        done.set()

    async with trio.open_nursery() as requests:
        requests.start_soon(app.carry_out, work)
        await wait_all_tasks_blocked()
        requests.cancel_scope.cancel()
    go_on.set()
    with trio.fail_after(PATIENCE_S):
        await done.wait()


@pytest.mark.parametrize(
    ("raised", "told"),
    [(Invalid("no"), Invalid), (RuntimeError("broken on purpose"), InternalServerError)],
)
async def test_what_it_raises_is_told(app: Api, raised: Exception, told: type[Exception]) -> None:
    async def fail() -> None:
        raise raised

    with pytest.raises(told):
        await app.carry_out(fail)


async def test_when_the_application_ends_first(app: Api) -> None:
    async with trio.open_nursery() as app.nursery:
        app.nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True), pytest.raises(Refusal) as caught:
            await app.carry_out(trio.sleep_forever)
    assert caught.value.reason.name == "Shutdown"
