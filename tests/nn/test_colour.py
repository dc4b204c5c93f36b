"""Colour spaces: golden values, scikit-image, both kinds of arrays."""

import jax.numpy as jnp
import numpy as np
import pytest
from skimage import color

from pixlab.nn.colour import lab_to_rgb, luminance, rgb_to_lab, rgb_to_ycbcr, rounded, ycbcr_to_rgb

TABLE = {  # RGB: YCbCr, Lab
    (255, 255, 255): ((235, 128, 128), (100, -0.0025, 0.0047)),
    (0, 0, 0): ((16, 128, 128), (0, 0, 0)),
    (255, 0, 0): ((81.481, 90.203, 240), (53.2406, 80.0923, 67.2028)),
    (0, 255, 0): ((144.553, 53.797, 34.214), (87.7351, -86.1830, 83.1797)),
    (0, 0, 255): ((40.966, 240, 109.786), (32.2957, 79.1856, -107.8573)),
    (128, 128, 128): ((125.9294, 128, 128), (53.5850, -0.0015, 0.0028)),
    (200, 100, 50): ((122.6659, 91.2169, 175.4929), (53.6295, 36.3052, 45.3805)),
}
RANDOM = np.random.default_rng(0).uniform(0, 1, (7, 5, 3))


@pytest.mark.parametrize(("rgb", "expected"), TABLE.items(), ids=str)
def test_golden_values(rgb, expected):
    rgb, (ycbcr, lab) = np.array(rgb) / 255, expected
    np.testing.assert_allclose(255 * rgb_to_ycbcr(rgb), ycbcr, atol=6e-5)
    np.testing.assert_allclose(rgb_to_lab(rgb), lab, atol=6e-5)


def test_against_scikit_image():
    np.testing.assert_allclose(255 * rgb_to_ycbcr(RANDOM), color.rgb2ycbcr(RANDOM), atol=1e-10)
    np.testing.assert_allclose(luminance(RANDOM), rgb_to_ycbcr(RANDOM)[..., :1], atol=0)
    np.testing.assert_allclose(ycbcr_to_rgb(rgb_to_ycbcr(RANDOM)), RANDOM, atol=1e-12)
    np.testing.assert_allclose(rgb_to_lab(RANDOM), color.rgb2lab(RANDOM), atol=1e-9)
    np.testing.assert_allclose(lab_to_rgb(color.rgb2lab(RANDOM)), RANDOM, atol=1e-6)


@pytest.mark.parametrize(
    ("lab", "rgb"),
    [
        ((50, 20, -30), (0.496361, 0.429258, 0.666839)),
        ((70, -40, 40), (0.459599, 0.738716, 0.373156)),
        ((50, 0, 0), (0.466328, 0.466324, 0.466344)),
        ((60, 80, 70), (1.0, 0.189234, 0.050552)),  # outside sRGB
    ],
)
def test_from_lab(lab, rgb):
    np.testing.assert_allclose(lab_to_rgb(np.array(lab, float)), rgb, atol=1e-6)


@pytest.mark.parametrize("there", [rgb_to_ycbcr, ycbcr_to_rgb, luminance, rgb_to_lab, lab_to_rgb, rounded])
def test_jax_arrays_stay_jax_arrays(there):
    x = 80 * RANDOM if there is lab_to_rgb else RANDOM
    out = there(jnp.asarray(x, jnp.float32))
    assert isinstance(out, type(jnp.zeros(1))) and out.dtype == jnp.float32
    np.testing.assert_allclose(out, there(x), rtol=2e-5, atol=2e-5)


def test_rounding_is_matlabs():
    levels = np.array([-0.3, 0.49, 0.5, 1.5, 2.5, 254.5, 300]) / 255
    assert (255 * rounded(levels)).round(9).tolist() == [0, 0, 1, 2, 3, 255, 255]
