from __future__ import annotations

from collections.abc import Callable

import pytest

from trio_push.apns.scaling import Constant, Exponential, Incremental, Law, Scaling
from trio_push.errors import ConfigError


@pytest.mark.parametrize(
    ("law", "up", "down"),
    [
        (Constant(), [0, 1, 2, 10], [0, 1, 2, 10]),
        (Incremental(1), [1, 2, 3, 11], [0, 0, 1, 9]),
        (Incremental(3), [3, 4, 5, 13], [0, 0, 0, 7]),
        (Exponential(2), [1, 2, 4, 20], [0, 0, 1, 5]),
        (Exponential(1.1), [1, 2, 3, 11], [0, 0, 1, 9]),
        (Exponential(2.5), [1, 2, 5, 25], [0, 0, 0, 4]),
    ],
)
def test_laws(law: Law, up: list[int], down: list[int]) -> None:
    assert [law.up(n) for n in (0, 1, 2, 10)] == up
    assert [law.down(n) for n in (0, 1, 2, 10)] == down


@pytest.mark.parametrize(
    "make",
    [
        lambda: Incremental(0),
        lambda: Exponential(1.0),
        lambda: Scaling(least=0),
        lambda: Scaling(least=5, most=4),
        lambda: Scaling(poll_s=0),
    ],
)
def test_what_cannot_be(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        make()
