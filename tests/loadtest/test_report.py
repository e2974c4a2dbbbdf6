"""Medians, ratios, verdicts, and the two forms of a report."""

from __future__ import annotations

import io
from math import isnan, nan

import orjson
import pytest
from rich.console import Console

from loadtest.report import Bound, Column, Measured, Report, as_json, print_report


@pytest.fixture
def measured():
    return Measured(
        {
            "ours": [{"cost": 12.0}, {"cost": 30.0}, {"cost": 11.0}],
            "bare": [{"cost": 10.0}, {"cost": 20.0}, {"cost": 10.0}],
        },
        {"absent": "needs apt install [absent]"},
    )


def make_report(measured, *bounds):
    columns = (Column("cost", "CPU, µs", 1), Column("ratio", "× bare", 2))
    return Report("fanout", {"devices": 5}, columns, measured, bounds)


def test_a_figure_is_the_median_over_the_rounds(measured):
    assert measured.figure("ours", "cost") == 12.0


@pytest.mark.parametrize(("subject", "metric"), [("absent", "cost"), ("ours", "ratio")])
def test_what_was_not_measured_is_not_a_number(measured, subject, metric):
    assert isnan(measured.figure(subject, metric))


def test_ratios_are_taken_within_a_round(measured):
    measured.set_ratios(["ours", "bare", "absent"], "bare", "cost")
    assert [sample["ratio"] for sample in measured.samples["ours"]] == [1.2, 1.5, 1.1]
    assert measured.figure("ours", "ratio") == 1.2
    assert measured.figure("bare", "ratio") == 1.0


def test_there_is_no_ratio_to_nothing():
    measured = Measured({"ours": [{"cost": 1.0}], "bare": [{"cost": 0.0}]})
    measured.set_ratios(["ours"], "bare", "cost")
    assert isnan(measured.figure("ours", "ratio"))


def test_without_the_limit_there_are_no_ratios(measured):
    measured.set_ratios(["ours"], "absent", "cost")
    assert isnan(measured.figure("ours", "ratio"))


@pytest.mark.parametrize(
    ("figure", "kind", "limit", "aim", "verdict"),
    [
        (4.6, "at most", 4.5, 4.0, "miss"),
        (4.5, "at most", 4.5, 4.0, "ok"),
        (4.0, "at most", 4.5, 4.0, "ok, aim reached"),
        (4.0, "at most", 4.5, None, "ok"),
        (0.39, "at least", 0.4, 0.6, "miss"),
        (0.4, "at least", 0.4, 0.6, "ok"),
        (0.6, "at least", 0.4, 0.6, "ok, aim reached"),
        (nan, "at least", 0.4, 0.6, "not measured"),
    ],
)
def test_verdicts(figure, kind, limit, aim, verdict):
    assert Bound("it", figure, kind, limit, aim).verdict == verdict


@pytest.mark.parametrize(
    ("figures", "ok"), [([], True), ([1.0, nan], True), ([1.0, 3.0], False), ([3.0], False)]
)
def test_a_report_is_ok_when_no_bound_is_missed(measured, figures, ok):
    bounds = [Bound("it", figure, "at most", 2.0) for figure in figures]
    assert make_report(measured, *bounds).ok is ok


def test_the_table_shows_figures_bounds_and_what_was_skipped(measured):
    measured.set_ratios(["ours"], "bare", "cost")
    page = io.StringIO()
    bounds = (
        Bound("cost", 1.2, "at most", 1.5, 1.25),
        Bound("rate", 0.3, "at least", 0.4),
        Bound("pushes", 119_900, "at least", 118_800),
    )
    print_report(make_report(measured, *bounds), Console(file=page, width=100))
    text = page.getvalue()
    rows = [[cell.strip() for cell in line.split("│")] for line in text.splitlines()]
    assert "fanout (devices 5)" in text
    assert ["", "ours", "12.0", "1.20", ""] in rows
    assert ["", "bare", "10.0", "", ""] in rows
    assert "cost: 1.2 (at most 1.5, aim 1.25) ok, aim reached" in text
    assert "rate: 0.3 (at least 0.4) miss" in text
    assert "pushes: 119,900 (at least 118,800) ok" in text
    assert "skipped absent: needs apt install [absent]" in text


def test_metrics_stand_in_rows_where_there_are_more_of_them(measured):
    del measured.samples["bare"]
    page = io.StringIO()
    print_report(make_report(measured), Console(file=page, width=30))
    rows = [[cell.strip() for cell in line.split("│")] for line in page.getvalue().splitlines()]
    assert ["", "CPU, µs", "12.0", ""] in rows


def test_json_has_medians_samples_and_verdicts(measured):
    report = make_report(measured, Bound("it", nan, "at most", 2.0))
    values = orjson.loads(orjson.dumps(as_json(report)))
    assert values["medians"] == {"ours": {"cost": 12.0}, "bare": {"cost": 10.0}}
    assert values["samples"]["ours"][1] == {"cost": 30.0}
    assert values["bounds"][0]["verdict"] == "not measured"
    assert values["bounds"][0]["figure"] is None
    assert values["skipped"] == {"absent": "needs apt install [absent]"}
    assert values["ok"] is True
