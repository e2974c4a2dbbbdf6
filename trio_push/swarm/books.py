"""The swarm's books against the server's ledger: do they say the same? Pure.

Two readings of the ledger, before and after the run, and the swarm's own audit go in; what
goes missing between them, and why the books do not balance, in words, comes out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from trio_push.swarm.audit import Audit

#: ends of a push, in the ledger, that no device sees anything of, and that are no loss
_ENDED_UNSEEN = (
    "coalesced",
    "expired",
    "discarded",
    "recalled",
    "dropped",
    "lost_by_fault",
    "handed_over",
)


class FaultCount(msgspec.Struct, frozen=True):
    """How often the server applied one of its rules."""

    rule: str
    action: str
    times: int


class Reading(msgspec.Struct, frozen=True):
    """The server's ledger at one moment, as `GET /v1/ledger` shows it."""

    node: str
    epoch: str
    accepted: int
    open: dict[str, int]
    ended: dict[str, int]
    balanced: bool
    #: pushes that another node had accepted
    taken_over: int = 0
    #: nodes whose books these are, and others that have books of their own
    nodes: int = 1
    elsewhere: int = 0
    faults: list[FaultCount] = []


@dataclass(frozen=True, slots=True)
class Books:
    """What both sides say, and whether it is the same."""

    #: None: there was nothing to compare with
    balanced: bool | None
    #: what the server's ledger gained during the run; None: it has none
    server: dict[str, Any] | None
    swarm: dict[str, int]
    #: pushes that nobody accounts for
    lost: int
    #: why the books do not balance, or could not be compared
    reasons: tuple[str, ...] = ()
    #: what the server did wrong because it was told to, by the kind of fault
    faults: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "balanced": self.balanced,
            "server": self.server,
            "swarm": self.swarm,
            "faults": self.faults,
            "reasons": list(self.reasons),
        }


def parse_reading(body: bytes) -> Reading | None:
    """A ledger as the API answers it; None when it is none."""
    try:
        return msgspec.json.decode(body, type=Reading)
    except msgspec.DecodeError:
        return None


def together(readings: Sequence[Reading]) -> Reading:
    """The ledgers of nodes that are one server, as its ledger.

    What they have handed over to each other did not end: it is left out.
    """
    if len(readings) == 1:
        return readings[0]
    ended = _summed(each.ended for each in readings)
    taken_over = sum(each.taken_over for each in readings)
    between = min(taken_over, ended.get("handed_over", 0))
    return Reading(
        node=",".join(each.node for each in readings),
        epoch=",".join(each.epoch for each in readings),
        accepted=sum(each.accepted for each in readings),
        open=_summed(each.open for each in readings),
        ended={**ended, "handed_over": ended.get("handed_over", 0) - between},
        balanced=all(each.balanced for each in readings),
        taken_over=taken_over - between,
        nodes=(nodes := sum(each.nodes for each in readings)),
        elsewhere=max(max(each.nodes + each.elsewhere for each in readings) - nodes, 0),
        faults=[fault for each in readings for fault in each.faults],
    )


def _summed(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)


def gained(before: Reading, after: Reading) -> dict[str, int]:
    """What the ledger gained between two readings; `open` may have shrunk."""
    ends = {name: after.ended[name] - before.ended.get(name, 0) for name in after.ended}
    open_ = sum(after.open.values()) - sum(before.open.values())
    return {"accepted": after.accepted - before.accepted, **ends, "open": open_}


def befallen(before: Reading, after: Reading) -> dict[str, int]:
    """The faults on demand between two readings, by their kind."""
    kinds: Counter[str] = Counter()
    for sign, reading in ((1, after), (-1, before)):
        for fault in reading.faults:
            kinds[fault.action] += sign * fault.times
    return dict(+kinds)


def reached(server: dict[str, int]) -> int:
    """Pushes that the server has brought to devices, with or without their word for it."""
    return server.get("delivered", 0) + server.get("acknowledged", 0)


def still_to_come(before: Reading, now: Reading, audit: Audit) -> int:
    """Pushes that may still reach a device: waiting for them makes sense.

    They were accepted and not seen, and the server does not say that they ended unseen; or the
    server says that they were delivered, and they are still between its kernel and ours.
    """
    server = gained(before, now)
    unseen = audit.unseen() + _unheard(server, audit)
    unseen -= sum(server.get(name, 0) for name in _ENDED_UNSEEN)
    return max(unseen, reached(server) - audit.deliveries.received, 0)


def audit_alone(audit: Audit, why: str) -> Books:
    """The books of a run against a server that keeps none: our own side, as far as it goes."""
    lost = max(audit.unseen(), 0)
    return Books(balanced=None, server=None, swarm=_own(audit, lost), lost=lost, reasons=(why,))


def incomplete(books: Books, losses: Sequence[str]) -> Books:
    """The books when parts of the swarm are gone, with what they had counted: not balanced."""
    if not losses:
        return books
    return replace(books, balanced=False, reasons=(*losses, *books.reasons))


def reconcile(before: Reading, after: Reading | None, audit: Audit, received: int) -> Books:
    """Compare the ledger with the audit, when nothing is on the way any more.

    `received` is what the devices had received just before the ledger was read: while others
    go on pushing, the ledger lies between that and what they have received now. Without
    `after` the books cannot balance.
    """
    if after is None:
        alone = audit_alone(audit, "the server's ledger does not answer any more")
        return replace(alone, balanced=False)
    if (before.node, before.epoch) != (after.node, after.epoch):
        alone = audit_alone(audit, "the server was restarted during the run")
        return replace(alone, balanced=False)
    server = gained(before, after)
    lost = _lost(server, audit)
    reasons = [
        *_disagreements(server, audit),
        *_deliveries(before, after, server, audit, received),
        *_losses(after, audit, lost),
    ]
    if reasons and after.elsewhere:
        reasons.append(
            f"other nodes have books of their own ({after.elsewhere}): give --api-url for each"
        )
    return Books(
        balanced=not reasons,
        server={**server, "balanced": after.balanced},
        swarm=_own(audit, lost),
        lost=lost,
        reasons=tuple(reasons),
        faults=befallen(before, after),
    )


def _lost(server: dict[str, int], audit: Audit) -> int:
    """Pushes that were to arrive and did not.

    Of our own pushes we know which were accepted. When others push, only what the server says
    to have delivered can be missed.
    """
    if not audit.pushes.sent:
        return max(reached(server) - audit.deliveries.received, 0)
    explained = sum(server.get(name, 0) for name in _ENDED_UNSEEN) + max(server["open"], 0)
    return max(audit.unseen() + _unheard(server, audit) - explained, 0)


def _unheard(server: dict[str, int], audit: Audit) -> int:
    """News of what was read elsewhere that the server has for devices that did not get it (yet).

    The word of a device whose connection broke may never have reached the server: of what that
    would have brought, only what the server accepted beside our pushes is missed.
    """
    seen, due = audit.deliveries.read_marks_seen, audit.deliveries.read_marks_due
    certain = due - audit.deliveries.read_marks_in_doubt
    return min(max(server["accepted"] - audit.pushes.accepted, certain), due) - seen


def unheard_acks(before: Reading, now: Reading, audit: Audit, received: int) -> int:
    """Pushes that their devices have acknowledged and that the server still wants to hear of.

    What was said on a connection that ended may not have arrived. While others push, too, some
    are always on the way; where devices acknowledge nothing, nothing is.
    """
    deliveries = audit.deliveries
    if not deliveries.acknowledged or deliveries.foreign:
        return 0
    unheard = received - reached(gained(before, now)) - deliveries.acks_in_doubt
    return max(min(unheard, now.open.get("awaiting_ack", 0)), 0)


def _disagreements(server: dict[str, int], audit: Audit) -> list[str]:
    pushes = audit.pushes
    surplus = server["accepted"] - pushes.accepted
    most = audit.deliveries.read_marks_due
    least = most - audit.deliveries.read_marks_in_doubt
    # What was under way when a store failed is refused, and yet accepted: lost, or it arrived.
    under_way = min(server.get("lost", 0) + audit.unpromised_seen(), pushes.refused)
    if not pushes.sent or least <= surplus <= most + pushes.unanswered + under_way:
        return []
    unanswered = f" ({pushes.unanswered} unanswered)" if pushes.unanswered else ""
    marks = f", beside {most} read marks" if most else ""
    others = "; does somebody else push, too?" if surplus > most else ""
    why = (
        f"the server's ledger shows {server['accepted']} accepted pushes, its answers to us "
        f"{pushes.accepted}{unanswered}{marks}{others}"
    )
    return [why]


def _deliveries(
    before: Reading, after: Reading, server: dict[str, int], audit: Audit, received: int
) -> list[str]:
    """What is said of deliveries on both sides, and does not agree.

    What came to a device twice, the server may have brought to it twice: when a node dies.
    """
    received_now, delivered = audit.deliveries.received, reached(server)
    reasons = []
    unacknowledged = after.open.get("awaiting_ack", 0)
    if unheard := unheard_acks(before, after, audit, received):
        reasons.append(f"{unheard} pushes were acknowledged and the server still waits for that")
    most = received_now + audit.deliveries.duplicate
    if not received <= delivered + unacknowledged or not delivered <= most:
        others = "; are other devices connected?" if delivered > received_now else ""
        reasons.append(
            f"the server delivered {delivered} pushes, the devices received {received_now}{others}"
        )
    return reasons


def _losses(after: Reading, audit: Audit, lost: int) -> list[str]:
    reasons = []
    if not after.balanced:
        reasons.append("the server's own ledger does not balance")
    if lost:
        reasons.append(f"{lost} pushes reached no device and nobody accounts for them")
    if misdelivered := audit.deliveries.misdelivered:
        reasons.append(f"{misdelivered} pushes reached another device than theirs")
    return reasons


def _own(audit: Audit, lost: int) -> dict[str, int]:
    return {
        "accepted": audit.pushes.accepted,
        "unanswered": audit.pushes.unanswered,
        "received": audit.deliveries.received,
        "lost": lost,
    }
