"""Peaks of heat-maps against values by hand and against the places of Gaussians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixlab.losses.heatmap import gaussian_maps
from pixlab.nn.peaks import peaks

MAP = np.zeros((5, 6), np.float32)
MAP[1], MAP[2], MAP[3] = [0, .1, .2, .3, .1, 0], [0, .2, .6, 1, .7, .1], [0, .1, .3, .8, .4, 0]  # fmt: skip


def peak(values, finer):
    places, value = peaks(jnp.asarray(values)[None, ..., None], finer)
    return places[0, 0].tolist(), float(value[0, 0])


@pytest.mark.parametrize(("finer", "place"), [("none", [3, 2]), ("quarter", [3.25, 2.25])])
def test_by_hand(finer, place):
    assert peak(MAP, finer) == (place, 1.0)


def test_the_fit_leans_as_a_quarter_does():
    (x, y), _ = peak(MAP, "fit")
    assert 3 < x < 3.5 and 2 < y < 2.5


@settings(max_examples=50, deadline=None)
@given(st.floats(1.5, 6.5), st.floats(1.5, 4.5), st.floats(0.8, 2.5))
def test_the_fit_finds_a_gaussian_s_place(x, y, sigma):
    maps = gaussian_maps(jnp.asarray([[[x, y]]]), jnp.ones((1, 1)), (7, 9), sigma)
    np.testing.assert_allclose(peaks(maps)[0][0, 0], [x, y], atol=2e-3)


@pytest.mark.parametrize("finer", ["fit", "quarter", "none"])
def test_borders_ties_and_flat_maps(finer):
    corner = np.zeros((4, 5), np.float32)
    corner[3, 4] = 1
    assert peak(corner, finer)[0] == [4, 3]  # no neighbour on one side: it stays in the cell
    assert peak(np.zeros((4, 5), np.float32), finer) == ([0, 0], 0.0)
    twice = np.zeros((4, 5), np.float32)
    twice[1, 3] = twice[2, 1] = 1
    assert np.rint(peak(twice, finer)[0]).tolist() == [3, 1]  # the first, row by row


def test_negative_values_do_not_break_the_fit():
    rough = jax.random.normal(jax.random.key(0), (1, 6, 7, 3))
    places, _ = peaks(rough)
    assert np.isfinite(places).all()
    whole, _ = peaks(rough, "none")
    assert np.abs(places - whole).max() <= 0.5
