from __future__ import annotations

from trio_push.push import State
from trio_push.watch.ledger import Ledger
from trio_push.watch.summing import counters_of, settle_between, sum_books, sum_metrics

ONE = b"""\
# HELP a_total Of a.
# TYPE a_total counter
a_total{why="x"} 1.0
a_total{why="y"} 2.0
# HELP g Of g.
# TYPE g gauge
g 10.0
# HELP h Of h.
# TYPE h histogram
h_bucket{le="1.0"} 3.0
h_bucket{le="+Inf"} 4.0
h_count 4.0
h_sum 5.5
# HELP process_start_time_seconds Start.
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1000.0
"""


def test_one_is_as_it_was() -> None:
    assert sum_metrics([ONE]) == ONE


def test_figures_are_summed_by_name_and_labels() -> None:
    two = b"""\
# HELP b_total Of b.
# TYPE b_total counter
b_total 7.0
# HELP a_total Of a.
# TYPE a_total counter
a_total{why="y"} 5.0
a_total{why="z"} 6.0
# HELP h Of h.
# TYPE h histogram
h_bucket{le="1.0"} 1.0
h_bucket{le="+Inf"} 1.0
h_count 1.0
h_sum 0.5
# HELP process_start_time_seconds Start.
# TYPE process_start_time_seconds gauge
process_start_time_seconds 900.0
"""
    lines = sum_metrics([ONE, two]).decode().splitlines()
    assert [line for line in lines if line[0] != "#"] == [
        'a_total{why="x"} 1.0',
        'a_total{why="y"} 7.0',
        'a_total{why="z"} 6.0',
        "g 10.0",
        'h_bucket{le="1.0"} 4.0',
        'h_bucket{le="+Inf"} 5.0',
        "h_count 5.0",
        "h_sum 6.0",
        "process_start_time_seconds 900.0",
        "b_total 7.0",
    ]
    assert len([line for line in lines if line[0] == "#"]) == 2 * 5


def test_counters_are_what_does_not_stand_for_a_moment() -> None:
    text = counters_of(ONE).decode()
    assert "a_total" in text
    assert "h_sum" in text
    assert "\ng " not in text
    assert "process_start_time" not in text
    assert sum_metrics([b"", counters_of(ONE)]) == counters_of(ONE)


def books(entered: State, *, refused: str, off_by: int = 0) -> dict[str, object]:
    ledger = Ledger()
    ledger.enter(entered, 2)
    ledger.refuse(refused)
    return ledger.snapshot({state: ledger.counts[state] + off_by for state in State})


def test_books_are_summed() -> None:
    one = books(State.STORED, refused="Shutdown")
    two = books(State.DROPPED_MAILBOX_FULL, refused="TooManyRequests")
    both = sum_books([one, two, two])
    assert (both["accepted"], both["balanced"]) == (6, True)
    assert both["open"]["stored"] == 2
    assert both["dropped"]["mailbox_full"] == both["ended"]["dropped"] == 4
    assert both["refused"] == {"Shutdown": 1, "TooManyRequests": 2}
    assert one["accepted"] == 2


def test_faults_on_demand_are_summed_by_rule() -> None:
    one, two = Ledger(), Ledger()
    for ledger, rule in ((one, "a"), (two, "a"), (two, "b")):
        ledger.befall(rule, "reset")
    none = dict.fromkeys(State, 0)
    assert sum_books([one.snapshot(none), two.snapshot(none)])["faults"] == [
        {"rule": "a", "action": "reset", "times": 2},
        {"rule": "b", "action": "reset", "times": 1},
    ]


def test_one_that_is_not_balanced_is_seen() -> None:
    one = books(State.STORED, refused="Shutdown")
    two = books(State.STORED, refused="Shutdown", off_by=1)
    assert sum_books([one, two])["balanced"] is False


def test_what_nodes_handed_to_each_other_is_left_out() -> None:
    giver, taker = Ledger(), Ledger()
    giver.enter(State.HANDED_OVER, 5)
    taker.take_over(State.DELIVERED_LIVE, 3)
    both = sum_books(
        each.snapshot({state: each.counts[state] for state in State}) for each in (giver, taker)
    )
    settle_between(both)
    assert (both["accepted"], both["taken_over"]) == (5, 0)
    assert (both["ended"]["handed_over"], both["ended"]["delivered"]) == (2, 3)
