from __future__ import annotations

import pytest

from trio_push.wire.apns_strict_topics import PUSH_TYPES, bundle_id, push_type_of


@pytest.mark.parametrize("name", PUSH_TYPES)
def test_each_type_knows_its_own_topics_alone(name: bytes) -> None:
    kind = PUSH_TYPES[name]
    base = b"com.apple.mgmt.External.x" if kind.prefix else b"com.example.app"
    topic = base + kind.suffix
    fitting = {other for other, it in PUSH_TYPES.items() if it.fits(topic)}
    alike = {b"alert", b"background"}
    assert fitting == (alike if name in alike else {name})
    assert bundle_id(topic) == base
    assert push_type_of(topic) is PUSH_TYPES[b"alert" if name in alike else name]


@pytest.mark.parametrize("topic", [b"", b".voip", b"com.example.voip-ptt.x", b"voip"])
def test_a_topic_that_is_a_bundle_id_alone(topic: bytes) -> None:
    assert bundle_id(topic) == topic
    assert push_type_of(topic) is PUSH_TYPES[b"alert"]
