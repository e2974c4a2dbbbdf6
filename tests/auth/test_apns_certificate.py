"""Push certificates: what they are for, whatever stands in them."""

from __future__ import annotations

import ssl
from datetime import timedelta

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from tests.auth import provider
from tests.auth.provider import APP, MDM, NOW, authority, der
from trio_push.auth.apns_certificate import TOPICS, encode_topics, parse_certificate
from trio_push.certificates import common_name, issue
from trio_push.commands.apns_credentials import make_push_certificate


def test_of_one_topic() -> None:
    certificate = parse_certificate(der(provider.mdm_certificate()))
    assert certificate.topics == {MDM.encode()}
    assert certificate.default_topic == MDM.encode()
    assert certificate.environments == {"development", "production"}
    assert certificate.serial == provider.mdm_certificate().certificate.serial_number


def test_of_several_topics() -> None:
    certificate = parse_certificate(der(provider.app_certificate()))
    expected = {APP, f"{APP}.voip", f"{APP}.location-query"}
    assert certificate.topics == {topic.encode() for topic in expected}
    assert certificate.default_topic == b""


def test_many_and_long_topics() -> None:
    """Their lengths take more than one byte."""
    topics = [(f"com.example.{'a' * length}", "app") for length in (1, 100, 127, 128, 200, 300)]
    made = make_push_certificate(authority(), APP, "many", NOW, listed=encode_topics(topics))
    found = parse_certificate(der(made)).topics
    assert found == {APP.encode(), *(topic.encode() for topic, _ in topics)}


@pytest.mark.parametrize("environments", [(), ("production",), ("development",)])
def test_marks(environments: tuple[str, ...]) -> None:
    made = provider.mdm_certificate(environments)
    assert parse_certificate(der(made)).environments == set(environments)


@pytest.mark.parametrize(
    "nothing", [b"", b"x", der(provider.plain_certificate()), ssl.PEM_HEADER.encode()]
)
def test_what_is_none(nothing: bytes) -> None:
    assert parse_certificate(nothing).topics == frozenset()


@given(st.binary(max_size=40))
def test_any_list_of_topics(listed: bytes) -> None:
    extension = x509.UnrecognizedExtension(TOPICS, listed)
    made = issue(authority(), common_name("odd"), timedelta(days=1), NOW, extension)
    parse_certificate(der(made))


@given(st.binary(max_size=60), st.integers(min_value=0, max_value=400))
def test_any_damage(junk: bytes, at: int) -> None:
    good = der(provider.mdm_certificate())
    parse_certificate(good[:at] + junk + good[at + len(junk) :])
