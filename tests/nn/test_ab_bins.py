"""Bins of ab beside the authors' file and brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial import cKDTree

from pixlab.nn.ab_bins import (
    AB_BINS,
    BINS,
    GREY_BIN,
    annealed_mean,
    nearest_bin,
    nearest_bins,
    smoothed,
    soft_encode,
)
from pixlab.nn.colour import rgb_to_lab


def some_ab(count=500):
    """a, b of random colours, strong ones among them."""
    rng = np.random.default_rng(0)
    rgb = np.concatenate([rng.uniform(size=(count, 3)), rng.integers(0, 2, (count, 3)), np.eye(3)])
    return np.float32(rgb_to_lab(rgb.astype(np.float64))[:, 1:])


def test_there_are_313_and_grey_is_number_120():
    assert BINS == 313 and GREY_BIN == 120
    assert len({tuple(bin) for bin in AB_BINS.tolist()}) == 313
    assert AB_BINS[0].tolist() == [-90, 50] and AB_BINS[-1].tolist() == [100, 0]


def test_bins_are_those_of_the_authors_file(real_data):
    np.testing.assert_array_equal(AB_BINS, np.load(real_data / "colorization" / "pts_in_hull.npy"))


@pytest.mark.parametrize("count", [1, 5, 10])
def test_nearest_bins_are_those_of_a_search_through_all(count):
    rng = np.random.default_rng(1)
    ab = np.concatenate([some_ab(), rng.uniform(-119.9, 119.9, (2000, 2)).astype(np.float32)])
    bins, squared = jax.jit(nearest_bins, static_argnums=1)(jnp.asarray(ab), count)
    expected, _ = cKDTree(AB_BINS).query(ab, k=count)
    np.testing.assert_allclose(np.sqrt(squared), expected.reshape(len(ab), count), atol=2e-4)
    np.testing.assert_allclose(np.linalg.norm(AB_BINS[bins] - ab[:, None], axis=-1), np.sqrt(squared), atol=2e-4)
    assert all(len(set(row)) == count for row in np.asarray(bins).tolist())


def test_soft_encoding_is_that_of_the_release():
    ab = some_ab(100).reshape(-1, 7, 2)
    bins, weights = soft_encode(jnp.asarray(ab))
    distance, index = cKDTree(AB_BINS).query(ab, k=10)
    expected = np.exp(-(distance**2) / 50)
    expected /= expected.sum(-1, keepdims=True)
    dense, right = np.zeros((*ab.shape[:2], 313)), np.zeros((*ab.shape[:2], 313))
    np.put_along_axis(dense, np.asarray(bins), np.asarray(weights), -1)
    np.put_along_axis(right, index, expected, -1)
    np.testing.assert_allclose(dense, right, atol=5e-4)  # of two bins equally far away either may be the tenth
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    np.testing.assert_array_equal(bins[..., 0], nearest_bin(jnp.asarray(ab)))


def test_a_bins_own_colour_is_shared_with_its_eight_neighbours():
    bins, weights = soft_encode(jnp.zeros((1, 2)))
    near, side, corner = 1.0, np.exp(-2.0), np.exp(-4.0)
    whole = near + 4 * side + 4 * corner + np.exp(-8.0)
    np.testing.assert_allclose(weights[0, :9], np.array([near, *[side] * 4, *[corner] * 4]) / whole, rtol=1e-5)
    assert int(bins[0, 0]) == GREY_BIN


def test_the_annealed_mean_lies_between_mean_and_mode():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(4, 5, 313)) * 3
    for temperature in (1.0, 0.38):
        p = np.exp(logits / temperature)
        expected = p / p.sum(-1, keepdims=True) @ AB_BINS.astype(np.float64)
        np.testing.assert_allclose(annealed_mean(jnp.asarray(logits, jnp.float32), temperature), expected, atol=1e-3)
    mode = annealed_mean(jnp.asarray(logits, jnp.float32), 0)
    np.testing.assert_array_equal(mode, AB_BINS[logits.argmax(-1)])
    for low in (1e-3, 1e-30, 1e-37):  # where the scores over the temperature are no float32
        np.testing.assert_allclose(annealed_mean(jnp.asarray(50 * logits, jnp.float32), low), mode, atol=1e-3)


def test_smoothing_shares_each_count_among_neighbours_inside_the_gamut():
    """(-90, 50) has no neighbours to the left and below: what they would get stays inside, half of all counts there."""
    many = 1e6
    p = smoothed(many * np.eye(313)[[0, GREY_BIN]].sum(0)) * (2 * many + 313) - 1
    side = np.flatnonzero((AB_BINS == [10, 0]).all(-1))[0]
    assert p[side] / p[GREY_BIN] == pytest.approx(np.exp(-2))
    near = np.linalg.norm(AB_BINS - AB_BINS[0], axis=-1) < 60
    assert p[near].sum() == pytest.approx(many, rel=1e-6) and p[~near].sum() == pytest.approx(many, rel=1e-6)
    assert p[0] > 1.2 * p[GREY_BIN]
    weight = np.exp(-(np.linalg.norm(AB_BINS - AB_BINS[0], axis=-1) ** 2) / 50)
    assert p[0] == pytest.approx(many / weight.sum(), rel=1e-6)


def test_no_bin_is_impossible():
    """Grey photos alone: what is far from grey has what one count has, which float32 can hold and invert."""
    p = smoothed(1e6 * np.eye(313)[GREY_BIN])
    assert p.sum() == pytest.approx(1, abs=1e-12) and p.argmax() == GREY_BIN
    assert p[0] == pytest.approx(1 / (1e6 + 313)) and p.min() > 0.99e-6
