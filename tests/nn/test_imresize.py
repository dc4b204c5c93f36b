"""MATLAB's bicubic: its weights, golden values of its output, borders, odd sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pixlab.errors import UserError
from pixlab.nn.imresize import imresize, imresize_uint8

ROW, COLUMN = np.mgrid[:12, :12]
MIXED = ((17 * ROW + 29 * COLUMN + (ROW * COLUMN % 7)) % 256).astype(float)
SQUARES = np.tile(np.arange(12.0) ** 2, (12, 1))


def waves(n):
    i, j = np.mgrid[:n, :n]
    return 128 + 80 * np.sin(i / 3) * np.cos(j / 4)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (1 / 2, [0.30078125, 6.26171875, 20.25, 42.25, 72.51953125, 111.41796875]),
        (1 / 3, [1.09876543, 16.01234568, 49.28395062, 102.27160494]),
        (1 / 4, [2.39013672, 30.63671875, 93.47314453]),
        (2, [-0.09375, 0.1328125, 0.5859375, 1.5625, 3.0625, 5.0625, 7.5625, 10.5625]),
    ],
)
def test_rows_of_squares(scale, expected):
    out = imresize(SQUARES, scale)
    np.testing.assert_allclose(out[2, : len(expected)], expected, atol=5e-9)
    np.testing.assert_allclose(imresize(SQUARES.T, scale), out.T, atol=1e-12)


@pytest.mark.parametrize(
    ("scale", "first", "total"),
    [
        (1 / 2, [20.86618, 81.060028, 140.247452, 209.20488, 121.364304, 47.636063], 4586.25),
        (1 / 3, [42.272519, 139.510593, 187.144338, 62.257735], 2038.333333),
        (1 / 4, [66.603104, 179.618024, 86.648745], 1146.5625),
    ],
)
def test_a_mixed_picture(scale, first, total):
    out = imresize(MIXED, scale)
    np.testing.assert_allclose(out[0], first, atol=1e-6)
    np.testing.assert_allclose(out.sum(), total, atol=1e-6)


def test_uint8_is_rounded_after_each_direction():
    twice, once = imresize_uint8(MIXED.astype(np.uint8), 0.5), np.floor(imresize(MIXED, 0.5) + 0.5)
    assert twice[0].tolist() == [21, 81, 140, 209, 122, 47]
    assert once[0].astype(int).tolist() == [21, 81, 140, 209, 121, 48]


@pytest.mark.parametrize(
    ("length", "size", "points", "total"),
    [
        (48, 24, {(0, 0): 140.05400419986017, (5, 5): 152.3201772488145}, None),
        (48, 16, {(0, 0): 151.21650558, (5, 5): 169.89331044752745}, None),
        (48, 12, {(0, 0): 160.34797928, (5, 5): 164.33452908974502}, None),
        (49, 25, {(0, 0): 140.05400419986017, (5, 5): 152.3201772488145, (-1, -1): 108.938819377}, 79960.509421605),
        (49, 17, {(0, 0): 151.21650558210325, (-1, -1): 116.75690096446894}, 37008.926795798),
    ],
)  # fmt: skip
def test_waves(length, size, points, total):
    out = imresize(waves(length), {24: 1 / 2, 25: 1 / 2, 16: 1 / 3, 17: 1 / 3, 12: 1 / 4}[size])
    assert out.shape == (size, size)
    for at, value in points.items():
        np.testing.assert_allclose(out[at], value, atol=6e-9)
    if total:
        np.testing.assert_allclose(out.sum(), total, atol=1e-7)


@pytest.mark.parametrize("shape", [(31, 44), (48, 17, 3)])
@pytest.mark.parametrize("scale", [1 / 4, 0.7, 2, 3.0])
def test_against_jax_on_a_mirrored_picture(shape, scale):
    image = np.random.default_rng(0).uniform(0, 255, shape)
    pad, new = 16, [int(np.ceil(n * scale - 1e-9)) for n in shape[:2]]
    padded = np.pad(image, [(pad, pad)] * 2 + [(0, 0)] * (len(shape) - 2), mode="symmetric")
    with jax.enable_x64(True):
        scales, shift = jnp.full(2, scale, jnp.float64), jnp.full(2, -pad * scale, jnp.float64)
        expected = jax.image.scale_and_translate(
            jnp.asarray(padded), (*new, *shape[2:]), (0, 1), scales, shift, "cubic", antialias=True
        )
    np.testing.assert_allclose(imresize(image, scale), np.asarray(expected), atol=1e-10)


def test_weights_are_those_of_the_kernel():
    out = imresize(np.eye(40), size=(40, 20))
    taps = [-0.01171875, -0.03515625, 0.11328125, 0.43359375, 0.43359375, 0.11328125, -0.03515625, -0.01171875]
    np.testing.assert_allclose(out[17:25, 10], taps, atol=1e-15)


def test_one_pixel_and_constants_stay_what_they_are():
    assert np.allclose(imresize(np.full((1, 1), 7.0), 5), 7)
    assert np.allclose(imresize(np.full((9, 2, 3), 7.0), 1 / 3), 7)
    assert imresize(np.zeros((10, 11)), 1 / 3).shape == (4, 4)


@pytest.mark.parametrize("options", [{}, {"scale": 2.0, "size": (3, 3)}, {"scale": 0.0}, {"size": (0, 3)}])
def test_what_cannot_be_meant(options):
    with pytest.raises(UserError, match="imresize"):
        imresize(np.zeros((4, 4)), **options)


def test_uint8_only():
    with pytest.raises(UserError, match="must be uint8, not float64"):
        imresize_uint8(np.zeros((4, 4)), 0.5)
