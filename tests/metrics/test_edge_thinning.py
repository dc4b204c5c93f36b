"""Thinning against scikit-image, suppression against loops over its definition, directions of ridges by hand."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.morphology import thin

from pixlab.errors import UserError
from pixlab.metrics.edge_thinning import edge_normal, suppress_non_maxima, thin_lines, triangle_blur


@pytest.mark.parametrize("sigma", [0, 1, 3])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.8])
def test_thinning_is_scikit_images(sigma, part):
    noise = gaussian_filter(np.random.default_rng(0).random((60, 70)), sigma)
    mask = noise < np.quantile(noise, part)
    kept = mask.copy()
    np.testing.assert_array_equal(thin_lines(mask), thin(mask))
    np.testing.assert_array_equal(mask, kept)  # the map itself is left as it was


def test_a_bar_becomes_a_line():
    mask = np.zeros((9, 20), bool)
    mask[3:6, 2:18] = True
    line = thin_lines(mask)
    assert set(np.nonzero(line)[0]) == {4} and line[4].sum() >= 12
    assert not thin_lines(np.zeros((3, 3), bool)).any()


def test_triangle_blur_by_hand():
    np.testing.assert_allclose(triangle_blur(np.float64([[0, 0, 4, 0, 0]]).repeat(5, 0), 1)[2], [0, 1, 2, 1, 0])
    point = np.zeros((9, 9))
    point[4, 4] = 81
    np.testing.assert_allclose(triangle_blur(point, 2), np.outer(*[[0, 0, 1, 2, 3, 2, 1, 0, 0]] * 2), atol=1e-12)
    # outside, the picture is mirrored with its outermost row
    np.testing.assert_allclose(triangle_blur(np.float64([[4, 0], [4, 0]]), 1), [[3, 1], [3, 1]])


@pytest.mark.parametrize("degrees", [0, 20, 45, 70, 90, 110, 135, 160])
def test_normal_of_a_ridge(degrees):
    """Second differences are f'' cos^2, f'' sin^2, f'' sin cos: the formula gives the tangent's square."""
    t = np.deg2rad(degrees)
    y, x = np.mgrid[-30:31, -30:31]
    ridge = np.exp(-((x * np.cos(t) + y * np.sin(t)) ** 2) / 50)
    expected = np.arctan2(np.sin(t) ** 2 * np.sign(np.cos(t)), np.cos(t) ** 2) if degrees % 90 else t
    found = edge_normal(ridge)[30, 30]
    assert abs((found - expected + np.pi / 2) % np.pi - np.pi / 2) < np.deg2rad(2)


def suppressed_by_loops(edges, border, multiplier):
    """The definition pixel by pixel, without blur, at radius 1."""
    height, width = edges.shape
    normal = edge_normal(edges)

    def at(y, x):
        y, x = min(max(y, 0), height - 1.001), min(max(x, 0), width - 1.001)
        i, j = int(y), int(x)
        b, a = y - i, x - j
        square = edges[i, j] * (1 - a) * (1 - b) + edges[i, j + 1] * a * (1 - b)
        return square + edges[i + 1, j] * (1 - a) * b + edges[i + 1, j + 1] * a * b

    out = np.zeros_like(edges)
    for i in range(height):
        for j in range(width):
            c, s = np.cos(normal[i, j]), np.sin(normal[i, j])
            if all(multiplier * edges[i, j] >= at(i + d * s, j + d * c) for d in (-1, 1)):
                out[i, j] = edges[i, j]
            for place, size in ((i, height), (j, width)):
                out[i, j] *= min(1, min(place, size - 1 - place) / border)
    return out


@pytest.mark.parametrize("multiplier", [1.0, 1.01])
def test_suppression_is_its_definition(multiplier):
    edges = gaussian_filter(np.random.default_rng(1).random((24, 31)), 2)
    edges = (edges - edges.min()) / np.ptp(edges)
    found = suppress_non_maxima(edges, blur=0, multiplier=multiplier)
    np.testing.assert_allclose(found, suppressed_by_loops(edges, 5, multiplier), atol=1e-12)
    assert 0.05 < (found > 0).mean() < 0.5
    blurred = suppress_non_maxima(triangle_blur(edges, 1), blur=0, multiplier=multiplier)
    np.testing.assert_allclose(suppress_non_maxima(edges, multiplier=multiplier), blurred, atol=1e-12)


def test_a_ridge_keeps_its_crest_and_fades_at_the_frame():
    ridge = np.exp(-((np.arange(41.0) - 20) ** 2) / 8)[None].repeat(30, 0)
    found = suppress_non_maxima(ridge, blur=0)
    assert not np.delete(found, 20, 1)[:, 5:-5].any()
    np.testing.assert_allclose(found[:, 20][[0, 1, 4, 5, 15, 25, 28, 29]], [0, 0.2, 0.8, 1, 1, 0.8, 0.2, 0])
    np.testing.assert_allclose(suppress_non_maxima(ridge.T, blur=0), found.T, atol=1e-12)  # 1e-5 in the formula


def test_a_map_too_small_says_so():
    with pytest.raises(UserError, match="2x2"):
        suppress_non_maxima(np.zeros((1, 9)))
