"""What the API takes and answers: the shapes of its JSON.

They decode requests, encode answers, and make the OpenAPI document. What a shape cannot say is
checked in `requests.py`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from trio_push.api.problems import Problem
from trio_push.auth.apns_registry import KeyRecord, TeamRecord
from trio_push.config import DAYS
from trio_push.faults.actions import Action
from trio_push.faults.rules import Match

#: device tokens in one request: as many as fit into its 16 MiB
MAX_TOKENS: Final = 100_000
#: longest time that a push may be put off, in seconds
MAX_DELAY_S: Final = 30 * DAYS

Id = Annotated[
    str,
    # (?!\n): in Python, $ alone matches before a last newline too
    Meta(pattern=r"^[A-Za-z0-9._~-]+(?!\n)$", max_length=64),
]
Seconds = Annotated[float, Meta(ge=0)]
Name = Annotated[str, Meta(max_length=255)]


class PushLine(
    msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A push to one device: one line of `POST /v1/pushes`."""

    token: Annotated[
        str | None, Meta(description="The device token: an even number of hex digits, 2 to 200.")
    ] = None
    payload: Annotated[
        msgspec.Raw,
        Meta(
            description="What the device gets, up to 4096 bytes: a string as its text, anything "
            "else as compact JSON with its numbers as they were written."
        ),
    ]
    id: Annotated[
        Id | None,
        Meta(
            description="Your name for the push; without one it gets a UUID. Repeated, the "
            "answer is repeated and nothing is pushed.",
        ),
    ] = None
    topic: Annotated[Name, Meta(description="Part of the place where the push is stored.")] = ""
    collapse_id: Annotated[
        str | None,
        Meta(
            description="Up to 64 bytes. Replaces a push to the same token and topic with the "
            "same `collapse_id` that is not delivered yet."
        ),
    ] = None
    ttl_s: Annotated[
        Seconds | None,
        Meta(
            description="Seconds, from now, that the push is kept for a device that is not "
            "there, at most 30 days; 0 is now or never. Without it the server's `default_ttl_s`, "
            "from when the push is due.",
        ),
    ] = None
    delay_s: Annotated[
        Annotated[Seconds, Meta(le=MAX_DELAY_S)] | None,
        Meta(description="Seconds to hold the push before delivery, at most 30 days."),
    ] = None
    not_before: Annotated[
        Seconds | None,
        Meta(
            description="When to deliver, in seconds since the epoch, at most 30 days from now. "
            "Not together with `delay_s`.",
        ),
    ] = None
    priority: Annotated[
        Literal[10, 5, 1], Meta(description="10 at once; 5 and 1 consider the device's power.")
    ] = 10
    event: Annotated[
        Name | None,
        Meta(
            description="Name of the event on the device's event stream, without line breaks; "
            "without one a browser's `onmessage` gets it.",
        ),
    ] = None
    ack: Annotated[
        bool,
        Meta(
            description="Deliver it again, on reconnect and in intervals, until the device "
            "acknowledges it or it expires."
        ),
    ] = False


class PushRequest(
    PushLine, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A push to one device (`token`), to several (`tokens`, `user`), or to all (`broadcast`)."""

    tokens: Annotated[
        Annotated[list[str], Meta(min_length=1, max_length=MAX_TOKENS)] | None,
        Meta(
            description="Device tokens; each gets the push. Those refused are among the results.",
        ),
    ] = None
    user: Annotated[
        Name | None, Meta(description="Whose devices get the push, also those not there now.")
    ] = None
    broadcast: Annotated[bool, Meta(description="Push to every device that is connected now.")] = (
        False
    )


class Result(msgspec.Struct, omit_defaults=True, frozen=True, gc=False):
    """What became of the push to one device."""

    token: str
    outcome: Annotated[
        str,
        Meta(
            description="`delivered`, `queued`, `stored`, `delayed`, `discarded` (nobody there, "
            "and now or never), `coalesced`, `expired`, `dropped`, or `refused`; with `ack` "
            "`awaiting_ack` and `acknowledged`."
        ),
    ]
    reason: Annotated[str | None, Meta(description="Why it was dropped or refused.")] = None
    timestamp: Annotated[
        int | None,
        Meta(description="With `Unregistered`: since when, in milliseconds since the epoch."),
    ] = None


class PushAnswer(msgspec.Struct, omit_defaults=True, frozen=True):
    """What became of the push."""

    id: str
    outcomes: Annotated[
        dict[str, int], Meta(description="How many devices' pushes have which outcome.")
    ]
    results: Annotated[
        list[Result], Meta(description="One for each token, in order; none for a broadcast.")
    ] = []
    duplicate: Annotated[
        bool, Meta(description="The id is a repeated one: nothing was pushed this time.")
    ] = False


class LineAnswer(msgspec.Struct, omit_defaults=True, frozen=True):
    """What became of one line: an outcome, or an error."""

    line: Annotated[int, Meta(description="Number of the line, from 1; blank ones count.")]
    id: str | None = None
    outcome: str | None = None
    reason: str | None = None
    duplicate: bool = False
    error: Problem | None = None


class Recalled(msgspec.Struct, frozen=True):
    """How many pushes were recalled."""

    id: str
    recalled: int


class Device(msgspec.Struct, omit_defaults=True, frozen=True, kw_only=True):
    """A device, and what waits for it."""

    token: str
    connected: bool
    connected_at: Annotated[float | None, Meta(description="Seconds since the epoch.")] = None
    transport: Annotated[str | None, Meta(description="How it is connected: `sse` or `ws`.")] = None
    remote: Annotated[str | None, Meta(description="Its address and port.")] = None
    queued: Annotated[int, Meta(description="Pushes that wait for it to take more.")]
    stored: Annotated[int | None, Meta(description="Pushes stored for it. Not in lists.")] = None
    delayed: Annotated[
        int | None, Meta(description="Pushes that are not due yet. Not in lists.")
    ] = None


class PushQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to wait for before the answer."""

    wait: Annotated[
        Literal["ack"] | None, Meta(description="`ack`: the device's acknowledgement.")
    ] = None
    timeout_s: Annotated[
        float, Meta(gt=0, le=300, description="Longest time to wait, in seconds.")
    ] = 30.0


class DevicesQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which page of the devices."""

    after: Annotated[str | None, Meta(description="The `next` of the page before.")] = None
    limit: Annotated[int, Meta(ge=1, le=1000, description="Devices on a page.")] = 100


class DevicesPage(msgspec.Struct, frozen=True):
    """Connected devices, in the order of their tokens."""

    total: Annotated[int, Meta(description="How many are connected.")]
    devices: list[Device]
    next: Annotated[str | None, Meta(description="`after` of the next page; null on the last.")]


class Unregistered(msgspec.Struct, frozen=True):
    """The token is refused from now on, with 410."""

    token: str
    timestamp: Annotated[int, Meta(description="Since when: milliseconds since the epoch.")]


class KeyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key of provider tokens, whose id is in the path."""

    team_id: str
    public_key: Annotated[str, Meta(description="In PEM; of the curve P-256.")]
    topics: Annotated[
        list[str] | None, Meta(description="The bundle ids that it is for, if not its team's.")
    ] = None
    environment: Annotated[
        str | None, Meta(description="`production` or `development`, if it is not for both.")
    ] = None


class TeamBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a team may push to; its id is in the path."""

    topics: Annotated[list[str], Meta(description="Bundle ids.")]


class TokenBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of the device token in the path."""

    topics: Annotated[
        list[str] | None, Meta(description="The bundle ids that it is for, if not all.")
    ] = None
    environment: Annotated[
        str | None, Meta(description="`production` or `development`, if it is not of both.")
    ] = None
    expired_at: Annotated[
        float | None, Meta(description="Epoch seconds since when it has expired.")
    ] = None


class ApnsKnown(msgspec.Struct, frozen=True):
    """What the strict profile of APNs knows."""

    environment: str
    keys: list[KeyRecord]
    teams: list[TeamRecord]
    tokens: Annotated[int, Meta(description="Device tokens of which something is known.")]


class ActiveFault(msgspec.Struct, omit_defaults=True, frozen=True, kw_only=True):
    """A rule, as it is on all nodes together."""

    name: str
    match: Annotated[Match, Meta(description="For whom and when; empty: always.")]
    action: Annotated[Action, Meta(description="What happens.")]
    seed: int
    times: Annotated[int, Meta(description="How often it was applied, by the nodes there are.")]
    age_s: Annotated[float, Meta(description="Seconds since it was added.")]
    nodes: Annotated[int, Meta(description="Nodes that have said that they have it.")]


class FaultScenario(msgspec.Struct, frozen=True):
    """Rules that go together."""

    name: str
    meaning: str


class FaultsPage(msgspec.Struct, frozen=True):
    """The rules of the nodes, in the order in which they are tried."""

    rules: list[ActiveFault]
    nodes: Annotated[int, Meta(description="Nodes that have said what they have.")]
    scenarios: Annotated[
        list[FaultScenario], Meta(description="What can be applied; not what was.")
    ]


class FaultsAdded(msgspec.Struct, frozen=True):
    """The rules that were added."""

    rules: list[ActiveFault]


class FaultsRemoved(msgspec.Struct, frozen=True):
    """How many rules were removed."""

    removed: int


class FaultCount(msgspec.Struct, frozen=True):
    """How often a rule was applied."""

    rule: str
    action: str
    times: int


class NodeQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of whom."""

    node: Annotated[
        str | None, Meta(description="The id of one node; without it, of all together.")
    ] = None


class NodeFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One node: one process with its devices."""

    node: str
    worker: Annotated[int, Meta(description="Its number; 0 for one that serves alone.")]
    pid: int
    phase: Annotated[str, Meta(description="`starting`, `ready` or `draining`.")]
    devices: Annotated[int, Meta(description="How many are connected.")]
    fit: Annotated[int, Meta(description="How many devices it takes.")]
    accepted: Annotated[int, Meta(description="Pushes accepted.")]
    open: Annotated[int, Meta(description="Those that have not ended.")]
    memory_bytes: Annotated[
        int, Meta(description="Resident memory, also what is shared with others.")
    ]


class NodesList(msgspec.Struct, frozen=True):
    """The nodes that are one server."""

    nodes: list[NodeFigures]
    silent: Annotated[int, Meta(description="How many more there are that do not answer.")]


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """Where every push is or how it ended: what came in is what ended and is open."""

    node: Annotated[str, Meta(description="Names the node, or all workers together.")]
    epoch: Annotated[str, Meta(description="Names the store's lifetime: part of event ids.")]
    version: str
    accepted: int
    restored: Annotated[int, Meta(description="Taken over from a durable store at the start.")]
    taken_over: Annotated[int, Meta(description="Handed over by other nodes.")]
    repeated: Annotated[int, Meta(description="Ended here, and by another node, too.")]
    open: dict[str, int]
    ended: dict[str, int]
    dropped: Annotated[dict[str, int], Meta(description="Those dropped, by reason.")]
    refused: Annotated[
        dict[str, int], Meta(description="Requests refused, by reason: never accepted.")
    ]
    faults: Annotated[list[FaultCount], Meta(description="Faults on demand, as they happened.")]
    balanced: Annotated[
        bool, Meta(description="Whether the books agree with what lies in the rooms.")
    ]
    nodes: Annotated[int, Meta(description="How many nodes these are the books of.")]
    silent: Annotated[
        int, Meta(description="Those of them that did not answer: theirs may be a second old.")
    ]
    elsewhere: Annotated[
        int, Meta(description="How many more nodes on the same Redis have books of their own.")
    ]


class Health(msgspec.Struct, omit_defaults=True, frozen=True):
    """How the server is."""

    status: Annotated[
        str, Meta(description="`ok`, `starting`, `ready`, `store_failed` or `draining`.")
    ]
    detail: Annotated[str | None, Meta(description="Why its store cannot be written.")] = None
