"""U-Net's border weights against a loop over all pixels, and worked values."""

import numpy as np
import pytest

from pixlab.data.border_weights import border_term, border_weights, components, separate, two_distances
from pixlab.errors import UserError

VALUES = {(1, 1): 9.23116346, (2, 4): 4.86752256, (5, 5): 1.35335283, (0, 20): 0.00335463}


def cells(seed=0, size=(17, 23), numbers=(3, 7, 8, 40)):
    """Rectangles that may overlap, numbered with gaps; the first may lie in several parts."""
    rng, image = np.random.default_rng(seed), np.zeros((*size, 1), np.int32)
    for number in (*numbers, numbers[0]):
        top, left = rng.integers(0, size[0] - 3), rng.integers(0, size[1] - 3)
        image[top : top + rng.integers(1, 4), left : left + rng.integers(1, 4)] = number
    return image


def by_loops(image):
    """Sorted distances of each pixel to each cell, one by one."""
    numbers = [n for n in np.unique(image) if n > 0]
    found = np.full((*image.shape[:2], max(2, len(numbers))), np.inf)
    for i, j in np.ndindex(*image.shape[:2]):
        for k, number in enumerate(numbers):
            rows, columns = np.nonzero(image[..., 0] == number)
            found[i, j, k] = min(np.hypot(rows - i, columns - j))
    return np.sort(found, axis=-1)


@pytest.mark.parametrize("seed", range(4))
def test_distances_are_those_of_a_loop(seed):
    image = cells(seed)
    distances = by_loops(image)
    for ours, theirs in zip(two_distances(image), (distances[..., :1], distances[..., 1:2]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_weights_are_those_of_a_loop(seed):
    image, sigma = cells(seed), 1.5  # of cells beyond 9 pixels it hears nothing
    d = by_loops(image)
    assert d[..., 1].max() > 9
    border = 8 * np.exp(-((d[..., :1] + d[..., 1:2]) ** 2) / (2 * sigma**2))
    expected = np.where(image > 0, 2.0, 0.5 + border)
    weights = border_weights(image, w0=8, sigma=sigma, class_weights=(0.5, 2))
    assert weights.dtype == np.float32 and border[image == 0].max() > 2
    np.testing.assert_allclose(weights, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("d1", "d2"), VALUES)
def test_worked_values(d1, d2):
    assert border_term(np.array([d1]), np.array([d2])) == pytest.approx(VALUES[d1, d2], abs=5e-9)
    if d1:
        row = np.zeros((1, d1 + d2 + 1, 1), np.int32)
        row[0, 0], row[0, -1] = 5, 2
        np.testing.assert_allclose(border_weights(row)[0, d1], 1 + VALUES[d1, d2], rtol=1e-7)
        np.testing.assert_array_equal(border_weights(row)[0, [0, -1]], 1)


@pytest.mark.parametrize("count", [0, 1])
def test_without_two_cells_there_is_no_border(count):
    image = np.zeros((4, 5, 1), np.int32)
    image[1, :2] = count
    np.testing.assert_array_equal(border_weights(image, class_weights=(3, 2)), np.where(image > 0, 2, 3))


def test_cells_that_share_a_corner_are_two():
    inside = np.array([[1, 1, 0, 0], [0, 0, 1, 0], [1, 0, 1, 0]], bool)[..., None]
    numbers = components(inside)[..., 0]
    np.testing.assert_array_equal(numbers > 0, inside[..., 0])
    assert numbers[0, 0] == numbers[0, 1] and numbers[1, 2] == numbers[2, 2]
    assert len({numbers[0, 0], numbers[1, 2], numbers[2, 0]}) == 3


@pytest.mark.parametrize("seed", range(3))
def test_touching_cells_are_parted(seed):
    rng = np.random.default_rng(seed)
    image = np.kron(rng.integers(0, 4, (4, 5)), np.ones((4, 4), np.int32))[..., None].astype(np.int32)
    expected = image.copy()
    for i, j, _ in np.ndindex(image.shape):
        around = image[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2]
        if np.any((around > 0) & (around != image[i, j])):
            expected[i, j] = 0
    parted = separate(image)
    np.testing.assert_array_equal(parted, expected)
    assert len(np.unique(image)) == 4 and np.any(parted != image)
    np.testing.assert_array_equal(separate(parted), parted)


def test_a_turned_image_has_turned_weights():
    image = cells(5)
    np.testing.assert_allclose(border_weights(np.rot90(image)), np.rot90(border_weights(image)), rtol=1e-6)


@pytest.mark.parametrize("options", [{"sigma": 0.0}, {"class_weights": (1, 2, 3)}])
def test_bad_options_say_what_to_give(options):
    with pytest.raises(UserError, match="one of background, one of cells, and a sigma above 0"):
        border_weights(cells(), **options)
