"""Starts that interpolate, against jax.image."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pixlab.errors import UserError
from pixlab.models.fsrcnn import FSRCNN
from pixlab.nn.conv import Conv
from pixlab.nn.convt import TransposedConv
from pixlab.nn.interpolating_init import enlarging, interpolating, passing

IMAGE = jax.random.uniform(jax.random.key(0), (2, 9, 7, 3))


@pytest.mark.parametrize("window", [1, 3, 5])
def test_the_first_channel_goes_out_as_it_came_in(window):
    init = nn.initializers.he_normal()
    out, variables = Conv(4, (window, window), kernel_init=passing(init)).init_with_output(jax.random.key(1), IMAGE)
    np.testing.assert_array_equal(out[..., 0], IMAGE[..., 0])
    drawn = init(jax.random.key(2), (window, window, 3, 4))
    kernel = variables["params"]["kernel"][..., 1:]
    assert 0.5 < float(kernel.std() / drawn.std()) < 2 and kernel.shape == (window, window, 3, 3)


@pytest.mark.parametrize(("stride", "window", "padding"), [(2, 9, 4), (3, 9, 4), (3, 6, 1), (2, 4, 1), (4, 8, 2)])
def test_the_first_channel_is_enlarged_bilinearly(stride, window, padding):
    init = interpolating(nn.initializers.zeros, stride, padding)
    module = TransposedConv(1, window, stride, padding, stride + 2 * padding - window, kernel_init=init)
    out, _ = module.init_with_output(jax.random.key(1), IMAGE)
    expected = jax.image.resize(IMAGE[..., :1], (2, 9 * stride, 7 * stride, 1), "bilinear")
    inside = (slice(None), slice(stride, -stride), slice(stride, -stride))
    np.testing.assert_allclose(out[inside], expected[inside], atol=1e-6)


@pytest.mark.parametrize(("stride", "window", "padding"), [(2, 8, 3), (2, 4, 1), (3, 6, 1)])
def test_every_channel_is_enlarged_bilinearly(stride, window, padding):
    init = enlarging(stride, padding)
    module = TransposedConv(3, window, stride, padding, stride + 2 * padding - window, kernel_init=init)
    out, _ = module.init_with_output(jax.random.key(1), IMAGE)
    expected = jax.image.resize(IMAGE, (2, 9 * stride, 7 * stride, 3), "bilinear")
    inside = (slice(None), slice(stride, -stride), slice(stride, -stride))
    np.testing.assert_allclose(out[inside], expected[inside], atol=1e-6)


@pytest.mark.parametrize("scale", [2, 3])
def test_fsrcnn_starts_near_bilinear_interpolation(scale):
    image = IMAGE[..., :1]
    start = lambda module: module.init_with_output(jax.random.key(1), image)[0]  # noqa: E731
    expected = jax.image.resize(image, (2, 9 * scale, 7 * scale, 1), "bilinear")
    away = lambda out: float(jnp.abs(out - expected)[:, scale:-scale, scale:-scale].mean())  # noqa: E731
    assert away(start(FSRCNN(scale, interpolates=True))) < 0.05 < 0.3 < away(start(FSRCNN(scale)))


def test_bilinear_kernels_by_hand():
    kernel = enlarging(2, 1)(jax.random.key(0), (4, 4, 2, 2))
    np.testing.assert_allclose(kernel[1, :, 1, 1], [0.1875, 0.5625, 0.5625, 0.1875])
    np.testing.assert_array_equal(kernel[:, :, 0, 1], 0)
    half = [0.0625, 0.1875, 0.3125, 0.4375, 0.5625, 0.6875, 0.8125, 0.9375]
    wide = enlarging(8, 4)(jax.random.key(0), (16, 16, 1, 1))[:, :, 0, 0]
    np.testing.assert_allclose(wide, np.outer(half + half[::-1], half + half[::-1]))


def test_bilinear_gives_as_many_channels_as_it_gets():
    with pytest.raises(UserError, match="3 cannot become 2"):
        enlarging(2, 1)(jax.random.key(0), (4, 4, 3, 2))
