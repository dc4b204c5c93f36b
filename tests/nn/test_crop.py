"""Windows against numpy's slices of a padded map, and their gradient against a loop."""

import jax
import jax.numpy as jnp
import numpy as np

from pixlab.nn.crop import crop

MAPS = np.random.default_rng(0).normal(size=(2, 7, 9, 3)).astype(np.float32)
CORNERS = np.array([  # (x, y): inside, over each border, over two, and beyond
    [[2, 1], [-2, 3], [7, 2], [3, -3], [4, 5], [8, 6], [-3, -3]],
    [[0, 0], [5, 3], [-4, 0], [9, 7], [-50, 2], [60, -70], [1, 1]],
])  # fmt: skip
SIZE, AROUND = 4, 100


def place(corner):
    x, y = corner + AROUND
    return slice(y, y + SIZE), slice(x, x + SIZE)


def test_windows_are_slices_of_the_padded_map():
    padded = np.pad(MAPS, ((0, 0), (AROUND, AROUND), (AROUND, AROUND), (0, 0)))
    expected = [[padded[b][place(corner)] for corner in CORNERS[b]] for b in range(2)]
    np.testing.assert_array_equal(crop(jnp.asarray(MAPS), jnp.asarray(CORNERS), SIZE), expected)


def test_the_gradient_adds_up_where_windows_overlap():
    weights = np.random.default_rng(1).normal(size=(2, 7, SIZE, SIZE, 3)).astype(np.float32)
    expected = np.zeros((2, 7 + 2 * AROUND, 9 + 2 * AROUND, 3))
    for b, k in np.ndindex(CORNERS.shape[:2]):
        expected[b][place(CORNERS[b, k])] += weights[b, k]
    grad = jax.grad(lambda x: jnp.sum(crop(x, jnp.asarray(CORNERS), SIZE) * weights))(jnp.asarray(MAPS))
    np.testing.assert_allclose(grad, expected[:, AROUND:-AROUND, AROUND:-AROUND], atol=1e-5)
