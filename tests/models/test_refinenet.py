"""RefineNet's blocks and their order against PyTorch's layers; parameters summed by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from pixlab.errors import UserError
from pixlab.models.refinenet import PAPER_OUTPUTS, ChainedPooling, Fusion, RefineNet, ResidualConvUnit
from pixlab.models.resnet import ResNet

KEY = jax.random.key(0)
SMALL = dict(blocks=(1, 1, 1, 1), width=1 / 64)
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiling is what takes time


def to_torch(x):
    return pytest.importorskip("torch").from_numpy(np.array(x).transpose(0, 3, 1, 2).copy())


def convolution(params, x):
    torch = pytest.importorskip("torch")
    bias = torch.from_numpy(np.array(params["bias"])) if "bias" in params else None
    return torch.nn.functional.conv2d(x, to_torch(params["kernel"].transpose(3, 0, 1, 2)), bias, padding=1)


def residual(params, x):
    relu = pytest.importorskip("torch").relu
    return x + convolution(params["conv2"], relu(convolution(params["conv1"], relu(x))))


def fusion(params, maps):
    torch = pytest.importorskip("torch")
    size = np.max([x.shape[2:] for x in maps], axis=0).tolist()
    paths = [convolution(params[f"conv{index}"], x) for index, x in enumerate(maps, 1)]
    return sum(torch.nn.functional.interpolate(x, size, mode="bilinear", align_corners=False) for x in paths)


def chained(params, x, pool_first):
    torch = pytest.importorskip("torch")
    pool = torch.nn.MaxPool2d(5, 1, 2)
    parts = [torch.relu(x)]
    for layer in sorted(params):
        x = parts[-1]
        parts.append(convolution(params[layer], pool(x)) if pool_first else pool(convolution(params[layer], x)))
    return sum(parts)


def close(ours, theirs):
    theirs = theirs.numpy().transpose(0, 2, 3, 1)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


def test_residual_unit_is_pytorchs_layers():
    x = jax.random.normal(KEY, (2, 7, 6, 4))
    variables = draw(ResidualConvUnit(), x)
    close(jit(ResidualConvUnit().apply)(variables, x), residual(variables["params"], to_torch(x)))
    assert "bias" not in variables["params"]["conv2"]


def test_fusion_is_pytorchs_layers():
    """The thinnest and the largest are different maps; sizes that are no multiples of one another."""
    maps = [jax.random.normal(KEY, shape) for shape in [(2, 7, 6, 4), (2, 13, 12, 6), (2, 4, 3, 5)]]
    variables = draw(Fusion(), maps)
    ours = jit(Fusion().apply)(variables, maps)
    assert ours.shape == (2, 13, 12, 4)
    close(ours, fusion(variables["params"], list(map(to_torch, maps))))


@pytest.mark.parametrize("pool_first", [False, True])
def test_chained_pooling_is_pytorchs_layers(pool_first):
    x, module = jax.random.normal(KEY, (2, 9, 8, 3)), ChainedPooling(3, pool_first)
    variables = draw(module, x)
    close(jit(module.apply)(variables, x), chained(variables["params"], to_torch(x), pool_first))


@pytest.mark.parametrize("options", [{}, dict(outputs=PAPER_OUTPUTS, pools=2, pool_first=True)])
def test_the_whole_is_its_blocks_in_order(options):
    image = jax.random.uniform(KEY, (2, 65, 48, 3))
    module = RefineNet(5, **SMALL, **options)
    variables = draw(module, image)
    params, trunk = variables["params"], {name: variables[name]["trunk"] for name in variables}
    features = jit(ResNet(**SMALL).apply)(trunk, image)
    x = None
    for stride in (32, 16, 8, 4):
        path = convolution(params[f"adapt{stride}"], to_torch(features[stride]))
        path = residual(params[f"path{stride}_2"], residual(params[f"path{stride}_1"], path))
        x = path if x is None else fusion(params[f"fusion{stride}"], [x, path])
        x = chained(params[f"pooling{stride}"], x, options.get("pool_first", False))
        units = sorted(name for name in params if name.startswith(f"output{stride}_"))
        for unit in units:
            x = residual(params[unit], x)
        assert len(units) == (1 if options and stride > 4 else 3)
    assert x.shape[2:] == (17, 12)
    close(jit(module.apply)(variables, image), convolution(params["classifier"], x))


def count(**options):
    """Parameters but for those of the ResNet."""
    module = RefineNet(21, (1, 1, 1, 1), **options)
    shapes = dict(jax.eval_shape(module.init, KEY, jnp.zeros((1, 32, 32, 3)))["params"])
    del shapes["trunk"]
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def test_parameters_by_hand():
    def conv(c_in, c_out):
        return 9 * c_in * c_out

    def unit(c):
        return 2 * conv(c, c) + c  # one bias

    adapt = conv(2048, 512) + conv(1024, 256) + conv(512, 256) + conv(256, 256)
    paths = 2 * unit(512) + 6 * unit(256)
    fusions = conv(512, 256) + 5 * conv(256, 256)
    shared = adapt + paths + fusions + conv(256, 21) + 21
    assert count() == shared + 4 * (conv(512, 512) + 3 * conv(256, 256)) + 3 * (unit(512) + 3 * unit(256))
    paper = shared + 2 * (conv(512, 512) + 3 * conv(256, 256)) + unit(512) + 5 * unit(256)
    assert count(outputs=PAPER_OUTPUTS, pools=2, pool_first=True) == paper


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_batch_statistics_stay(frozen):
    image = jax.random.uniform(KEY, (2, 32, 32, 3))
    module = RefineNet(2, **SMALL, outputs=(0, 0, 0, 0), pools=0, rate=0.0, frozen=frozen)
    variables = draw(module, image)
    _, moved = jit(lambda v: module.apply(v, image, train=True, mutable=["batch_stats"]))(variables)
    before, after = jax.tree.leaves(variables["batch_stats"]), jax.tree.leaves(moved["batch_stats"])
    assert all(np.array_equal(a, b) == frozen for a, b in zip(before, after, strict=True))


def test_weights_start_normal():
    kernel = jit(ResidualConvUnit().init)(KEY, jnp.zeros((1, 1, 1, 32)))["params"]["conv2"]["kernel"]
    np.testing.assert_allclose(np.std(kernel), 0.01, rtol=0.03)


def test_wrong_outputs_are_a_users_error():
    with pytest.raises(UserError, match="must be four numbers"):
        jax.eval_shape(RefineNet(2, outputs=(3, 3)).init, KEY, jnp.zeros((1, 32, 32, 3)))
