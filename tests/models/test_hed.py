"""HED against the same network in PyTorch, its crops against the positions of cells, and its start."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from pixlab.models import hed
from pixlab.models.hed import HED
from pixlab.models.vgg import BLOCKS

KEY = jax.random.key(0)
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
IMAGE = jax.random.uniform(KEY, (2, 21, 34, 3))
SMALL = HED(width=1 / 32)


def torch_hed(params, image, margin=True):
    """The release's network, or the one without a margin, written with PyTorch's layers, on our parameters."""
    torch = pytest.importorskip("torch")
    f = torch.nn.functional

    def conv(x, p, padding=0):
        weight = torch.from_numpy(np.array(p["kernel"]).transpose(3, 2, 0, 1).copy())
        return f.conv2d(x, weight, torch.from_numpy(np.array(p["bias"])), padding=padding)

    h, w = image.shape[1:3]
    mean = torch.tensor([122.67892, 116.66877, 104.00699])[None, :, None, None]
    x, sides = torch.from_numpy(np.array(image).transpose(0, 3, 1, 2)) * 255 - mean, []
    for block, ((_, convs), crop) in enumerate(zip(BLOCKS, (34, 35, 36, 38, 42), strict=True), 1):
        if block > 1:
            x = torch.nn.MaxPool2d(2, 2, ceil_mode=True)(x)
        for index in range(1, convs + 1):
            first = margin and (block, index) == (1, 1)
            x = f.relu(conv(x, params["trunk"][f"conv{block}_{index}"], 35 if first else 1))
        side = conv(x, params[f"side{block}"])
        if not margin:
            sides.append(f.interpolate(side, (h, w), mode="bilinear", align_corners=False))
            continue
        if block > 1:
            s = 2 ** (block - 1)
            layer = torch.nn.ConvTranspose2d(1, 1, 2 * s, s, bias=False)
            taps = 1 - (torch.arange(2 * s) - (2 * s - 1) / 2).abs() / s
            layer.weight.data = (taps[:, None] * taps[None])[None, None]
            side = layer(side)
        assert side.shape[2] >= crop + h and side.shape[3] >= crop + w
        sides.append(side[:, :, crop : crop + h, crop : crop + w])
    maps = [*sides, conv(torch.cat(sides, 1), params["fuse"])]
    return [m.detach().numpy().transpose(0, 2, 3, 1) for m in maps]


@pytest.mark.parametrize("margin", [True, False])
def test_is_the_network_in_pytorch(margin):
    net = SMALL.clone(margin=margin)
    variables = draw(net, IMAGE)
    ours = jit(net.apply)(variables, IMAGE)
    theirs = torch_hed(variables["params"], IMAGE, margin)
    names = ["side1", "side2", "side3", "side4", "side5", "fuse"]
    assert sorted(ours) == sorted(names)
    for name, expected in zip(names, theirs, strict=True):
        np.testing.assert_allclose(ours[name], expected, atol=1e-5 * np.abs(expected).max())


def test_crops_put_every_cell_where_it_looks():
    at = 1 - hed.MARGIN  # pixel at which cell 0 of a side output lies
    for stride, crop in hed.CROP.items():
        middle = (2 * stride - 1) / 2 if stride > 1 else 0  # of cell 0, enlarged
        assert middle - crop == at
        at += stride / 2


def test_starts_at_zero_with_equal_shares():
    params = jit(SMALL.init)(KEY, IMAGE)["params"]
    for index in range(1, 6):
        np.testing.assert_array_equal(params[f"side{index}"]["kernel"], 0)
        params[f"side{index}"]["bias"] = jnp.asarray([float(index)])
    out = jit(SMALL.apply)({"params": params}, IMAGE)
    np.testing.assert_allclose(out["side5"], 5, atol=1e-5)
    np.testing.assert_allclose(out["fuse"], 0.2 * (1 + 2 + 3 + 4 + 5), atol=1e-5)
