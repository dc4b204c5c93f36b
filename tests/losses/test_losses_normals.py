"""The normal loss against SciPy's cosine distance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cosine

from pixlab.losses.normals import normal_loss


def normals(seed, shape=(2, 4, 5, 3)):
    x = np.random.default_rng(seed).normal(size=shape)
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def test_is_minus_the_mean_cosine():
    a, b = normals(0), normals(1)
    valid = (np.random.default_rng(2).random((2, 4, 5, 1)) < 0.6).astype(np.float32)
    expected = np.mean([1 - cosine(a[i].astype(float), b[i].astype(float)) for i in np.ndindex(2, 4, 5) if valid[i][0]])
    loss = normal_loss(jnp.asarray(a), jnp.asarray(b), jnp.asarray(valid))
    assert float(loss) == pytest.approx(-expected, abs=1e-6)


def test_least_where_equal():
    a = jnp.asarray(normals(0))
    valid = jnp.ones((2, 4, 5, 1))
    assert float(normal_loss(a, a, valid)) == pytest.approx(-1, abs=1e-6)
    assert float(normal_loss(-a, a, valid)) == pytest.approx(1, abs=1e-6)


def test_nothing_valid_and_missing_targets():
    a = jnp.asarray(normals(0))
    value, gradient = jax.value_and_grad(normal_loss)(a, jnp.full_like(a, jnp.nan), jnp.zeros((2, 4, 5, 1)))
    assert float(value) == 0
    np.testing.assert_array_equal(gradient, 0)
