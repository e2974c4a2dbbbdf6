from __future__ import annotations

from uuid import UUID

from trio_push.ids import new_id


def test_ids_are_random_uuids() -> None:
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    for each in ids:
        uuid = UUID(each)
        assert (str(uuid), uuid.version, uuid.variant) == (each, 4, "specified in RFC 4122")
