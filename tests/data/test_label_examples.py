"""Windows of labelled frames: each pixel carries where it was, so that picture and label are seen to go together."""

import numpy as np
import pytest

from pixlab.data.label_classes import CAMVID, Classes
from pixlab.data.label_examples import fitted_example, reflected, train_example, whole_example

CLASSES = Classes(("a", "b", "c", "d", "e"), 255)


def frame(height=12, width=20):
    """Red is the row, green the column, blue the label."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 5, (height, width, 1)).astype(np.int32)
    label[0, 0] = CLASSES.ignore
    y, x = np.indices((height, width))
    return {"image": np.stack([y, x, label[..., 0]], -1).astype(np.uint8), "label": label, "depth": 0}


def bytes_of(example):
    return np.rint(example["image"] * 255).astype(int)


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_windows_are_parts_of_the_frame_as_it_is(flip):
    places = set()
    for seed in range(40):
        got = train_example(frame(), np.random.default_rng(seed), classes=CLASSES, crop=(5, 8), flip=flip)
        assert got.keys() == {"image", "label"} and got["label"].dtype == np.int32
        red, green, blue = np.moveaxis(bytes_of(got), -1, 0)
        np.testing.assert_array_equal(got["label"][..., 0], blue)
        top, left = red[0, 0], green.min()
        places.add((int(top), int(left)))
        columns = left + np.arange(8)[:: -1 if flip else 1]
        np.testing.assert_array_equal(red, np.broadcast_to(top + np.arange(5)[:, None], (5, 8)))
        np.testing.assert_array_equal(green, np.broadcast_to(columns[None], (5, 8)))
    tops, lefts = zip(*places, strict=True)
    assert set(tops) == set(range(8)) and len(set(lefts)) > 8 and (min(lefts), max(lefts)) == (0, 12)


def test_a_frame_smaller_than_the_window_lies_in_it_and_around_it_nothing_counts():
    corners = set()
    for seed in range(20):
        got = train_example(frame(), np.random.default_rng(seed), classes=CAMVID, crop=(16, 30), flip=0.0)
        inside = bytes_of(got)[..., 1] > 0
        rows, columns = np.nonzero(inside)
        top, left = rows.min(), columns.min() - 1  # green is 0 in the first column
        corners.add((int(top), int(left)))
        expected = np.full((16, 30, 1), CAMVID.ignore)
        expected[top : top + 12, left : left + 20] = frame()["label"]
        np.testing.assert_array_equal(got["label"], expected)
    assert len(corners) > 8


def test_a_frame_that_fits_lies_at_the_top_left_and_one_that_does_not_is_made_smaller():
    got = fitted_example(frame(), classes=CAMVID, size=(16, 24))
    expected = np.full((16, 24, 1), CAMVID.ignore)
    expected[:12, :20] = frame()["label"]
    np.testing.assert_array_equal(got["label"], expected)
    np.testing.assert_array_equal(bytes_of(got)[:12, :20], frame()["image"])
    assert not bytes_of(got)[12:].any() and not bytes_of(got)[:, 20:].any()
    small = fitted_example(frame(), classes=CAMVID, size=(16, 10))  # 12x20 as 6x10
    np.testing.assert_array_equal(small["label"][:6], frame()["label"][1::2, 1::2])
    assert np.all(small["label"][6:] == CAMVID.ignore)


@pytest.mark.parametrize("margin", [3, 15])  # more than there are rows, too
def test_a_margin_reflects_the_picture_and_is_not_labelled(margin):
    got, true = reflected(frame(), margin, 255), frame()

    def inside(i, n):
        i %= 2 * n - 2
        return min(i, 2 * n - 2 - i)

    for y in range(-margin, 12 + margin):
        for x in range(-margin, 20 + margin):
            np.testing.assert_array_equal(
                got["image"][y + margin, x + margin], true["image"][inside(y, 12), inside(x, 20)]
            )
    np.testing.assert_array_equal(got["label"][margin:-margin, margin:-margin], true["label"])
    assert np.sum(got["label"] != 255) == np.sum(true["label"] != 255)


def test_windows_of_a_frame_with_a_margin_have_their_labels_inside():
    for seed in range(10):
        got = train_example(
            frame(), np.random.default_rng(seed), classes=CLASSES, crop=(4 + 8, 6 + 8), flip=0.0, margin=4
        )
        blue = bytes_of(got)[..., 2]
        np.testing.assert_array_equal(got["label"][4:-4, 4:-4, 0], blue[4:-4, 4:-4])


def test_scaled_windows_take_labels_of_the_nearest_pixels():
    for seed in range(10):
        got = train_example(
            frame(), np.random.default_rng(seed), classes=CLASSES, crop=(24, 40), scale=(2.0, 2.0), flip=0
        )
        np.testing.assert_array_equal(got["label"], frame()["label"].repeat(2, 0).repeat(2, 1))
        assert abs(bytes_of(got)[10, 20] - frame()["image"][5, 10]).max() <= 4
    got = train_example(frame(), np.random.default_rng(0), classes=CLASSES, crop=(12, 20), scale=(0.5, 0.5))
    assert (got["label"] != CLASSES.ignore).sum() in (60, 59)  # a quarter, less the pixel that is no class


def test_gain_turns_and_resizing():
    plain = {"classes": CLASSES, "crop": (12, 20), "flip": 0.0}
    bright = train_example(frame(), np.random.default_rng(1), **plain, gain=(2.0, 2.0))
    np.testing.assert_array_equal(bytes_of(bright)[..., :2], 2 * frame()["image"][..., :2].astype(int))
    turned = train_example(frame(), np.random.default_rng(1), **plain, degrees=45.0)["label"]
    assert (turned == 255).sum() > 20 and set(np.unique(turned)) <= {0, 1, 2, 3, 4, 255}
    half = train_example(frame(), np.random.default_rng(1), classes=CLASSES, crop=(6, 10), size=(6, 10), flip=0.0)
    np.testing.assert_array_equal(half["label"], frame()["label"][1::2, 1::2])


def test_each_call_draws_the_same_number_of_random_numbers():
    rngs = [np.random.default_rng(3) for _ in range(2)]
    train_example(frame(), rngs[0], classes=CLASSES, crop=(5, 5))
    train_example(frame(40, 50), rngs[1], classes=CLASSES, crop=(9, 9), scale=(0.5, 2.0), degrees=10, gain=(0.5, 2))
    assert rngs[0].random() == rngs[1].random()


def test_whole_frames_are_for_testing():
    got = whole_example(frame())
    assert got.keys() == {"image", "label"} and got["image"].dtype == np.float32
    np.testing.assert_array_equal(bytes_of(got), frame()["image"])
    np.testing.assert_array_equal(got["label"], frame()["label"])
    np.testing.assert_array_equal(whole_example(frame(), size=(6, 10))["label"], frame()["label"][1::2, 1::2])
