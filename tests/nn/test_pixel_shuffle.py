"""Pixel shuffle: golden values, PyTorch's layer, and what cannot be shuffled."""

import jax.numpy as jnp
import numpy as np
import pytest

from pixlab.errors import UserError
from pixlab.nn.pixel_shuffle import pixel_shuffle, pixel_unshuffle, shuffles


def test_four_channels_by_hand():
    x = jnp.arange(16.0).reshape(1, 4, 2, 2).transpose(0, 2, 3, 1)
    expected = [[0, 4, 1, 5], [8, 12, 9, 13], [2, 6, 3, 7], [10, 14, 11, 15]]
    np.testing.assert_array_equal(pixel_shuffle(x, 2)[0, :, :, 0], expected)


def test_the_first_of_two_channels_has_the_first_four():
    """TensorFlow's order would start with 0, 2 over 4, 6."""
    x = jnp.arange(32.0).reshape(1, 2, 2, 8)
    expected = [[0, 1, 8, 9], [2, 3, 10, 11], [16, 17, 24, 25], [18, 19, 26, 27]]
    np.testing.assert_array_equal(pixel_shuffle(x, 2)[0, :, :, 0], expected)


@pytest.mark.parametrize("r", [1, 2, 3, 4])
def test_both_are_pytorchs(r):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 2 * r**2)).astype(np.float32)
    theirs = torch.nn.PixelShuffle(r)(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
    ours = pixel_shuffle(jnp.asarray(x), r)
    np.testing.assert_array_equal(ours, theirs.numpy().transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(pixel_unshuffle(ours, r), x)
    back = torch.nn.PixelUnshuffle(r)(theirs).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(pixel_unshuffle(ours, r), back)


def test_what_does_not_divide():
    with pytest.raises(UserError, match="6 channels cannot be shuffled into 2x2 pixels: give a multiple of 4"):
        pixel_shuffle(jnp.zeros((1, 2, 2, 6)), 2)
    with pytest.raises(UserError, match="4x5 has no whole 2x2 pixels: crop it to multiples of 2"):
        pixel_unshuffle(jnp.zeros((1, 4, 5, 1)), 2)


def test_enlargement_in_steps():
    assert [shuffles(n) for n in (1, 2, 3, 4, 8)] == [(), (2,), (3,), (2, 2), (2, 2, 2)]
    for scale in (0, 5, 6, -2):
        with pytest.raises(UserError, match="give 3 or a power of 2"):
            shuffles(scale)
