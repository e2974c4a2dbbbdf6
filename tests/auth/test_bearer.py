from __future__ import annotations

import pytest

from trio_push.auth.bearer import bearers


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], set()),
        ([b"Bearer abc"], {b"abc"}),
        ([b"bearer abc"], {b"abc"}),
        ([b"BEARER   abc "], {b"abc"}),
        ([b" Bearer abc"], {b"abc"}),
        ([b"Bearer"], set()),
        ([b"Bearer "], set()),
        ([b"Bearerabc"], set()),
        ([b"Basic abc"], set()),
        ([b"abc"], set()),
        ([b""], set()),
        ([b"Basic abc", b"Bearer def"], {b"def"}),
        ([b"Bearer abc", b"Bearer abc"], {b"abc"}),
        ([b"Bearer abc", b"Bearer def"], {b"abc", b"def"}),
        # a list in one header is not taken apart: it is no token
        ([b"Bearer abc, Bearer def"], {b"abc, Bearer def"}),
    ],
)
def test_bearer_tokens(values: list[bytes], found: set[bytes]) -> None:
    headers = [(b"host", b"Bearer no"), *((b"authorization", value) for value in values)]
    assert bearers(headers) == found
