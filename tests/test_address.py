from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_push.address import Address
from trio_push.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("[::1]:0", ("::1", 0)),
        (":8378", ("", 8378)),
        ("localhost:8080", ("localhost", 8080)),
        ("push.example.com:65535", ("push.example.com", 65535)),
        ("[fe80::1%eth0]:80", ("fe80::1%eth0", 80)),
    ],
)
def test_an_address_is_read_and_shown_again(text: str, address: tuple[str, int]) -> None:
    assert Address.parse(text) == address
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not an address: write 127.0.0.1:8080"),
        ("8080", "is not an address"),
        ("localhost", "is not an address"),
        ("localhost:", "is not an address"),
        ("localhost:http", "is not an address"),
        ("localhost:-1", "is not an address"),
        ("localhost:٣", "is not an address"),
        ("localhost:65536", "the highest is 65535"),
        ("::1:8080", "put brackets"),
        ("[localhost]:80", "no IPv6 address"),
        ("[127.0.0.1]:80", "no IPv6 address"),
        ("http://localhost:80", "put brackets|not a host"),
        ("local host:80", "not a host"),
    ],
)
def test_what_is_no_address(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Address.parse(text)


@given(st.text(alphabet=":[].%0123456789abcdef") | st.text())
def test_any_text_is_an_address_or_a_config_error(text: str) -> None:
    with suppress(ConfigError):
        address = Address.parse(text)
        assert 0 <= address.port <= 65535
        assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "is_loopback", "is_wildcard"),
    [
        ("127.0.0.1:1", True, False),
        ("127.9.9.9:1", True, False),
        ("[::1]:1", True, False),
        ("localhost:1", True, False),
        (":1", False, True),
        ("0.0.0.0:1", False, True),
        ("[::]:1", False, True),
        ("10.0.0.1:1", False, False),
        ("push.example.com:1", False, False),
    ],
)
def test_who_can_reach_an_address(text: str, is_loopback: bool, is_wildcard: bool) -> None:
    address = Address.parse(text)
    assert (address.is_loopback, address.is_wildcard) == (is_loopback, is_wildcard)


@pytest.mark.parametrize(
    ("one", "other", "collide"),
    [
        ("127.0.0.1:1", "127.0.0.1:1", True),
        ("127.0.0.1:1", "127.0.0.2:1", False),
        ("127.0.0.1:1", "127.0.0.1:2", False),
        ("127.0.0.1:0", "127.0.0.1:0", False),
        (":1", "127.0.0.1:1", True),
        ("127.0.0.1:1", "0.0.0.0:1", True),
    ],
)
def test_addresses_that_cannot_both_be_opened(one: str, other: str, collide: bool) -> None:
    assert Address.parse(one).collides(Address.parse(other)) is collide
