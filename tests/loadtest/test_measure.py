"""Figures from the kernel, checked on this process and on a child of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from loadtest.measure import (
    Usage,
    cpu_s,
    family,
    kernel_bytes,
    open_files,
    percentile,
    pss_bytes,
    usage,
)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([7], 0.5, 7),
        ([3, 1, 2], 0.5, 2),
        ([1, 2, 3, 4], 0.5, 2),
        (range(1, 101), 0.99, 99),
        (range(1, 101), 1.0, 100),
        ([1, 2], 0.0, 1),
    ],
)
def test_percentile_is_of_the_nearest_rank(values, share, expected):
    assert percentile(values, share) == expected


def test_usage_is_subtracted_field_by_field():
    cost = Usage(3.0, 500, 70, 10.0) - Usage(1.0, 200, 100, 4.0)
    assert cost == Usage(2.0, 300, -30, 6.0)


def test_a_family_has_children_in_it_and_ends_with_them():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert family(os.getpid()) == [os.getpid(), child.pid]
        child.communicate(b"\n")
    assert family(os.getpid()) == [os.getpid()]


def test_cpu_time_is_that_of_the_process_asked_for():
    own, before_s = os.getpid(), time.process_time()
    assert cpu_s(own) == pytest.approx(before_s, abs=0.05)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        sum(range(2_000_000))
        assert cpu_s(child.pid) < cpu_s(own)
        child.communicate(b"\n")


def test_memory_that_is_touched_shows():
    before = usage(os.getpid())
    block = b"x" * 50_000_000
    assert pss_bytes(os.getpid()) - before.pss_bytes == pytest.approx(len(block), rel=0.1)


def test_files_are_counted():
    own = os.getpid()
    before = open_files(own)
    with open(os.devnull), open(os.devnull):
        assert open_files(own) == before + 2


def test_the_kernel_uses_memory():
    assert kernel_bytes() > 1_000_000


def test_a_process_that_ended_has_no_usage():
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    with pytest.raises(OSError, match=str(child.pid)):
        usage(child.pid)
