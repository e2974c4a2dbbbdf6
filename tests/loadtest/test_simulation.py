"""The model of traffic between nodes and Redis: what can be counted by hand, and what must hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtest.simulation import BUSY, LONGEST_S, Cluster, Costs, settle, simulate

LONE = Cluster(
    devices=1_000_000, devices_per_node=10_000, pushes_per_s=10, connects_per_s=0, round_trip_s=1e-6
)


def test_a_lone_push_is_looked_up_sent_and_read():
    traffic = simulate(replace(LONE, devices_per_node=10), 100, 0)
    assert traffic.commands_per_push == pytest.approx(3, abs=0.01)
    assert traffic.pushes_per_message == 1


def test_a_push_for_a_device_of_the_same_node_is_only_looked_up():
    traffic = simulate(replace(LONE, devices_per_node=1_000_000), 100, 0)
    assert traffic.commands_per_push == 1


def test_what_shares_a_round_trip_shares_commands():
    """As many pushes at one node as reach every partition, and each of 16 nodes."""
    cluster = Cluster(
        devices=16,
        devices_per_node=1,
        entries=1,
        pushes_per_s=500_000,
        connects_per_s=0,
        round_trip_s=1e-3,
    )
    traffic = simulate(cluster, 0.1, 0)
    assert traffic.commands_per_push == pytest.approx((1 + 15 + 15) / 500, rel=0.02)
    assert traffic.pushes_per_message == pytest.approx(500 / 16, rel=0.03)
    costs = Costs()
    expected_us = (traffic.commands_per_push * costs.node_command_s + costs.node_element_s) * 1e6
    assert traffic.node_us_per_push == pytest.approx(expected_us)


def test_as_many_come_as_were_ordered():
    cluster = replace(LONE, pushes_per_s=2_000, connects_per_s=1_000, round_trip_s=1e-3)
    traffic = simulate(cluster, 10, 1)
    assert traffic.pushes == pytest.approx(2_000, rel=0.05)
    assert traffic.commands_per_connect == pytest.approx(1, abs=0.02)
    expected = traffic.commands_per_push * traffic.pushes + 1_000
    assert traffic.commands_per_s == pytest.approx(expected, rel=0.05)


def test_the_seed_decides():
    cluster = replace(LONE, pushes_per_s=1_000)
    assert simulate(cluster, 1, 7) == simulate(cluster, 1, 7)
    assert simulate(cluster, 1, 7) != simulate(cluster, 1, 8)


@pytest.mark.parametrize(("shards", "share"), [(2, 1 / 2), (8, 1 / 8), (32, 1 / 32)])
def test_primaries_share_the_load_and_the_registry(shards, share):
    one = simulate(replace(LONE, pushes_per_s=50_000), 1, 0)
    several = simulate(replace(LONE, pushes_per_s=50_000, shards=shards), 1, 0)
    assert several.busiest_shard == pytest.approx(one.busiest_shard * share, rel=0.3)
    assert several.busiest_shard > one.busiest_shard * share, "never quite evenly"
    assert several.registry_bytes_per_shard == one.registry_bytes_per_shard * share


def test_no_traffic_is_no_load():
    traffic = simulate(replace(LONE, pushes_per_s=0), 1, 0)
    assert (traffic.commands_per_s, traffic.busiest_shard, traffic.node_us_per_push) == (0, 0, 0)


def test_batches_grow_until_redis_keeps_up():
    busy = replace(LONE, pushes_per_s=200_000, round_trip_s=1e-3)
    assert simulate(busy, 0.1, 0).busiest_shard > 1
    settled, traffic = settle(busy, 1_000, 0)
    assert settled.round_trip_s > busy.round_trip_s
    assert traffic.busiest_shard <= BUSY
    assert traffic.commands_per_push < simulate(busy, 0.1, 0).commands_per_push


def test_what_no_batch_can_help_is_told():
    hopeless = replace(LONE, pushes_per_s=10_000, costs=Costs(redis_element_s=1))
    settled, traffic = settle(hopeless, 100, 0)
    assert traffic.busiest_shard > 1
    assert settled.round_trip_s <= LONGEST_S < 2 * settled.round_trip_s
