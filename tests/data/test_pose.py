"""Frames of people: picture and joints move together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixlab.data.pose import counterparts, example, observer_centric, warp

JOINTS = ("nose", "left_hip", "right_hip", "left_wrist", "right_wrist")
COLOURS = np.array([[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]], np.uint8)
PLACES = np.float32([[40, 20], [50, 50], [30, 52], [62, 34], [18, 40]])


def person():
    """A dot of its own colour at each joint."""
    image = np.zeros((72, 84, 3), np.uint8)
    for (x, y), colour in zip(PLACES.astype(int), COLOURS, strict=True):
        image[y - 2 : y + 3, x - 2 : x + 3] = colour
    return {"image": image, "joints": PLACES.copy(), "name": "one"}


def found(image, colour):
    """The middle of what has a colour, bright or dark."""
    light = image.max(-1) / 255.0
    weight = light * (np.abs(image / np.maximum(255 * light[..., None], 1) - colour / 255.0) < 0.2).all(-1)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return [(weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()]


@settings(max_examples=40, deadline=None)
@given(st.floats(0.7, 1.6), st.floats(-40, 40), st.booleans(), st.floats(36, 46), st.floats(32, 42))
def test_joints_are_where_the_picture_shows_them(scale, degrees, mirror, x, y):
    new = warp(person(), JOINTS, size=(140, 160), middle=(x, y), scale=scale, degrees=degrees, mirror=mirror)
    assert new["image"].shape == (140, 160, 3) and new["name"] == "one"
    shown = COLOURS[counterparts(JOINTS)] if mirror else COLOURS  # a mirrored left hip is a right one
    for place, colour in zip(new["joints"], shown, strict=True):
        np.testing.assert_allclose(found(new["image"], colour), place, atol=0.35)


def test_nothing_changes_without_a_change():
    old = person()
    new = warp(old, JOINTS, size=(72, 84), middle=(41.5, 35.5))
    np.testing.assert_array_equal(new["image"], old["image"])
    np.testing.assert_allclose(new["joints"], old["joints"], atol=1e-5)


def test_twice_mirrored_is_as_before():
    once = warp(person(), JOINTS, size=(72, 84), middle=(41.5, 35.5), mirror=True)
    assert once["joints"][1, 0] < 84 - 1 - 20 and once["joints"][1].tolist() == pytest.approx([83 - 30, 52])
    twice = warp(once, JOINTS, size=(72, 84), middle=(41.5, 35.5), mirror=True)
    np.testing.assert_array_equal(twice["image"], person()["image"])
    np.testing.assert_allclose(twice["joints"], PLACES, atol=1e-4)


def test_clockwise():
    new = warp(person(), JOINTS, size=(84, 84), middle=(40, 50), degrees=90)  # the nose was above
    np.testing.assert_allclose(new["joints"][0], [41.5 + 30, 41.5], atol=1e-4)


def test_missing_joints_stay_missing_and_count_as_nothing():
    frame = person()
    frame["joints"][3] = np.nan
    new = warp(frame, JOINTS, size=(72, 84), middle=(41.5, 35.5), mirror=True)
    assert np.isnan(new["joints"][4]).all() and np.isfinite(new["joints"][:4]).all()
    ready = example(new)
    assert ready["known"].tolist() == [1, 1, 1, 1, 0] and ready["joints"][4].tolist() == [0, 0]
    assert ready["image"].dtype == np.float32 and ready["image"].max() <= 1


def test_sides_as_the_observer_has_them():
    back = PLACES[counterparts(JOINTS)]  # somebody who turns the back: the left hip is to the left
    np.testing.assert_array_equal(observer_centric(PLACES, JOINTS), PLACES)
    np.testing.assert_array_equal(observer_centric(back, JOINTS), PLACES)
    unknown = back.copy()
    unknown[1] = np.nan
    np.testing.assert_array_equal(observer_centric(unknown, JOINTS), unknown)
