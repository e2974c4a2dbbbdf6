"""Stages: bounded, noted, and taken up again."""

from __future__ import annotations

import pytest
import trio

from loadtest.child import Failed
from loadtest.stages import Notes, Stage, run_stages


def stages(log):
    async def measure(name, world):
        log.append(name)
        if name == world:
            await trio.sleep_forever()
        return {"count": float(len(log))}

    def stage(name, **more):
        return Stage(name, lambda world: measure(name, world), 60, **more)

    return [stage("ramp", always=True), stage("idle"), stage("push")]


async def test_a_stage_that_hangs_is_named_and_the_others_are_noted(tmp_path, autojump_clock):
    file, log = tmp_path / "notes", []
    with pytest.raises(Failed, match="idle is not done after 60 s"):
        await run_stages("idle", stages(log), Notes({"devices": 1}, file))
    assert trio.current_time() == 60
    assert Notes({"devices": 1}, file).samples == {"ramp": {"count": 1.0}}


async def test_a_run_goes_on_where_it_was_broken_off(tmp_path, autojump_clock):
    file, log = tmp_path / "notes", []
    with pytest.raises(Failed):
        await run_stages("push", stages(log), Notes({"devices": 1}, file))
    notes = Notes({"devices": 1}, file)
    await run_stages("", stages(log), notes)
    assert log == ["ramp", "idle", "push", "ramp", "push"]
    assert notes.samples == {"ramp": {"count": 4.0}, "idle": {"count": 2.0}, "push": {"count": 5.0}}


def test_notes_of_another_run_are_not_taken(tmp_path):
    Notes({"devices": 1}, tmp_path / "notes").add("ramp", {"count": 1.0})
    with pytest.raises(Failed, match="is of a run with other parameters"):
        Notes({"devices": 2}, tmp_path / "notes")


def test_notes_need_no_file():
    notes = Notes({}, None)
    notes.add("ramp", {"count": 1.0})
    assert notes.samples == {"ramp": {"count": 1.0}}
