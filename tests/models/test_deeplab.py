"""DeepLab against PyTorch's layers; its dilated ResNet against the strided one that looks at shifted images."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from pixlab.losses.segmentation import strided_labels
from pixlab.models.deeplab import ASPP_L, ASPP_S, LARGE_FOV, DeepLab, multi_scale
from pixlab.models.deeplab_resnet import DeepLabResNet
from pixlab.models.dilated_vgg import DilatedVGG16
from pixlab.models.resnet import RESNET152, ResNet
from pixlab.models.vgg import VGG16
from pixlab.nn.conv import Conv
from pixlab.nn.upsample import resize_corners

KEY = jax.random.key(0)
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiling is what takes time


def to_torch(x):
    return pytest.importorskip("torch").from_numpy(np.array(x).transpose(0, 3, 1, 2).copy())


def convolution(params, x, dilation=1):
    torch = pytest.importorskip("torch")
    kernel = torch.from_numpy(np.array(params["kernel"]).transpose(3, 2, 0, 1).copy())
    bias, padding = torch.from_numpy(np.array(params["bias"])), kernel.shape[2] // 2 * dilation
    return torch.nn.functional.conv2d(x, kernel, bias, padding=padding, dilation=dilation)


@pytest.mark.parametrize("rates", [LARGE_FOV, ASPP_S])
def test_is_pytorchs_layers(rates):
    torch = pytest.importorskip("torch")
    image = jax.random.uniform(KEY, (2, 65, 33, 3))
    module = DeepLab(5, rates, width=1 / 64)
    variables = draw(module, image)
    params, relu = variables["params"], torch.relu
    x = to_torch((image - jnp.array(module.mean)[None, None, None]) / jnp.array(module.std)[None, None, None])
    for block, convs in enumerate((2, 2, 3, 3, 3), 1):
        for index in range(1, convs + 1):
            x = relu(convolution(params["trunk"][f"conv{block}_{index}"], x, 2 if block == 5 else 1))
        x = torch.nn.MaxPool2d(3, 2 if block < 4 else 1, 1)(x)
    x = torch.nn.AvgPool2d(3, 1, 1)(x) if rates == LARGE_FOV else x
    scores = 0
    for rate in rates:
        y = relu(convolution(params[f"fc7_{rate}"], relu(convolution(params[f"fc6_{rate}"], x, rate))))
        scores = scores + convolution(params[f"fc8_{rate}"], y)
    theirs = scores.numpy().transpose(0, 2, 3, 1)
    ours = jit(module.apply)(variables, image)
    assert ours.shape == theirs.shape == (2, 9, 5, 5)
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize(("size", "cells"), [(321, 41), (513, 65), (320, 40), (327, 41)])
def test_a_cell_for_every_eighth_pixel(size, cells):
    """Labels by hand: 0, 8, 16... And scores of the same number, whatever the size."""
    label = jnp.arange(size)[None, :, None, None] + 1000 * jnp.arange(16)[None, None, :, None]
    expected = [[8 * i + 8000 * j for j in range(2)] for i in range(cells)]
    np.testing.assert_array_equal(strided_labels(label)[0, :, :, 0], expected)
    image = jax.ShapeDtypeStruct((1, size, 16, 3), jnp.float32)
    module = DeepLab(2, width=1 / 64)
    assert jax.eval_shape(lambda x: module.init_with_output(KEY, x)[0], image).shape == (1, cells, 2, 2)


def test_a_dilated_layer_is_the_plain_one_on_every_other_cell():
    """For each of 3x3 phases, border and all: rate 3 on a map is rate 1 on its cells 3 apart."""
    x = jax.random.normal(KEY, (2, 14, 13, 4))
    plain, dilated = Conv(5, (3, 3)), Conv(5, (3, 3), kernel_dilation=3)
    variables = draw(plain, x)
    whole, apply = np.asarray(jit(dilated.apply)(variables, x)), jit(plain.apply)
    for i in range(3):
        for j in range(3):
            np.testing.assert_allclose(apply(variables, x[:, i::3, j::3]), whole[:, i::3, j::3], atol=1e-5)


def test_the_dilated_resnet_is_the_strided_one_on_shifted_images():
    """Stride 32 looks at 16 images, each shifted by 8 pixels more; stride 8 finds all of that in one."""
    image = jax.random.uniform(KEY, (1, 217, 217, 3))
    strided, dilated = ResNet((1, 1, 2, 2), 1 / 32), ResNet((1, 1, 2, 2), 1 / 32, dilations=(1, 1, 2, 4))
    variables = draw(strided, image)
    shifts = [(8 * i, 8 * j) for i in range(4) for j in range(4)]
    shifted = jnp.concatenate([image[:, i : i + 193, j : j + 193] for i, j in shifts])
    sparse = jit(lambda x: strided.apply(variables, x)[32][:, 3, 3])(shifted)  # the cell on pixel 96
    dense = jit(lambda x: dilated.apply(variables, x)[32])(image)
    assert dense.shape[1:3] == (28, 28)
    dense = dense[0, 12:16, 12:16].reshape(16, -1)
    np.testing.assert_allclose(sparse, dense, atol=1e-5 * float(jnp.abs(dense).max()))


def test_the_classifiers_of_the_resnet_are_summed():
    image = jax.random.uniform(KEY, (1, 41, 33, 3))
    module = DeepLabResNet(3, blocks=(1, 1, 1, 1), width=1 / 32)
    variables = draw(module, image)
    scores = jit(module.apply)(variables, image)
    trunk = {name: variables[name]["trunk"] for name in variables}
    x = jit(lambda v, x: ResNet((1, 1, 1, 1), 1 / 32, dilations=(1, 1, 2, 4)).apply(v, x)[32])(trunk, image)
    theirs = sum(convolution(variables["params"][f"rate{rate}"], to_torch(x), rate) for rate in ASPP_L)
    np.testing.assert_allclose(scores, theirs.numpy().transpose(0, 2, 3, 1), atol=1e-5 * float(theirs.abs().max()))
    assert scores.shape == (1, 6, 5, 3)


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_batch_statistics_stay(frozen):
    image = jax.random.uniform(KEY, (2, 33, 33, 3))
    module = DeepLabResNet(3, blocks=(1, 1, 1, 1), width=1 / 32, frozen=frozen)
    variables = draw(module, image)
    _, moved = jit(lambda v: module.apply(v, image, train=True, mutable=["batch_stats"]))(variables)
    before, after = jax.tree.leaves(variables["batch_stats"]), jax.tree.leaves(moved["batch_stats"])
    assert all(np.array_equal(a, b) == frozen for a, b in zip(before, after, strict=True))


def test_trunk_takes_published_vgg_weights():
    """It has the layers of VGG16, which `pretrained.imagenet.vgg16` fills."""
    ours, theirs = (jax.eval_shape(net.init, KEY, jnp.zeros((1, 33, 33, 3))) for net in (DilatedVGG16(), VGG16()))
    assert ours == theirs


def test_parameter_count_of_resnet152():
    shapes = jax.eval_shape(ResNet(RESNET152).init, KEY, jnp.zeros((1, 32, 32, 3)))["params"]
    total = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert total == 60_192_808 - 2049 * 1000  # torchvision's resnet152 without its classifier


def test_parameter_count_of_aspp():
    for rates in (ASPP_S, ASPP_L):
        shapes = jax.eval_shape(DeepLab(21, rates).init, KEY, jnp.zeros((1, 17, 17, 3)))["params"]
        assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 37_877_652


@pytest.mark.parametrize(("size", "out"), [((6, 5), (41, 33)), ((41, 33), (21, 17)), ((6, 5), (9, 5))])
def test_resize_corners_is_pytorchs(size, out):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    theirs = torch.nn.functional.interpolate(to_torch(x), out, mode="bilinear", align_corners=True)
    np.testing.assert_allclose(resize_corners(jnp.asarray(x), out), theirs.numpy().transpose(0, 2, 3, 1), atol=1e-5)


def test_scales_are_fused_by_the_larger_score():
    """A stand-in for the network, every eighth pixel as it is: on a ramp from 0 to 1, corners stay corners."""
    ramp = jnp.broadcast_to(jnp.linspace(0, 1, 321)[None, :, None, None], (1, 321, 33, 3))
    seen = []

    def every_eighth(x):
        seen.append(x.shape[1:3])
        return x[:, ::8, ::8] * jnp.array([1.0, -1, x.shape[1] / 321])[None, None, None]

    fused, single = jit(lambda x: multi_scale(every_eighth, x))(ramp)
    assert set(seen) == {(161, 17), (241, 25), (321, 33)} and [s.shape[1] for s in single] == [21, 31, 41]
    line = np.linspace(0, 1, 41)
    np.testing.assert_allclose(fused[0, :, 2], np.stack([line, -line, line], axis=1), atol=1e-6)
    assert fused.shape == (1, 41, 5, 3)
    noise = jax.random.normal(KEY, (1, 65, 33, 3))
    fused, single = jit(lambda x: multi_scale(lambda x: x[:, ::8, ::8], x, scales=(0.5, 1.0)))(noise)
    enlarged = jit(lambda x: resize_corners(x, (9, 5)))(single[0])
    np.testing.assert_allclose(fused, np.maximum(enlarged, single[1]), atol=1e-6)
