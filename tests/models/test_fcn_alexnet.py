"""FCN-AlexNet against the same network in PyTorch, and its crop against the positions of cells."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from pixlab.models import fcn_alexnet
from pixlab.models.alexnet import LAYERS
from pixlab.models.fcn_alexnet import FCNAlexNet
from pixlab.nn.sizing import ceil_windows
from pixlab.nn.upsample import triangle_matrix

KEY = jax.random.key(0)
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def torch_fcn_alexnet(params, image):
    """The network written with PyTorch's layers, on our parameters."""
    torch = pytest.importorskip("torch")
    f = torch.nn.functional

    def conv(x, p, **options):
        weight = torch.from_numpy(np.array(p["kernel"]).transpose(3, 2, 0, 1).copy())
        return f.conv2d(x, weight, torch.from_numpy(np.array(p["bias"])), **options)

    mean, std = (torch.tensor(v)[None, :, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    x = (torch.from_numpy(np.array(image).transpose(0, 3, 1, 2)) - mean) / std
    for index, (stride, padding) in enumerate(((4, 100), (1, 2), (1, 1), (1, 1), (1, 1)), 1):
        x = f.relu(conv(x, params["trunk"][f"conv{index}"], stride=stride, padding=padding))
        if index in (1, 2, 5):
            x = torch.nn.MaxPool2d(3, 2, ceil_mode=True)(x)
    x = conv(f.relu(conv(f.relu(conv(x, params["fc6"])), params["fc7"])), params["score_fr"])
    layer = torch.nn.ConvTranspose2d(x.shape[1], x.shape[1], 63, 32, bias=False)
    taps = 1 - (torch.arange(63) - 31).abs() / 32
    layer.weight.data = torch.einsum("i,j,cd->cdij", taps, taps, torch.eye(x.shape[1]))
    h, w = image.shape[1:3]
    return layer(x)[:, :, 18 : 18 + h, 18 : 18 + w].detach().numpy().transpose(0, 2, 3, 1)


def test_is_the_network_in_pytorch():
    image = jax.random.uniform(KEY, (2, 35, 70, 3))
    module = FCNAlexNet(3, width=1 / 32)
    variables = draw(module, image)
    theirs = torch_fcn_alexnet(variables["params"], image)
    np.testing.assert_allclose(jit(module.apply)(variables, image), theirs, atol=1e-5 * np.abs(theirs).max())


def test_the_crop_puts_every_cell_where_it_looks():
    step, at = 4, 5 - 100  # of conv1, 11x11
    for _ in range(3):
        at, step = at + step, 2 * step  # a 3x3 pool
    at += 2.5 * step  # fc6, 6x6
    assert (step, 31 - at) == (32, fcn_alexnet.CROP)


def test_any_size_is_covered_to_its_borders():
    for size in range(1, 200):
        cells = (size + 200 - 11) // LAYERS[0][2] + 1
        for _ in range(3):
            cells = ceil_windows(cells, 3, 2)
        shares = triangle_matrix(cells - 5, size, 32, 63, fcn_alexnet.CROP).sum(1)
        assert shares.min() >= 0.5  # nothing is left blank
    image = jax.ShapeDtypeStruct((1, 1, 33, 3), jnp.float32)
    out = jax.eval_shape(lambda x: FCNAlexNet(21).init_with_output(KEY, x)[0], image)
    assert out.shape == (1, 1, 33, 21)
