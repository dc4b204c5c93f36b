"""The self-ensemble against turning and mirroring by NumPy."""

import jax.numpy as jnp
import numpy as np

from pixlab.nn.self_ensemble import self_ensembled


def answer(x, np=np):
    """Twice the size, and nothing about it is symmetric."""
    x = x.repeat(2, 1).repeat(2, 2)
    rows, columns = (np.arange(n, dtype=np.float32) for n in x.shape[1:3])
    return x * (1 + rows[None, :, None, None] + 3 * columns[None, None, :, None] ** 2) + np.roll(x, 1, 2)


def test_the_mean_of_eight_answers_put_back():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 2)).astype(np.float32)
    total = np.zeros((2, 6, 10, 2))
    for quarters in range(4):
        for mirrored in (False, True):
            seen = np.rot90(x[:, :, ::-1] if mirrored else x, quarters, (1, 2))
            back = np.rot90(answer(seen), -quarters, (1, 2))
            total += back[:, :, ::-1] if mirrored else back
    ours = self_ensembled(lambda x: answer(x, jnp), jnp.asarray(x))
    np.testing.assert_allclose(ours, total / 8, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(self_ensembled(lambda x: x, jnp.asarray(x)), x, rtol=1e-6)
