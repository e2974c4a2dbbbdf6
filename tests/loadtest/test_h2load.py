"""Reading what h2load prints."""

from __future__ import annotations

import pytest

from loadtest.child import Failed
from loadtest.h2load import Load, parse

OUTPUT = """\
finished in {time}, 13050.00 req/s, 140.52KB/s
requests: 26100 total, 26500 started, 26100 done, 26100 succeeded, {failed} failed, 0 errored, \
0 timeout
status codes: 26101 2xx, 0 3xx, {refused} 4xx, 0 5xx
"""


@pytest.mark.parametrize(
    ("time", "seconds"), [("2.00s", 2.0), ("650.69ms", 0.65069), ("12us", 12e-6)]
)
def test_pushes_and_seconds(time, seconds):
    assert parse(OUTPUT.format(time=time, failed=0, refused=0)) == Load(
        26100, pytest.approx(seconds)
    )


@pytest.mark.parametrize(("failed", "refused"), [(1, 0), (0, 1)])
def test_a_push_that_was_refused_is_no_load(failed, refused):
    with pytest.raises(Failed, match="refused"):
        parse(OUTPUT.format(time="2.00s", failed=failed, refused=refused))


def test_so_many_streams_may_be_refused():
    output = OUTPUT.format(time="2.00s", failed=5, refused=0)
    assert parse(output, 5) == Load(26095, 2.0)
    with pytest.raises(Failed, match="refused"):
        parse(output, 4)


def test_other_output_is_not_understood():
    with pytest.raises(Failed, match="in:"):
        parse("h2load: could not connect")
