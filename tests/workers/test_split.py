from __future__ import annotations

import pytest

from trio_push.config import ServeSettings
from trio_push.workers.split import part, split


@pytest.mark.parametrize(
    ("whole", "parts"), [(0, [0, 0]), (2, [1, 1]), (3, [2, 1]), (10, [3, 3, 2, 2])]
)
def test_parts_add_up(whole: int, parts: list[int]) -> None:
    assert [part(whole, len(parts), n + 1) for n in range(len(parts))] == parts
    assert sum(parts) == whole


def test_limits_on_devices_are_divided_and_all_else_is_for_each() -> None:
    settings = ServeSettings(workers=3, max_connections=4, connect_rate=30, store_per_token=7)
    first, *_, last = [split(settings, place) for place in (1, 2, 3)]
    assert (first.max_connections, last.max_connections) == (2, 1)
    assert (first.connect_rate, first.store_per_token) == (10, 7)
    assert first.workers == 1
    assert split(ServeSettings(workers=2), 1).max_connections == 0
