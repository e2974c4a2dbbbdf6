"""Stages of a long run, one after the other, each bounded in time and written down when done.

A run that was broken off goes on with `--resume FILE`: what the file has is not measured again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import orjson
import trio

from loadtest.bench import say
from loadtest.child import Failed
from loadtest.report import Sample

World = TypeVar("World")


@dataclass(frozen=True)
class Stage(Generic[World]):
    """One stretch of a run."""

    name: str
    measure: Callable[[World], Awaitable[Sample]]
    #: no stage takes longer: one that does has hung
    limit_s: float
    #: what comes later needs it: it is done again although it is written down
    always: bool = False


class Notes:
    """What the stages have come to, on paper if `file` is given.

    Raises Failed for the notes of a run with other parameters.
    """

    def __init__(self, parameters: Mapping[str, object], file: Path | None) -> None:
        self.samples: dict[str, Sample] = {}
        self._parameters = dict(parameters)
        self._file = file
        if file is not None and file.exists():
            notes: dict[str, Any] = orjson.loads(file.read_bytes())
            if notes["parameters"] != self._parameters:
                raise Failed(f"{file} is of a run with other parameters: {notes['parameters']}")
            self.samples = notes["samples"]

    def add(self, stage: str, sample: Sample) -> None:
        self.samples[stage] = sample
        if self._file is not None:
            notes = {"parameters": self._parameters, "samples": self.samples}
            self._file.write_bytes(orjson.dumps(notes, option=orjson.OPT_INDENT_2))


async def run_stages(world: World, stages: list[Stage[World]], notes: Notes) -> None:
    """Run those that are not in the notes yet. Raises Failed for one that takes too long."""
    for stage in stages:
        if stage.name in notes.samples and not stage.always:
            say(f"{stage.name}: as noted")
            continue
        say(f"{stage.name} (at most {stage.limit_s:,.0f} s) …")
        with trio.move_on_after(stage.limit_s) as scope:
            sample = await stage.measure(world)
            notes.add(stage.name, sample)
            say("  " + ", ".join(f"{name} {value:,.4g}" for name, value in sample.items()))
        if scope.cancelled_caught:
            raise Failed(f"{stage.name} is not done after {stage.limit_s:,.0f} s")
