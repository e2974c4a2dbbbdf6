"""The table of sizes and moments."""

from __future__ import annotations

from loadtest.scenarios import simulate


def test_sizes_and_moments(monkeypatch):
    monkeypatch.setattr(simulate, "_EVENTS", 2_000)
    report = simulate.run((300_000, 100_000_000), 50_000, 0, 1, 0)
    names = [f"{size} {moment}" for size in ("300k", "100M") for moment in MOMENTS]
    assert list(report.measured.samples) == names
    figure = report.measured.figure
    assert figure("100M rollout", "nodes") == 2_000
    assert figure("100M rush", "pushes") == 100_000_000 / 60
    assert figure("100M storm", "connects") == 10_000_000 / 30
    assert figure("100M rush", "round_trip_ms") > figure("100M quiet", "round_trip_ms") == 1
    assert not report.ok
    assert simulate.run((300_000,), 50_000, 0, 1, 0).ok


def test_pushes_that_enter_at_one_node_share_commands(monkeypatch):
    monkeypatch.setattr(simulate, "_EVENTS", 20_000)
    spread = simulate.run((5_000_000,), 50_000, 0, 3, 0).measured
    entered = simulate.run((5_000_000,), 50_000, 1, 3, 0).measured
    commands = "commands_per_push"
    assert entered.figure("5M rush", commands) < 0.8 * spread.figure("5M rush", commands)


MOMENTS = ("quiet", "rollout", "rush", "storm")
