"""What `push` prints of what became of the pushes, and the sum of it."""

from __future__ import annotations

import json
import sys
from collections import Counter, deque
from dataclasses import asdict
from typing import Final

from rich.console import Console
from rich.text import Text

from trio_push.commands.orders import Answer

#: the speed that is shown is that of the last seconds, looked at so often
_WINDOW_S: Final = 2.0
_LOOK_S: Final = 0.2


class Report:
    """Prints what became of each push, counts, and sums up."""

    def __init__(self, *, as_json: bool, refused_only: bool) -> None:
        self._as_json = as_json
        self._refused_only = refused_only
        self._outcomes: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        #: when there had been how many answers, over the window
        self._looks: deque[tuple[float, int]] = deque()
        self.refused = 0

    def add(self, answer: Answer) -> None:
        self._outcomes[answer.outcome] += 1
        if answer.reason is not None:
            self._reasons[answer.reason] += 1
        self.refused += not answer.is_accepted
        if self._as_json:
            print(json.dumps(asdict(answer)), flush=True)
        elif not (self._refused_only and answer.is_accepted):
            Console(highlight=False).print(_line(answer), soft_wrap=True)

    def progress(self, now: float) -> str:
        """How far it is, and how fast at the moment; `now` is in seconds."""
        count, looks = self._outcomes.total(), self._looks
        if not looks or now - looks[-1][0] >= _LOOK_S:
            looks.append((now, count))
        while now - looks[0][0] > _WINDOW_S:
            looks.popleft()
        since, before = looks[0]
        speed = f", {(count - before) / (now - since):,.0f}/s" if now > since else ""
        return f"{count:,} pushes{speed}, {self.refused:,} not accepted"

    def sum_up(self, seconds: float) -> None:
        """To stderr when stdout is for machines."""
        sent = self._outcomes.total()
        counts = ", ".join(f"{n:,} {outcome}" for outcome, n in self._outcomes.most_common())
        pushes = "push" if sent == 1 else "pushes"
        # of less than a second the speed says little
        speed = f" ({sent / seconds:,.0f}/s)" if sent and seconds >= 1 else ""
        lines = [f"{sent:,} {pushes} in {seconds:.1f}s{speed}: {counts or 'none'}"]
        lines += [f"{n:>9,}  {reason}" for reason, n in self._reasons.most_common()]
        print("\n".join(lines), file=sys.stderr if self._as_json else sys.stdout)


def _line(answer: Answer) -> Text:
    """An answer for people."""
    parts = [
        (answer.outcome, "green" if answer.is_accepted else "red"),
        (answer.token or "broadcast", ""),
        (f"{answer.status or ''} {answer.reason}".strip() if answer.reason else "", "bold"),
        (answer.id or "", "dim"),
    ]
    return Text("  ").join(Text(*part) for part in parts if part[0])
