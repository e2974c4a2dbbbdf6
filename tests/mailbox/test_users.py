from __future__ import annotations

import pytest

from trio_push.errors import Refusal
from trio_push.mailbox.journal import NoJournal
from trio_push.mailbox.users import Users


def test_enrol_and_remove() -> None:
    users = Users(NoJournal(), per_user=3)
    users.enrol("alice", "aa")
    users.enrol("alice", "bb")
    users.enrol("alice", "bb")
    users.enrol("bob", "cc")
    assert users.tokens("alice") == ["aa", "bb"]
    assert users.others("aa") == ["bb"]
    assert users.others("cc") == []
    users.remove("aa")
    users.remove("aa")
    assert users.tokens("alice") == ["bb"]
    assert len(users) == 2


def test_a_token_changes_hands() -> None:
    users = Users(NoJournal(), per_user=3)
    users.enrol("alice", "aa")
    users.enrol("bob", "aa")
    assert users.tokens("alice") == []
    assert users.others("aa") == []
    assert len(users) == 1


def test_bounded() -> None:
    users = Users(NoJournal(), per_user=1)
    users.enrol("alice", "aa")
    with pytest.raises(Refusal, match="as many devices"):
        users.enrol("alice", "bb")
    users.enrol("alice", "aa")
    assert users.tokens("alice") == ["aa"]
