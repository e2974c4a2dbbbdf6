from __future__ import annotations

from typing import Any

import pytest

from trio_push.apns import Options
from trio_push.errors import ConfigError


@pytest.mark.parametrize(
    "given",
    [
        {"rate_per_s": 0},
        {"rate_per_s": -1.0},
        {"bandwidth_bytes_per_s": 0},
        {"max_streams": 0},
        {"dial_s": 0},
        {"answer_s": 0.0},
        {"ping_s": -1},
    ],
)
def test_what_would_send_nothing(given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(ConfigError, match=name):
        Options(**given)
