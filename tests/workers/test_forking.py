"""The fork server, and how the parent sees it; as programs it forks sleep(1)."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import trio

from tests.serving import PATIENCE_S
from tests.workers.running import descendants, is_alive, until
from trio_push.workers.forking import Child, open_fork_server
from trio_push.workers.messages import Run

SLEEP = ["/bin/sleep", "1000"]


async def forked(child: Child) -> int:
    await until(lambda: child.pid is not None)
    assert child.pid is not None
    return child.pid


async def test_who_is_forked_is_known_until_its_end(tmp_path: Path) -> None:
    directory = tmp_path / "its"
    directory.mkdir()
    async with open_fork_server(0.0, str(directory)) as forks:
        short, long = forks.fork(Run(1, ["/bin/false"])), forks.fork(Run(2, SLEEP))
        with trio.fail_after(PATIENCE_S):
            await short.ended.wait()
        assert short.code == 1
        pid = await forked(long)
        assert not long.ended.is_set()
        long.kill()
        with trio.fail_after(PATIENCE_S):
            await long.ended.wait()
        assert long.code == -signal.SIGKILL
        last = await forked(forks.fork(Run(3, SLEEP)))
        assert directory.is_dir()
    assert not is_alive(pid)
    assert not is_alive(last)
    assert not directory.exists()


async def sleeps(pid: int) -> None:
    """Until it is the program, and no longer a copy of the fork server."""
    await until(lambda: "sleep" in Path(f"/proc/{pid}/cmdline").read_text())


async def test_programs_are_out_of_reach_of_signals_for_the_group() -> None:
    async with open_fork_server(0.0, None) as forks:
        pid = await forked(forks.fork(Run(1, SLEEP)))
        await sleeps(pid)
        status = await trio.Path(f"/proc/{pid}/status").read_text()
        blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            assert blocked & 1 << (number - 1)


async def test_one_that_dies_is_replaced_and_takes_its_programs_with_it() -> None:
    async with open_fork_server(0.0, None) as forks:
        program = forks.fork(Run(1, SLEEP))
        pid = await forked(program)
        await sleeps(pid)
        processes = descendants(os.getpid())
        [server] = [each for each, command in processes.items() if "fork_server" in command]
        # a thread would not be there in what is forked, but its locks would
        threads = await trio.Path(f"/proc/{server}/task").iterdir()
        assert len(list(threads)) == 1
        os.kill(server, signal.SIGKILL)
        with trio.fail_after(PATIENCE_S):
            await program.ended.wait()
        assert program.code is None
        await until(lambda: not is_alive(pid))
        # in the meantime there is nobody to fork
        early = forks.fork(Run(2, SLEEP))
        assert early.ended.is_set()

        def works_again() -> bool:
            return not forks.fork(Run(3, SLEEP)).ended.is_set()

        await until(works_again)


async def test_what_cannot_be_run_has_ended() -> None:
    async with open_fork_server(0.0, None) as forks:
        child = forks.fork(Run(1, ["/nowhere/redis-server"]))
        with trio.fail_after(PATIENCE_S):
            await child.ended.wait()
        assert child.code == 1
