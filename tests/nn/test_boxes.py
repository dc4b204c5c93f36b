"""Square parts of images against SciPy's interpolation, and maps of both sides taken together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from pixlab.nn.boxes import box_crops
from pixlab.nn.mirror import mirror_averaged


@pytest.mark.parametrize("size", [1, 5, 8])
def test_crops_are_scipys(size):
    image = np.random.default_rng(0).uniform(size=(2, 9, 12, 3)).astype(np.float32)
    centre = np.array([[[3.3, 4.1], [11.4, 0.2], [5.5, 4.0]], [[-1, 8.7], [6, 4], [40, 3]]], np.float32)
    side = np.array([[4, 7.5, 30], [5, 1, 6]], np.float32)
    ours = np.asarray(jax.jit(box_crops, static_argnums=3)(image, centre, side, size))
    assert ours.shape == (2, 3, size, size, 3)
    for b, n, c in np.ndindex(2, 3, 3):
        steps = ((np.arange(size) + 0.5) / size - 0.5) * side[b, n]
        y, x = np.meshgrid(centre[b, n, 1] + steps, centre[b, n, 0] + steps, indexing="ij")
        expected = map_coordinates(image[b, ..., c], [y, x], order=1, mode="grid-constant", cval=0.0)
        np.testing.assert_allclose(ours[b, n, ..., c], expected, atol=1e-5)


def test_a_crop_of_the_image_s_own_size_is_the_image():
    image = jax.random.uniform(jax.random.key(0), (1, 6, 6, 3))
    crop = box_crops(image, jnp.full((1, 1, 2), 2.5), jnp.full((1, 1), 6.0), 6)
    np.testing.assert_allclose(crop[:, 0], image, atol=1e-6)


def test_mirror_image_by_hand():
    """Maps that show the image's red on the left hand and its green on the right: both sides change places."""
    image = jnp.asarray([[[[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]]])
    maps = mirror_averaged(lambda x: x * jnp.asarray([1.0, 0.0])[None, None, None], image, (1, 0))
    np.testing.assert_allclose(maps, [[[[0.5, 0.5], [1.0, 1.0], [1.5, 1.5]]]])
