from __future__ import annotations

from tests.fakes import push
from trio_push.mailbox.mailbox import MAX_ANSWERS, Mailbox, Torn
from trio_push.push import Numbered


def numbered(n: int) -> Numbered:
    return Numbered(n, push(b"%d" % n))


def test_first_in_first_out() -> None:
    mailbox = Mailbox(3, opened_at=1)
    assert [mailbox.offer(numbered(n)) for n in range(3)] == [True] * 3
    assert mailbox.queued == 3
    assert [mailbox.take() for _ in range(4)] == [*map(numbered, range(3)), None]
    assert mailbox.queued == 0


def test_once_it_has_overflowed_all_that_follows_goes_the_other_way() -> None:
    """Or a later push would overtake the one that did not fit."""
    mailbox = Mailbox(1, opened_at=1)
    assert mailbox.offer(numbered(1))
    assert not mailbox.offer(numbered(2))
    assert mailbox.overflowed
    assert mailbox.take() == numbered(1)
    assert not mailbox.offer(numbered(3))


def test_answers_go_right_behind_what_the_device_is_being_sent() -> None:
    mailbox = Mailbox(3, opened_at=1, torn=Torn(b"rest", numbered(1)))
    mailbox.offer(numbered(2))
    assert mailbox.interject(b" pong")
    assert mailbox.interject(b" error")
    assert mailbox.torn is not None
    assert (mailbox.torn.rest, mailbox.torn.numbered) == (b"rest pong error", numbered(1))


def test_answers_are_bounded_and_the_event_before_them_does_not_count() -> None:
    mailbox = Mailbox(3, opened_at=1, torn=Torn(b"x" * 2 * MAX_ANSWERS))
    assert mailbox.interject(b"a" * MAX_ANSWERS)
    assert not mailbox.interject(b"a")


def test_an_answer_needs_no_event_before_it() -> None:
    mailbox = Mailbox(3, opened_at=1)
    assert mailbox.interject(b"pong")
    assert mailbox.torn is not None
    assert (mailbox.torn.rest, mailbox.torn.numbered) == (b"pong", None)
