"""Which devices fared worst: a report of losses that names none leaves nothing to look at. Pure."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from trio_push.swarm.audit import Audit

#: devices that are named: to look at the worst is to look at a few
NAMED = 10


class Worst(NamedTuple):
    """What happened to one device."""

    token: str
    #: accepted pushes that it has not seen. The ledger knows of some that they ended otherwise, but
    #: not for which device: none where nothing was lost
    unseen: int
    duplicate: int
    out_of_order: int


def worst_of(
    audit: Audit, tokens: Sequence[str], *, lost: int, missing_marks: Mapping[int, int]
) -> list[Worst]:
    """The devices to which most happened, the worst first. Walks all devices if any was `lost`."""
    unseen = Counter(device for device, _ in audit.unseen_pushes()) if lost else Counter()
    if lost:
        unseen.update(missing_marks)
    troubled = unseen.keys() | audit.duplicates.keys() | audit.out_of_order.keys()
    found = [
        Worst(tokens[device], unseen[device], audit.duplicates[device], audit.out_of_order[device])
        for device in sorted(troubled)
    ]
    return worst_among(found)


def worst_among(found: Iterable[Worst]) -> list[Worst]:
    """The worst of them, the worst first."""
    return heapq.nlargest(
        NAMED, found, key=lambda each: each.unseen + each.duplicate + each.out_of_order
    )
