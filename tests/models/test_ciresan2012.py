"""N4 on windows against the same network in PyTorch, and on whole images against its answer for every window."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from pixlab.errors import UserError
from pixlab.models.ciresan2012 import N4

KEY = jax.random.key(0)
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
IMAGE = jax.random.uniform(KEY, (2, 20, 19, 1))


def torch_n4(params, windows, activation):
    """The network written with PyTorch's layers, on our parameters."""
    torch = pytest.importorskip("torch")

    def tensor(x, *axes):
        return torch.from_numpy(np.array(x).transpose(axes).copy())

    def conv(x, name):
        p = params[name]
        return torch.nn.functional.conv2d(x, tensor(p["kernel"], 3, 2, 0, 1), tensor(p["bias"], 0))

    x = tensor(windows, 0, 3, 1, 2)
    for index, size in enumerate((46, 21, 9, 3), 1):
        x = torch.nn.MaxPool2d(2)(activation(torch, conv(x, f"conv{index}")))
        assert x.shape[2:] == (size, size)
    return conv(activation(torch, conv(x, "fc")), "out").numpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_is_the_network_in_pytorch(name):
    windows = jax.random.uniform(KEY, (3, 95, 95, 1))
    module = N4(width=1 / 4, dense=False, activation=getattr(nn, name))
    variables = draw(module, windows)
    theirs = torch_n4(variables["params"], windows, lambda torch, x: getattr(torch, name)(x))
    ours = jit(module.apply)(variables, windows)
    assert ours.shape == (3, 1, 1, 2)
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def test_a_whole_image_is_its_windows_one_by_one():
    module = N4(width=1 / 16)
    variables = draw(module, IMAGE)
    dense = np.asarray(jit(module.apply)(variables, IMAGE))
    one = jit(N4(width=1 / 16, dense=False).apply)
    padded = np.pad(IMAGE, ((0, 0), (47, 47), (47, 47), (0, 0)), mode="reflect")
    assert dense.shape == (2, 20, 19, 2)
    for row in range(20):
        windows = np.stack([padded[1, row : row + 95, column : column + 95] for column in range(19)])
        expected = one(variables, jnp.asarray(windows))[:, 0, 0]
        np.testing.assert_allclose(dense[1, row], expected, atol=1e-5 * np.abs(dense).max())


def test_an_answer_depends_on_its_window_alone():
    module = N4(width=1 / 16)
    image = jax.random.uniform(KEY, (1, 100, 100, 1))
    variables = draw(module, image)
    gradient = jit(jax.grad(lambda x: module.apply(variables, x)[0, 49, 50, 0]))(image)[0, :, :, 0]
    rows, columns = (np.flatnonzero(np.any(gradient != 0, axis=axis)) for axis in (1, 0))
    assert (rows.min(), rows.max()) == (49 - 47, 49 + 47) and (columns.min(), columns.max()) == (50 - 47, 50 + 47)


def test_windows_of_another_size():
    with pytest.raises(UserError, match="95x95 pixels, got 96x95: set dense"):
        jax.eval_shape(N4(dense=False).init, KEY, jnp.zeros((1, 96, 95, 1)))
