from __future__ import annotations

from xml.etree import ElementTree

import pytest

from loadtest.plot import Curve, Panel, Stretch, _round_up, svg


def test_is_one_file_of_xml_that_needs_nothing_else():
    text = svg(
        "A <title>",
        [0.0, 1.0, 2.0],
        [
            Panel("one & two", [Curve("a", [0, 1, 2]), Curve("b", [2, 1, 0])]),
            Panel("three", [Curve("c", [5, 5, 5])]),
        ],
        [Stretch("first", 0, 1)],
    )
    root = ElementTree.fromstring(text)
    lines = root.findall("{*}polyline")
    assert len(lines) == 3
    assert len(lines[0].get("points").split()) == 3
    texts = [each.text for each in root.findall("{*}text")]
    assert {"A <title>", "one & two", "a", "b", "c", "first"} <= set(texts)
    assert "href" not in text


@pytest.mark.parametrize(
    ("value", "above"), [(0, 1), (1, 1), (1.5, 2), (3, 5), (7, 10), (11, 20), (1400, 2000)]
)
def test_axes_end_at_a_round_number(value, above):
    assert _round_up(value) == above
