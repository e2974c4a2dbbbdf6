from __future__ import annotations

import pytest

from trio_push.swarm.audit import Audit
from trio_push.swarm.stamp import Stamp
from trio_push.swarm.users import UserPlan, Users


@pytest.mark.parametrize(
    ("devices", "per_user", "owned"),
    [
        (6, 3, [[0, 1, 2], [3, 4, 5]]),
        (7, 3, [[0, 1, 2], [3, 4, 5], [6]]),
        (2, 5, [[0, 1]]),
        (2, 1, [[0], [1]]),
    ],
)
def test_whose_devices_are(devices: int, per_user: int, owned: list[list[int]]) -> None:
    users = Users(devices, per_user, "u")
    assert list(users) == [f"u{i}" for i in range(len(owned))]
    assert [list(users.devices(i)) for i in range(len(users))] == owned
    assert [users.owner(d) for d in range(devices)] == [u for u, ds in enumerate(owned) for _ in ds]
    assert users[:1] == ["u0"]
    with pytest.raises(IndexError):
        users[len(owned)]


def test_users_of_a_part() -> None:
    part = Users(5, 3, "u", first=4)
    assert list(part) == ["u4", "u5"]
    assert list(part.devices(1)) == [3, 4]
    assert part.owner(3) == 1


def test_a_push_to_a_user_is_one_to_each_device() -> None:
    audit = Audit(5)
    plan = UserPlan(audit, Users(5, 2, "u"))
    assert [plan.plan(0), plan.plan(0), plan.plan(2)] == [1, 2, 1]
    assert audit.pushes.planned == 5
    plan.refuse(0, 1, "full")
    plan.leave_unanswered(0, 2)
    plan.leave_unsent(2, 1)
    pushes = audit.pushes
    assert (pushes.refused, pushes.unanswered, pushes.unsent) == (2, 2, 1)
    assert pushes.reasons == {"full": 2}
    assert audit.unseen() == 0
    for device in 0, 1:
        audit.receive(device, Stamp(device, 2, 0), 0)
    assert (audit.deliveries.distinct, audit.unseen()) == (2, 0)
