"""Elastic deformation against SciPy's interpolation, and what must not change."""

import numpy as np
import pytest
from scipy import ndimage

from pixlab.data.elastic import deform, deform_labels, random_displacement, smooth
from pixlab.errors import UserError

SIZE = (31, 44)


def image(channels=2, seed=0):
    return np.random.default_rng(seed).uniform(size=(*SIZE, channels))


def field(seed=1, **options):
    return random_displacement(SIZE, np.random.default_rng(seed), **options)


def constant(rows, columns):
    return np.broadcast_to(np.array([rows, columns], float), (*SIZE, 2))


@pytest.mark.parametrize("nodes", [(3, 3), (2, 5)])
def test_displacements_are_the_cubic_spline_of_the_nodes(nodes):
    coarse = np.random.default_rng(2).normal(0, 10, (*nodes, 2))
    where = np.meshgrid(*(np.linspace(0, n - 1, size) for n, size in zip(nodes, SIZE, strict=True)), indexing="ij")
    expected = [ndimage.map_coordinates(coarse[..., k], where, order=3, mode="mirror") for k in (0, 1)]
    np.testing.assert_allclose(smooth(coarse, SIZE), np.stack(expected, -1), atol=1e-10)


def test_nodes_are_normal_and_lie_on_the_edges():
    rng = np.random.default_rng(3)
    corners = [random_displacement((7, 9), rng, deviation=4.0)[::3, ::4] for _ in range(400)]
    assert np.std(corners) == pytest.approx(4, rel=0.05) and np.mean(corners) == pytest.approx(0, abs=0.2)
    assert np.corrcoef(np.reshape(corners, (400, -1)).T)[0, 1:].max() < 0.2  # each on its own
    again = [random_displacement(SIZE, np.random.default_rng(4)) for _ in range(2)]
    np.testing.assert_array_equal(*again)


@pytest.mark.parametrize("deviation", [3.0, 60.0])  # the larger goes over the borders more than once
def test_sampling_is_scipys(deviation):
    shift, x = field(deviation=deviation), image()
    where = np.indices(SIZE) + np.moveaxis(shift, -1, 0)
    assert np.abs(shift).max() > SIZE[0] or deviation < 60
    for order, ours in ((1, deform(x, shift)), (0, deform_labels(x, shift))):
        channels = [ndimage.map_coordinates(x[..., k], where, order=order, mode="mirror") for k in (0, 1)]
        np.testing.assert_allclose(ours, np.stack(channels, -1), atol=1e-12)


def test_no_displacement_changes_nothing():
    x, labels = image().astype(np.float32), np.arange(np.prod(SIZE), dtype=np.int32).reshape(*SIZE, 1)
    same, same_labels = deform(x, constant(0, 0)), deform_labels(labels, constant(0, 0))
    np.testing.assert_array_equal(same, x)
    np.testing.assert_array_equal(same_labels, labels)
    assert same.dtype == np.float32 and same_labels.dtype == np.int32


@pytest.mark.parametrize(("rows", "columns"), [(4, 0), (-3, 5), (0, -43)])
def test_a_constant_displacement_is_a_shift_with_mirrored_borders(rows, columns):
    x = image()
    padded = np.pad(x, ((43, 43), (43, 43), (0, 0)), mode="reflect")
    expected = padded[43 + rows : 43 + rows + SIZE[0], 43 + columns : 43 + columns + SIZE[1]]
    coarse = np.broadcast_to(np.array([rows, columns], float), (3, 3, 2))
    np.testing.assert_allclose(deform(x, smooth(coarse, SIZE)), expected, atol=1e-10)
    np.testing.assert_array_equal(deform_labels(x, smooth(coarse, SIZE)), expected)


def test_half_a_pixel_is_the_mean_of_two():
    x = image()
    np.testing.assert_allclose(deform(x, constant(0, 0.5))[:, :-1], (x[:, :-1] + x[:, 1:]) / 2, atol=1e-12)


def test_labels_are_never_blended():
    labels = np.random.default_rng(5).choice([0, 7, 255], (*SIZE, 1)).astype(np.uint8)
    new = deform_labels(labels, field())
    assert set(np.unique(new)) <= {0, 7, 255} and np.any(new != labels)


def test_one_node_is_refused():
    with pytest.raises(UserError, match="at least 2"):
        field(nodes=(1, 3))
