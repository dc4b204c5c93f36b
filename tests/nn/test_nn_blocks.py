"""Blocks against PyTorch's layers and against sums written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from pixlab.errors import UserError
from pixlab.nn import torch_init
from pixlab.nn.convt import TransposedConv, UpConv, he_transposed
from pixlab.nn.instance_norm import instance_norm
from pixlab.nn.lrn import local_response_norm
from pixlab.nn.normalise import normalise, unit_vectors
from pixlab.nn.platform import plain
from pixlab.nn.pool import max_pool
from pixlab.nn.prelu import PReLU
from pixlab.nn.sizing import ceil_windows, centred_padding
from pixlab.nn.upsample import depth_to_space, interpolation_matrix, nearest_upsample, triangle_upsample

RNG = np.random.default_rng(0)


def to_torch(x):
    torch = pytest.importorskip("torch")
    return torch.from_numpy(np.array(x).transpose(0, 3, 1, 2))


def from_torch(x):
    return x.detach().numpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize("size", [(7, 8), (9, 12), (5, 6)])
@pytest.mark.parametrize(
    "window,stride,padding,ceil", [(3, 2, 1, False), (2, 2, 0, True), (3, 2, 0, True), (3, 2, 1, True), (2, 2, 1, True)]
)
def test_max_pool_is_pytorchs(size, window, stride, padding, ceil):
    torch = pytest.importorskip("torch")
    x = RNG.normal(size=(2, *size, 3)).astype(np.float32) - 5  # negative: padding must not win
    ours = max_pool(jnp.asarray(x), window, stride, padding=padding, ceil=ceil)
    theirs = torch.nn.functional.max_pool2d(to_torch(x), window, stride, padding, ceil_mode=ceil)
    np.testing.assert_array_equal(ours, from_torch(theirs))


@pytest.mark.parametrize(("window", "stride", "padding"), [(2, 2, 0), (3, 2, 0), (3, 2, 1), (3, 1, 1)])
def test_max_pool_on_a_cpu_has_the_gradient_of_xlas(window, stride, padding):
    x = jnp.asarray(RNG.integers(0, 3, (2, 9, 8, 2)), jnp.float32)  # small integers: many ties
    grad = lambda pool: jax.vjp(pool, x)  # noqa: E731
    ours, back = grad(lambda x: max_pool(x, window, stride, padding=padding))
    with plain():
        theirs, their_back = grad(lambda x: max_pool(x, window, stride, padding=padding))
    np.testing.assert_array_equal(ours, theirs)
    g = jnp.asarray(RNG.integers(1, 9, ours.shape), jnp.float32)  # whose sums are exact
    np.testing.assert_array_equal(back(g)[0], their_back(g)[0])


def test_max_pool_hands_nan_on():
    x = jnp.ones((1, 4, 4, 1)).at[0, 1, 0, 0].set(jnp.nan)
    np.testing.assert_array_equal(jnp.isnan(max_pool(x, 2, 2))[0, :, :, 0], [[True, False], [False, False]])


def test_lrn_is_pytorchs():
    torch = pytest.importorskip("torch")
    x = 30 * RNG.normal(size=(2, 3, 4, 11)).astype(np.float32)
    ours = local_response_norm(jnp.asarray(x))
    theirs = torch.nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)(to_torch(x))
    np.testing.assert_allclose(ours, from_torch(theirs), rtol=1e-5)


def test_triangle_upsample_is_a_cropped_transposed_convolution():
    torch = pytest.importorskip("torch")
    x = RNG.normal(size=(2, 14, 19, 2)).astype(np.float32)
    taps = torch.tensor([0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25])
    kernel = (taps[:, None] * taps[None])[None, None].repeat(2, 1, 1, 1)
    full = torch.nn.functional.conv_transpose2d(to_torch(x), kernel, stride=4, groups=2)
    ours = triangle_upsample(jnp.asarray(x), (55, 74))
    np.testing.assert_allclose(ours, from_torch(full[:, :, 2:-2, 2:-3]), atol=1e-5)


@pytest.mark.parametrize(("factor", "window", "crop"), [(2, 4, 0), (2, 3, 1), (8, 16, 3), (16, 32, 20)])
def test_triangle_upsample_has_caffes_bilinear_windows(factor, window, crop):
    torch = pytest.importorskip("torch")
    x = RNG.normal(size=(2, 5, 4, 2)).astype(np.float32)
    taps = {4: [0.25, 0.75], 3: [0.5, 1.0]}.get(window, (np.arange(factor) + 0.5) / factor)
    taps = torch.tensor(np.concatenate([taps, taps[window // 2 - 1 :: -1] if window % 2 == 0 else taps[:1]])).float()
    assert len(taps) == window
    kernel = (taps[:, None] * taps[None])[None, None].repeat(2, 1, 1, 1)
    full = torch.nn.functional.conv_transpose2d(to_torch(x), kernel, stride=factor, groups=2)
    ours = triangle_upsample(jnp.asarray(x), (factor * 3, factor * 2), factor=factor, window=window, crop=crop)
    np.testing.assert_allclose(
        ours, from_torch(full[:, :, crop : crop + factor * 3, crop : crop + factor * 2]), atol=1e-5
    )


def test_triangle_upsample_wants_a_triangles_window():
    with pytest.raises(UserError, match="7 or 8 taps"):
        triangle_upsample(jnp.ones((1, 2, 2, 1)), (8, 8), factor=4, window=6)


def test_triangle_upsample_keeps_a_ramp_between_its_peaks():
    x = jnp.broadcast_to(jnp.arange(4.0)[None, :, None, None], (1, 4, 3, 1))
    out = triangle_upsample(x, (14, 12))[0, :, 5, 0]
    np.testing.assert_allclose(out[1:14], np.arange(13) / 4, atol=1e-6)  # cell j peaks at 4 j + 1


def test_interpolation_matrix_recovers_a_line():
    positions = np.array([5, 7, 9, 11])
    weights = interpolation_matrix(positions, 15)
    np.testing.assert_allclose(weights @ (3.0 * positions - 2), 3.0 * np.clip(np.arange(15), 5, 11) - 2, rtol=1e-6)


def test_nearest_upsample_repeats():
    x = RNG.normal(size=(1, 2, 3, 2)).astype(np.float32)
    out = np.asarray(nearest_upsample(jnp.asarray(x)))
    for i in range(4):
        for j in range(6):
            np.testing.assert_array_equal(out[:, i, j], x[:, i // 2, j // 2])


def test_depth_to_space_by_hand():
    x = jnp.arange(8.0).reshape(1, 1, 2, 4)
    np.testing.assert_array_equal(depth_to_space(x, 2)[0, :, :, 0], [[0, 1, 4, 5], [2, 3, 6, 7]])


def test_upconv_is_a_transposed_convolution():
    torch = pytest.importorskip("torch")
    x = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32)
    module = UpConv(6)
    params = module.init(jax.random.key(0), jnp.asarray(x))["params"]
    params = {"kernel": params["kernel"], "bias": jnp.arange(6.0)}
    layer = torch.nn.ConvTranspose2d(5, 6, 2, 2)
    layer.weight.data = torch.from_numpy(np.array(params["kernel"]).transpose(2, 3, 0, 1).copy())
    layer.bias.data = torch.arange(6.0)
    ours = module.apply({"params": params}, jnp.asarray(x))
    np.testing.assert_allclose(ours, from_torch(layer(to_torch(x))), atol=1e-5)


def test_upconv_starts_with_the_fan_in_of_one_cell():
    init = jax.nn.initializers.variance_scaling(2.0, "fan_in", "normal")
    params = UpConv(64, kernel_init=init).init(jax.random.key(0), jnp.ones((1, 1, 1, 50)))["params"]
    np.testing.assert_allclose(params["kernel"].std(axis=(2, 3)), np.sqrt(2 / 50), rtol=0.05)


@pytest.mark.parametrize(
    ("window", "stride", "padding", "output_padding"),
    [(9, 2, 4, 1), (9, 3, 4, 2), (9, 4, 4, 3), (3, 2, 1, 1), (4, 2, 1, 0), (2, 3, 0, 0), (5, 1, 2, 0), (3, 2, 2, 0)],
)
def test_transposed_convolution_is_pytorchs(window, stride, padding, output_padding):
    torch = pytest.importorskip("torch")
    x = jnp.asarray(RNG.normal(size=(2, 4, 5, 3)), jnp.float32)
    module = TransposedConv(2, window, stride, padding, output_padding)
    variables = draw(module, x)
    layer = torch.nn.ConvTranspose2d(3, 2, window, stride, padding, output_padding)
    layer.weight.data = torch.from_numpy(np.array(variables["params"]["kernel"]).transpose(2, 3, 0, 1).copy())
    layer.bias.data = torch.from_numpy(np.array(variables["params"]["bias"]))
    np.testing.assert_allclose(module.apply(variables, x), from_torch(layer(to_torch(x))), atol=1e-5)


@pytest.mark.parametrize(("window", "stride"), [(4, 2), (3, 2), (6, 3), (3, 1)])
def test_transposed_convolutions_start_with_the_fan_in_of_an_output(window, stride):
    """Over all phases, outputs have twice the mean square of the inputs, which a ReLU halves again."""
    x = jnp.asarray(RNG.normal(size=(1, 8, 8, 64)), jnp.float32)
    kernel = he_transposed(stride)(jax.random.key(0), (window, window, 64, 64), jnp.float32)
    variables = {"params": {"kernel": kernel, "bias": jnp.zeros(64)}}
    out = TransposedConv(64, window, stride).apply(variables, x)
    inside = out[:, stride * 2 : stride * 6, stride * 2 : stride * 6]  # whole phases, away from the border
    assert float((inside**2).mean()) == pytest.approx(2 * float((x**2).mean()), rel=0.1)


def test_prelu_is_pytorchs():
    torch = pytest.importorskip("torch")
    x, slope = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32), np.array([0.25, -0.5, 0, 1, 2], np.float32)
    layer = torch.nn.PReLU(5)
    start = PReLU().init(jax.random.key(0), jnp.asarray(x))["params"]["slope"]
    np.testing.assert_array_equal(start, layer.weight.detach().numpy())
    np.testing.assert_array_equal(PReLU(0.1).init(jax.random.key(0), jnp.asarray(x))["params"]["slope"], start * 0.4)
    layer.weight.data = torch.from_numpy(slope)
    ours = PReLU().apply({"params": {"slope": jnp.asarray(slope)}}, jnp.asarray(x))
    np.testing.assert_array_equal(ours, from_torch(layer(to_torch(x))))


def test_instance_norm_is_pytorchs():
    """Also far from 0, where a difference of squares would have no digits left."""
    torch = pytest.importorskip("torch")
    x = jnp.asarray(RNG.normal(size=(2, 6, 7, 3)) * [1e-3, 1, 50] + [0, 1000, -3], jnp.float32)
    module = instance_norm("norm")
    variables = draw(module, x)
    layer = torch.nn.InstanceNorm2d(3, affine=True)
    layer.weight.data, layer.bias.data = (
        torch.from_numpy(np.array(variables["params"][name])) for name in ("scale", "bias")
    )
    np.testing.assert_allclose(module.apply(variables, x), from_torch(layer(to_torch(x))), atol=1e-3)


def test_convolutions_start_as_pytorchs():
    """Uniform up to 1 / sqrt(fan-in), kernels and biases alike."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(50, 400, 3)
    kernel = torch_init.KERNEL(jax.random.key(0), (3, 3, 50, 400), jnp.float32)
    bias = torch_init.bias(450)(jax.random.key(1), (400,), jnp.float32)
    for ours, theirs in ((kernel, layer.weight), (bias, layer.bias)):
        theirs = theirs.detach().numpy()
        for quantile in (0, 0.25, 0.5, 0.75, 1):
            np.testing.assert_allclose(np.quantile(ours, quantile), np.quantile(theirs, quantile), atol=0.01)
        np.testing.assert_allclose(np.abs(ours).max(), 450**-0.5, rtol=0.01)


@pytest.mark.parametrize(
    "size,window,stride,count,pads", [(228, 9, 2, 111, (1, 0)), (304, 9, 2, 149, (1, 0)), (229, 9, 2, 111, (0, 0)),
                                      (228, 11, 4, 56, (2, 1)), (304, 11, 4, 75, (2, 1))]
)  # fmt: skip
def test_cuda_convnet_sizes(size, window, stride, count, pads):
    assert ceil_windows(size, window, stride) == count
    assert centred_padding(size, window, stride) == pads


def test_normalise_and_unit_vectors_by_hand():
    image = jnp.asarray([0.5, 0.25, 1.0])[None, None, None]
    np.testing.assert_allclose(normalise(image, (0.1, 0.2, 0.3), (0.2, 0.5, 0.7))[0, 0, 0], [2, 0.1, 1], rtol=1e-6)
    np.testing.assert_allclose(unit_vectors(image * 0), image * 0)
    np.testing.assert_allclose(
        unit_vectors(jnp.asarray([0.0, 0.03, 0.04])[None, None, None]).max(), 0.04 / 0.0509902, rtol=1e-5
    )
