from __future__ import annotations

from trio_push.faults import Faults
from trio_push.faults.active import Subject
from trio_push.faults.magic import MAGIC, PREFIX, magic_rules
from trio_push.wire.tokens import parse_token


def test_each_is_a_token_and_has_its_own_rule() -> None:
    assert len({each.token_prefix for each in MAGIC}) == len(MAGIC)
    for each in MAGIC:
        assert each.token_prefix.startswith(PREFIX)
        assert len(each.token_prefix) == 8
        assert parse_token(each.token_prefix.encode()) == each.token_prefix


def test_each_does_what_it_says_and_others_nothing() -> None:
    faults = Faults("n", lambda rule: None)
    faults.add(magic_rules(), 0.0)
    benches = [faults.requests, faults.pushes, faults.devices]
    for each in MAGIC:
        subject = Subject(each.token_prefix + 56 * "0")
        happens = [f.action for bench in benches if bench for f in bench.judge(0.0, subject)]
        assert happens == [each.action]
    for token in ("fa17", "fa170200", "00fa170410"):
        assert not any(bench.judge(0.0, Subject(token)) for bench in benches if bench)
