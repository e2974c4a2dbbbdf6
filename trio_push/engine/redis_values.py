"""Values of the contract as arguments and answers of Redis, and back. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec

from trio_push.engine.contract import HeldRow, RequestId, Setting, Stored, Taken
from trio_push.push import Push, State

#: time after which a row that must not be stored, but has an owner, is looked at again
LOOK_AGAIN_S: Final = 60.0

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Push).decode


#: bytes of answers to requests with an id that are kept, in all partitions together
ANSWERS_BYTES: Final = 2**25


def head_args(node: str, now: float, void: Collection[str]) -> tuple[Any, ...]:
    return (node, now, len(void), *void)


by_order: Final = attrgetter("order")


def token_of(row: HeldRow) -> str:
    return row.push.token


def row_args(row: HeldRow, now: float) -> tuple[Any, ...]:
    push = row.push
    if row.state is State.DELAYED:
        at = push.not_before
    else:
        at = push.expires_at if push.storable else now + LOOK_AGAIN_S
    head = f"{row.uid} {int(row.state)} {push.expires_at} {row.number} {push.id}\n"
    # the token is in the key, and the id in the line
    data = _encode(msgspec.structs.replace(push, token="", id=""))
    return push.token, row.field, head.encode() + data, at


def row_args_or_none(row: HeldRow) -> tuple[Any, ...]:
    if row.state is State.DELAYED or row.push.storable:
        return row_args(row, 0)
    return row.push.token, "", "", ""


def row_of(token: str, data: bytes) -> HeldRow:
    line, _, body = data.partition(b"\n")
    uid, state, _, number, push_id = line.decode().split(" ", 4)
    push = msgspec.structs.replace(_decode(body), token=token, id=push_id)
    return HeldRow(uid, push, State(int(state)), number)


def setting_of(data: bytes) -> Setting:
    number, _, value = data.partition(b" ")
    return Setting(int(number), value)


def stored_of(row: HeldRow, answer: bytes) -> Stored:
    match answer:
        case b"1" | b"2":
            return Stored(row.state, replaced=answer == b"2")
        case b"3":
            return Stored(State.DROPPED_MAILBOX_FULL)
        case b"4":
            return Stored(State.DISCARDED)
        case _:
            return Stored(None, answer.decode())


def taken_of(answers: Iterable[Any]) -> Taken:
    pushes, owners = 0, set[str]()
    for taken, *names in answers:
        pushes += taken
        owners.update(names_of(names))
    return Taken(pushes, frozenset(owners))


def names_of(answer: Sequence[bytes]) -> list[str]:
    return [name.decode() for name in answer]


def pairs_of(items: Sequence[Any]) -> list[tuple[Any, Any]]:
    return list(zip(items[::2], items[1::2], strict=True))


def id_of(request: RequestId) -> str:
    return request.id


def answer_args(request: RequestId) -> tuple[Any, ...]:
    if request.answer is None:
        return request.id, ""
    return request.id, b"- %s %s" % (request.fingerprint.hex().encode(), request.answer)


def id_args(request: RequestId) -> tuple[Any, ...]:
    return request.id, request.fingerprint.hex()


def known_id(asked: RequestId, data: bytes | None) -> RequestId | None:
    """What is known of an id that was asked for."""
    if data is None:
        return None
    _, fingerprint, answer = data.split(b" ", 2)
    return RequestId(asked.id, bytes.fromhex(fingerprint.decode()), answer or None)
