from __future__ import annotations

import pytest

from trio_push.engine.url import RedisUrl
from trio_push.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("redis://r", RedisUrl((("r", 6379),))),
        ("redis://r:1/2", RedisUrl((("r", 1),), db=2)),
        ("redis://r?db=3", RedisUrl((("r", 6379),), db=3)),
        ("redis://[::1]:1", RedisUrl((("::1", 1),))),
        (
            "rediss://me:p%40ss@r?ca=/ca.pem",
            RedisUrl(
                (("r", 6379),), username="me", password="p@ss", is_tls=True, ca_file="/ca.pem"
            ),
        ),
        ("redis://:secret@r", RedisUrl((("r", 6379),), password="secret")),
        ("redis+cluster://a:1,b", RedisUrl((("a", 1), ("b", 6379)), is_cluster=True)),
        ("rediss+cluster://a", RedisUrl((("a", 6379),), is_cluster=True, is_tls=True)),
        ("unix:/run/r.sock", RedisUrl(path="/run/r.sock")),
        ("unix:///run/r%20s.sock?db=1", RedisUrl(path="/run/r s.sock", db=1)),
    ],
)
def test_where_redis_is(text: str, url: RedisUrl) -> None:
    assert RedisUrl.parse(text) == url


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no URL"),
        ("localhost:6379", "no URL"),
        ("http://r", "no URL"),
        ("redis://", "no URL"),
        ("redis://a,b", "redis\\+cluster"),
        ("redis://a:x", "'a:x' is no address"),
        ("redis://a/x", "'x' is no database"),
        ("redis+cluster://a/1", "no databases"),
        ("redis://a?dbb=1", "no 'dbb'"),
        ("unix:", "path of the socket"),
    ],
)
def test_what_is_no_redis(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        RedisUrl.parse(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://me:secret@r/1", "redis://r:6379/1"),
        ("rediss+cluster://:secret@a:1,[::1]:2", "rediss+cluster://a:1,[::1]:2"),
        ("unix:/run/r.sock", "unix:/run/r.sock"),
    ],
)
def test_shown_without_its_password(text: str, shown: str) -> None:
    assert str(RedisUrl.parse(text)) == shown
