"""PIRM's error and index against NumPy on 8-bit pictures, scikit-image's luminance and worked examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage import color

from pixlab.metrics.pirm import perceptual_index, pirm_rmse, region, scored


def whole(x):
    return np.clip(np.floor(x + 0.5), 0, 255)


def luminance(picture):
    return whole(color.rgb2ycbcr(picture / 255)[..., 0])[4:-4, 4:-4]


def test_the_root_is_taken_once():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (2, 24, 20, 3)).astype(float)
    saved = whole(truth + rng.normal(size=truth.shape) * np.array([3, 30]).reshape(2, 1, 1, 1))
    metric, total = pirm_rmse(), 0
    stats = jax.jit(metric.stats)
    for a, b in zip(saved, truth, strict=True):
        pair = ({"high": jnp.asarray(x / 255, jnp.float32)} for x in (a, b))
        one = jax.tree.map(lambda x: np.asarray(x, float), stats(*pair))
        total = metric.merge(total, one) if total else one
    squares = [np.mean((luminance(a) - luminance(b)) ** 2) for a, b in zip(saved, truth, strict=True)]
    assert metric.result(total)["rmse"] == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-5)
    assert metric.result(total)["rmse"] > 1.1 * np.mean(np.sqrt(squares))


def test_what_is_scored():
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (30, 20, 3)) / 255
    found = scored(picture + rng.uniform(-0.4, 0.4, picture.shape) / 255)
    np.testing.assert_allclose(found, luminance(255 * picture), atol=1e-9)


@pytest.mark.parametrize(
    ("rmse", "name"), [(0, "R1"), (11.5, "R1"), (11.51, "R2"), (12.5, "R2"), (12.6, "R3"), (16, "R3"), (16.1, None)]
)
def test_regions(rmse, name):
    assert region(rmse) == name


def test_index():
    assert perceptual_index(8.5, 3.0) == 2.25
    assert perceptual_index(10, 0) == 0
