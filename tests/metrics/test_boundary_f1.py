"""The boundary score against loops over pixels, SciPy's dilation and worked examples."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from pixlab.metrics.boundary_f1 import boundary_f1, class_boundaries, dilate


def blobs(seed, size=(20, 27), classes=4):
    """A label map of a few smooth regions."""
    noise = np.random.default_rng(seed).normal(size=(classes, *size))
    return np.argmax(ndimage.gaussian_filter(noise, (0, 3, 3)), axis=0).astype(np.int32)


def boundary_by_loops(inside):
    height, width = inside.shape
    found = set()
    for i, j in np.ndindex(height, width):
        corners = [(i, j + 1), (i + 1, j), (i + 1, j + 1)]
        if any(y < height and x < width and inside[y, x] != inside[i, j] for y, x in corners):
            found.add((i, j))
    return found


def share_by_loops(of, near, radius):
    return np.mean([any(np.hypot(y - i, x - j) <= radius for y, x in near) for i, j in of]) if of else 0.0


def score_by_loops(predicted, true, classes, tolerance):
    radius, scores = tolerance * np.hypot(*true.shape), []
    for c in classes:
        p, t = boundary_by_loops(predicted == c), boundary_by_loops(true == c)
        if p or t:
            precision, recall = share_by_loops(p, t, radius), share_by_loops(t, p, radius)
            scores.append(2 * precision * recall / (precision + recall) if precision + recall else 0.0)
    return np.mean(scores) if scores else None


def score(metric, *pairs):
    options = {"xla_backend_optimization_level": 0}  # compiling is what takes time
    stats = jax.jit(jax.vmap(metric.stats), compiler_options=options)  # as evaluate.py runs it
    predicted, true = ({"label": jnp.asarray(np.stack(x), jnp.int32)[..., None]} for x in zip(*pairs, strict=True))
    rows = jax.device_get(stats(predicted, true))
    images = [jax.tree.map(lambda x, i=i: np.asarray(x[i], np.float64), rows) for i in range(len(pairs))]
    return metric.result(functools.reduce(metric.merge, images))["boundary_f1"]


@pytest.mark.parametrize(("ignore", "tolerance"), [(None, 0.04), (0, 0.0075), (2, 0.08)])  # 1.3, 0.25 and 2.7 pixels
def test_is_the_mean_that_loops_find(ignore, tolerance):
    pairs = [(blobs(seed), blobs(seed + 1)) for seed in (0, 2, 4)]
    classes = [c for c in range(4) if c != ignore]
    expected = [score_by_loops(*pair, classes, tolerance) for pair in pairs]
    assert min(expected) > 0.02 and max(expected) < 0.9
    assert score(boundary_f1(4, ignore=ignore, tolerance=tolerance), *pairs) == pytest.approx(np.mean(expected), 1e-6)


@pytest.mark.parametrize("radius", [0, 0.9, 1, 1.5, 2.3, 4.5, 5])
def test_dilation_is_scipys(radius):
    mask = np.random.default_rng(1).uniform(size=(14, 25, 2)) < 0.03
    y, x = np.mgrid[-6:7, -6:7]
    disc = y**2 + x**2 <= radius**2
    expected = np.stack([ndimage.binary_dilation(mask[..., k], disc) for k in (0, 1)], -1)
    np.testing.assert_array_equal(dilate(jnp.asarray(mask), radius), expected)


def test_boundary_by_hand():
    label = jnp.array([[1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 1, 1]])
    one, two = np.moveaxis(np.asarray(class_boundaries(label, np.array([1, 2]))), -1, 0)
    np.testing.assert_array_equal(one, [[0, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]])
    np.testing.assert_array_equal(two, one)


def halves(column, size=(36, 48)):
    return np.where(np.arange(size[1])[None] < column, 1, 2) * np.ones(size, int)


def test_a_straight_edge_may_be_as_far_off_as_the_tolerance():
    metric = boundary_f1(3, tolerance=0.05)  # of a diagonal of 60 pixels: 3
    assert score(metric, (halves(20), halves(20))) == 1
    assert score(metric, (halves(23), halves(20))) == 1
    assert score(metric, (halves(24), halves(20))) == 0
    assert score(metric, (halves(23), halves(20)), (halves(24), halves(20))) == 0.5


def test_a_class_that_only_the_prediction_has_counts_as_0():
    predicted = halves(20)
    predicted[5:9, 40:44] = 3
    metric = boundary_f1(4, tolerance=0.001)
    precision, recall = 36 / (36 + 16), 1  # of class 2, whose predicted boundary goes around class 3 as well
    assert score(metric, (predicted, halves(20))) == pytest.approx(
        (1 + 2 * precision * recall / (precision + recall) + 0) / 3
    )


def test_unlabelled_pixels_bound_classes():
    true = halves(20)
    true[:, :8] = 0
    assert score(boundary_f1(3, tolerance=0.001), (true, true)) == 1
    assert score(boundary_f1(3, tolerance=0.001), (halves(20), true)) == pytest.approx((1 + 2 / 3) / 2)


def test_images_without_boundaries_do_not_count():
    plain, metric = np.ones((36, 48), int), boundary_f1(3)
    assert np.isnan(score(metric, (plain, plain)))
    assert score(metric, (plain, plain), (halves(9), halves(9))) == 1
    assert score(metric, (plain, halves(9))) == 0


def test_logits_are_read_as_labels():
    label = jnp.asarray(halves(20))
    example, metric = {"label": label[..., None]}, boundary_f1(3)
    out = metric.stats({"logits": jax.nn.one_hot(label, 3)}, example)
    assert metric.result(jax.tree.map(np.asarray, out)) == {"boundary_f1": 1.0}
