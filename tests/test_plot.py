"""Plots of several lines: points lie where their values say."""

import xml.etree.ElementTree as ET

import pytest

from pixlab.plot import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, plot

SVG = "{http://www.w3.org/2000/svg}"
LINES = {"a <b>": [(8, 1.0), (32, 10.0), (128, 100.0)], "c": [(8, 100.0), (128, 1.0)]}


def points(text):
    lines = ET.fromstring(text).iter(f"{SVG}polyline")
    return [[tuple(map(float, p.split(","))) for p in line.get("points").split()] for line in lines]


def test_logarithms_make_powers_a_straight_line():
    first, second = points(plot(LINES, title="t", x="x", y="y", log_x=True, log_y=True))
    left, right, top, bottom = LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM
    assert first == [(left, bottom), ((left + right) / 2, (top + bottom) / 2), (right, top)]
    assert second == [(left, top), (right, bottom)]


def test_without_logarithms_and_from_zero():
    (line,) = points(plot({"a": [(0, 20.0), (10, 50.0), (20, 100.0)]}, title="t", x="x", y="y"))
    height = HEIGHT - BOTTOM - TOP
    assert [round((HEIGHT - BOTTOM - y) / height, 3) for _, y in line] == [0.2, 0.5, 1.0]


def test_long_names_have_room():
    short, long = (
        ET.fromstring(plot({name: [(0, 1.0), (1, 2.0)]}, title="t", x="x", y="y")) for name in ("a", 40 * "m")
    )
    assert float(short.get("width")) == WIDTH
    assert float(long.get("width")) >= WIDTH - RIGHT + 42 + 40 * 7 == float(long.get("viewBox").split()[2]) - 8


def test_words_are_shown_as_they_are():
    text = plot(LINES, title="T & t", x="x", y="y", dashed=["c"])
    words = [each.text for each in ET.fromstring(text).iter(f"{SVG}text")]
    assert {"T & t", "a <b>", "c", "x", "y", "8", "32", "128"} <= set(words)
    assert text.count("stroke-dasharray") == 2  # the line, and its sample in the legend


@pytest.mark.parametrize(
    ("lines", "log", "words"),
    [
        ({}, False, "nothing to plot"),
        ({"a": [(1, 0.0)]}, True, "cannot be plotted"),
        ({"a": [(1, float("nan"))]}, False, "cannot be plotted"),
    ],
)
def test_what_cannot_be_plotted(lines, log, words):
    with pytest.raises(ValueError, match=words):
        plot(lines, title="t", x="x", y="y", log_y=log)


def test_one_point_and_a_flat_line():
    (line,) = points(plot({"a": [(3, 7.0)]}, title="t", x="x", y="y"))
    assert len(line) == 1
    assert len(points(plot({"a": [(1, 7.0), (2, 7.0)]}, title="t", x="x", y="y"))[0]) == 2
