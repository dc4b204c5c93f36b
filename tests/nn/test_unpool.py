"""Pooling with places and its way back, against PyTorch's MaxPool2d and MaxUnpool2d."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pixlab.errors import UserError
from pixlab.nn.pool import max_pool
from pixlab.nn.unpool import max_pool_places, unpool

SIZES = [(6, 8), (5, 7), (1, 4), (3, 2)]


def draw(size, *, seed=0, ties=False, channels=3):
    rng = np.random.default_rng(seed)
    x = rng.integers(-3, 0, (2, *size, channels)) if ties else rng.normal(size=(2, *size, channels)) - 5
    return jnp.asarray(x, jnp.float32)  # negative: what is added to fill the last windows must not win


def to_torch(x):
    torch = pytest.importorskip("torch")
    return torch.from_numpy(np.array(x).transpose(0, 3, 1, 2).copy())


def from_torch(x):
    return x.detach().numpy().transpose(0, 2, 3, 1)


def flat_places(places, size):
    """PyTorch's indices: the number of the winning pixel in its map, row by row."""
    places = np.asarray(places).astype(int)
    rows, columns = np.indices(places.shape[1:3])
    row = 2 * rows[None, :, :, None] + places // 2
    return row * size[1] + 2 * columns[None, :, :, None] + places % 2


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_values_places_and_gradient_are_pytorchs(size, ties):
    torch = pytest.importorskip("torch")
    x = draw(size, ties=ties)
    (value, places), back = jax.vjp(max_pool_places, x)
    theirs = to_torch(x).requires_grad_()
    expected, indices = torch.nn.functional.max_pool2d(theirs, 2, 2, ceil_mode=True, return_indices=True)
    np.testing.assert_array_equal(value, from_torch(expected))
    np.testing.assert_array_equal(flat_places(places, size), from_torch(indices))
    grad = draw(value.shape[1:3], seed=1)
    expected.backward(to_torch(grad))
    (ours,) = back((grad, np.zeros(places.shape, jax.dtypes.float0)))
    np.testing.assert_array_equal(ours, from_torch(theirs.grad))


@pytest.mark.parametrize("size", SIZES)
def test_unpooling_and_its_gradient_are_pytorchs(size):
    torch = pytest.importorskip("torch")
    value, places = max_pool_places(draw(size))
    x = draw(value.shape[1:3], seed=2)
    ours, back = jax.vjp(lambda x: unpool(x, places, size), x)
    theirs, indices = to_torch(x).requires_grad_(), to_torch(flat_places(places, size))
    expected = torch.nn.functional.max_unpool2d(theirs, indices, 2, 2, output_size=size)
    np.testing.assert_array_equal(ours, from_torch(expected))
    grad = draw(size, seed=3)
    expected.backward(to_torch(grad))
    np.testing.assert_array_equal(back(grad)[0], from_torch(theirs.grad))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_unpooling_a_pooled_map_keeps_one_maximum_of_each_window(size, ties):
    x = draw(size, ties=ties)
    value, places = max_pool_places(x)
    kept = np.asarray(unpool(value, places, size))
    assert np.all((kept == np.asarray(x)) | (kept == 0))
    assert np.sum(kept != 0) == value.size  # no value is lost and none comes twice
    np.testing.assert_array_equal(max_pool(jnp.where(kept == 0, -jnp.inf, kept), 2, 2, ceil=True), value)


def test_places_by_hand():
    x = jnp.array([[1.0, 7, 2, 2, 5], [3, 4, 2, 2, 6], [9, 8, 0, 1, -1]]).reshape(1, 3, 5, 1)
    value, places = max_pool_places(x)
    np.testing.assert_array_equal(value[0, ..., 0], [[7, 2, 6], [9, 1, -1]])
    np.testing.assert_array_equal(places[0, ..., 0], [[1, 0, 2], [0, 1, 0]])
    back = unpool(10 * value, places, (3, 5))
    np.testing.assert_array_equal(back[0, ..., 0], [[0, 70, 20, 0, 0], [0, 0, 0, 0, 60], [90, 0, 0, 10, -10]])


@pytest.mark.parametrize("size", [(6, 8), (5, 7)])
def test_maxima_are_those_of_max_pool(size):
    x = draw(size).at[0, 2, 3, 0].set(jnp.nan)  # does not vanish
    np.testing.assert_array_equal(max_pool_places(x)[0], max_pool(x, 2, 2, ceil=True))
    assert max_pool_places(x.astype(jnp.bfloat16))[0].dtype == jnp.bfloat16


def test_another_size_is_refused():
    value, places = max_pool_places(jnp.zeros((1, 5, 6, 1)))
    assert unpool(value, places, (6, 5)).shape == (1, 6, 5, 1)  # pools to the same size
    with pytest.raises(UserError, match="3x3 to 8x6, which pools to 4x3"):
        jax.eval_shape(functools.partial(unpool, size=(8, 6)), value, places)
