from __future__ import annotations

from typing import Any

import pytest

from trio_push.apns import Outcome, Request, Result
from trio_push.apns.request import MAX_PAYLOAD_BYTES


@pytest.mark.parametrize(
    "fields",
    [
        {"token": "ab cd"},
        {"token": "ab\r\nx: y"},
        {"token": "é"},
        {"topic": "a\nb"},
        {"id": "a\0"},
        {"collapse_id": "ü"},
        {"push_type": "\x7f"},
        {"payload": bytes(MAX_PAYLOAD_BYTES + 1)},
    ],
)
def test_what_cannot_be_sent(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Request(**({"token": "ab", "payload": b""} | fields))


def test_what_a_host_should_refuse_can_be_sent() -> None:
    Request(token="xyz/..", payload=bytes(5000), id="no uuid", priority=-1, collapse_id="c" * 65)


def test_accepted() -> None:
    request = Request(token="ab", payload=b"")
    assert Result(request=request, outcome=Outcome.ACCEPTED).is_accepted
    assert not Result(request=request, outcome=Outcome.UNANSWERED).is_accepted
