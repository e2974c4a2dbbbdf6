from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_push.swarm.histogram import PERCENTILES, Histogram

durations = st.lists(st.integers(0, 10**9).map(lambda us: us / 1e6), min_size=1, max_size=200)


def filled(values_s: list[float]) -> Histogram:
    histogram = Histogram()
    for value in values_s:
        histogram.record(value)
    return histogram


def test_empty() -> None:
    assert Histogram().summary_ms() == dict.fromkeys([*PERCENTILES, "max"])


def test_exact_below_256_us() -> None:
    histogram = filled([us / 1e6 for us in range(1, 101)])
    assert histogram.summary_ms() == {
        "p50": 0.05,
        "p90": 0.09,
        "p99": 0.099,
        "p999": 0.1,
        "max": 0.1,
    }


def test_negative_counts_as_zero() -> None:
    histogram = filled([-0.5])
    assert histogram == Histogram({0: 1}, count=1, max_us=0)


@given(durations, st.floats(0.001, 1))
def test_percentile_is_at_most_one_part_in_128_too_high(values: list[float], q: float) -> None:
    exact = sorted(values)[math.ceil(q * len(values)) - 1]
    estimate = filled(values).percentile_s(q)
    assert estimate is not None
    assert exact - 2e-6 <= estimate <= exact * (1 + 1 / 128) + 2e-6
    assert estimate <= max(values)


@given(durations, durations)
def test_merge_is_as_if_one_had_recorded_all(left: list[float], right: list[float]) -> None:
    merged = filled(left)
    merged.merge(filled(right))
    assert merged == filled(left + right)


@given(durations)
def test_survives_pickling(values: list[float]) -> None:
    histogram = filled(values)
    assert pickle.loads(pickle.dumps(histogram)) == histogram


@pytest.mark.parametrize("us", [0, 1, 255, 256, 257, 511, 512, 65_535, 65_536, 10**9])
def test_buckets_touch(us: int) -> None:
    """A longer duration never falls into a lower bucket."""
    keys = [next(iter(filled([value / 1e6 + 1e-7]).counts)) for value in (us, us + 1, 2 * us + 1)]
    assert keys == sorted(keys)
