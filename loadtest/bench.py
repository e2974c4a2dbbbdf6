"""Interleaved measuring: every subject once per round, so that all share the machine's moods."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from loadtest.child import Failed
from loadtest.report import Measured, Sample

#: no single measurement takes as long; one that does has hung
_SAMPLE_S: Final = 900


@dataclass(frozen=True)
class Plan:
    """How often to measure, and whom."""

    rounds: int
    #: measure only subjects in whose names one of these words is found; none: all
    only: tuple[str, ...] = ()

    def wants(self, name: str) -> bool:
        return not self.only or any(word in name for word in self.only)


@dataclass(frozen=True)
class Subject:
    """Something that can be measured under a name."""

    name: str
    sample: Callable[[], Awaitable[Sample]]
    #: the command that installs what it needs; None: all is there
    missing: str | None = None


async def interleaved(subjects: Sequence[Subject], plan: Plan) -> Measured:
    """Measure each subject that is wanted and installed `plan.rounds` times.

    Raises Failed, alone or in a group, when a measurement cannot be taken, or none is wanted.
    """
    wanted = [it for it in subjects if plan.wants(it.name)]
    if not wanted:
        names = ", ".join(it.name for it in subjects)
        raise Failed(f"--only leaves nobody to measure of: {names}")
    measured = Measured(skipped={it.name: f"needs {it.missing}" for it in wanted if it.missing})
    for number in range(1, plan.rounds + 1):
        for subject in wanted:
            if subject.missing:
                continue
            say(f"round {number} of {plan.rounds}: {subject.name}")
            with trio.move_on_after(_SAMPLE_S) as scope:
                sample = await subject.sample()
                measured.samples.setdefault(subject.name, []).append(sample)
            if scope.cancelled_caught:
                raise Failed(f"{subject.name} is not done after {_SAMPLE_S} s")
    return measured


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)
