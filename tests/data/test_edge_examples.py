"""Windows of pictures with drawn boundaries: pixels that only move stay as they are, rectangles by a search."""

import itertools

import numpy as np
import pytest

from pixlab.data.boundary_sets import agreed, outlines
from pixlab.data.edge_examples import EDGES, edge_example, edge_frame, largest_rectangle, scored_example, turned_window
from pixlab.data.label_examples import train_example
from pixlab.errors import UserError

RNG = np.random.default_rng(0)
FRAME = {
    "image": RNG.integers(0, 256, (15, 15, 3), np.uint8),
    "boundaries": (RNG.random((15, 15, 4)) < 0.5).astype(np.uint8),
}


def fits(height, width, sides, degrees):
    """Whether the upright rectangle's corners lie in the turned picture."""
    angle = np.radians(degrees)
    for sy, sx in itertools.product((-0.5, 0.5), repeat=2):
        y, x = sy * sides[0], sx * sides[1]
        if abs(np.cos(angle) * x + np.sin(angle) * y) > width / 2 + 1e-6:
            return False
        if abs(-np.sin(angle) * x + np.cos(angle) * y) > height / 2 + 1e-6:
            return False
    return True


@pytest.mark.parametrize("degrees", [0, 10, 22.5, 45, 67.5, 90, 112.5, 180, 247.5, 315])
@pytest.mark.parametrize(("height", "width"), [(321, 481), (481, 321), (200, 200)])
def test_largest_rectangle_in_a_turned_picture(height, width, degrees):
    found = largest_rectangle(height, width, degrees)
    assert fits(height, width, found, degrees)
    sides = np.arange(4, 600, 4)
    best = max(h * w for h, w in itertools.product(sides, sides) if h * w > np.prod(found) * 0.97
               and fits(height, width, (h, w), degrees))  # fmt: skip
    assert 0.97 * np.prod(found) < best <= np.prod(found) * (1 + 1e-9)


def test_quarter_turns_and_mirrors_move_pixels_and_boundaries_alike():
    """Of a square each of its eight positions comes; a turned picture's bytes may be rounded down."""
    target = agreed(FRAME["boundaries"])
    everything = np.concatenate([FRAME["image"] / np.float32(255), target["edge"], target["valid"]], -1)
    positions = [np.rot90(x, k) for k in range(4) for x in (everything, everything[:, ::-1])]
    seen = set()
    for seed in range(60):
        window = turned_window(FRAME, np.random.default_rng(seed), crop=(15, 15), turns=4, scales=(1.0,))
        got = np.concatenate([window["image"], window["edge"], window["valid"]], -1)
        same = [i for i, position in enumerate(positions) if np.abs(got - position).max() < 1.01 / 255]
        assert len(same) == 1
        seen |= set(same)
    assert seen == set(range(8))


def test_windows_of_pictures_that_are_not_turned_are_pieces_of_them():
    whole, places = FRAME["image"] / np.float32(255), set()
    for seed in range(40):
        window = turned_window(FRAME, np.random.default_rng(seed), crop=(13, 14), turns=1, scales=(1.0,))["image"]
        pieces = {(y, x): whole[y : y + 13, x : x + 14] for y in range(3) for x in range(2)}
        found = [at for at, p in pieces.items() if np.array_equal(window, p) or np.array_equal(window[:, ::-1], p)]
        assert len(found) == 1
        places |= set(found)
    assert places == set(itertools.product(range(3), range(2)))


def test_what_lies_outside_is_black_and_not_valid():
    white = {"image": np.full((15, 15, 3), 255, np.uint8), "boundaries": np.zeros((15, 15, 4), np.uint8)}
    for seed in range(20):
        window = turned_window(white, np.random.default_rng(seed), crop=(15, 30), turns=1, scales=(2.0,))
        assert np.all(window["valid"] == 1)
        window = turned_window(white, np.random.default_rng(seed), crop=(12, 20), turns=1, scales=(0.5,))
        assert 49 <= window["valid"].sum() <= 64  # 7 or 8 rows and columns of the 7.5 that the picture has
        assert np.all((window["image"] > 0).any(-1, keepdims=True) >= window["valid"])
        window = turned_window(white, np.random.default_rng(seed), crop=(10, 10), turns=16, scales=(1.0,))
        assert window["valid"].mean() > 0.85  # of the largest rectangle, 10.6x10.6 or more


def test_annotators_stay_apart_in_what_is_scored():
    example = scored_example(FRAME)
    np.testing.assert_array_equal(example["boundaries"][..., :4], FRAME["boundaries"])
    assert example["boundaries"].shape == (15, 15, 16) and not example["boundaries"][..., 4:].any()
    with pytest.raises(UserError, match="17 annotators"):
        scored_example(FRAME | {"boundaries": np.zeros((15, 15, 17), np.uint8)})


def test_outlines_by_hand():
    label = np.array([[1, 1, 2], [1, 1, 2], [3, 3, 3]])[..., None]
    assert outlines(label)[..., 0].tolist() == [[0, 1, 0], [1, 1, 1], [0, 0, 0]]


def test_edges_go_the_way_of_labels():
    image, drawn = RNG.integers(0, 256, (12, 20, 3), np.uint8), (RNG.random((12, 20, 5)) < 0.5).astype(np.uint8)
    image[..., 1], drawn[0] = 255, 0
    found = edge_frame({"image": image, "boundaries": drawn})
    assert set(np.unique(found["label"])) == {0, 1, 2}
    got = edge_example(train_example(found, np.random.default_rng(0), classes=EDGES, crop=(12, 24), flip=0.0))
    expected, left = agreed(drawn), int(np.argmax(got["image"][..., 1].max(0) > 0))
    for name in ("edge", "valid"):
        assert got[name].dtype == np.float32
        np.testing.assert_array_equal(
            got[name][:, left : left + 20] * expected["valid"], expected[name] * expected["valid"]
        )
        assert not got[name][:, :left].any() and not got[name][:, left + 20 :].any()
