from __future__ import annotations

import pytest
from wsproto.frame_protocol import LOCAL_ONLY_CLOSE_REASONS

from trio_push.wire import close_codes
from trio_push.wire.close_codes import CLOSE_CODES, REPLACED, TOO_SLOW, CloseCode, may_come_back


def test_each_has_a_number_and_a_name_of_its_own() -> None:
    every = [value for value in vars(close_codes).values() if isinstance(value, CloseCode)]
    assert list(CLOSE_CODES.values()) == every
    assert len({entry.code for entry in every}) == len({entry.name for entry in every})
    assert [entry.code for entry in every] == sorted(entry.code for entry in every)


@pytest.mark.parametrize("entry", CLOSE_CODES.values(), ids=lambda entry: entry.name)
def test_each_may_be_sent_and_ours_say_by_their_number_who_may_come_back(entry: CloseCode) -> None:
    assert 1000 <= entry.code < 1015 or 4000 <= entry.code < 5000  # RFC 6455, section 7.4.2
    assert entry.code not in LOCAL_ONLY_CLOSE_REASONS
    assert len(entry.name.encode()) <= 123
    if entry.code >= 4000:
        assert entry.comes_back is (entry.code < 4500)


@pytest.mark.parametrize(
    ("code", "may"),
    [(TOO_SLOW.code, True), (REPLACED.code, False), (1006, True), (3000, True), (4999, False)],
)
def test_who_may_come_back(code: int, may: bool) -> None:
    assert may_come_back(code) is may
