"""The CPU's formulas for convolution against lax.conv_general_dilated and its own gradients."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from pixlab.nn import conv as module
from pixlab.nn.conv import Conv, conv
from pixlab.nn.dense import Dense
from pixlab.nn.large_window import large


def plain(x, kernel, pads):
    return lax.conv_general_dilated(x, kernel, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * max(1e-3, np.abs(theirs).max()))


def value_and_gradients(f, pads):
    def both(x, kernel, grad):
        value, back = jax.vjp(lambda x, kernel: f(x, kernel, pads), x, kernel)
        return value, *back(grad)

    return jax.jit(both)


@pytest.mark.parametrize(
    ("size", "window", "channels", "pads"),
    [
        ((2, 8, 6), (3, 3), (2, 3), ((1, 1), (1, 1))),
        ((1, 7, 9), (3, 3), (3, 2), ((0, 0), (0, 0))),
        ((1, 5, 8), (3, 3), (2, 2), ((2, 0), (0, 1))),
        ((3, 3, 4), (3, 3), (1, 1), ((0, 0), (1, 2))),
        ((2, 14, 13), (3, 3), (3, 4), ((1, 1), (1, 1))),
        ((2, 8, 6), (5, 5), (2, 3), ((2, 2), (2, 2))),
        ((1, 9, 11), (5, 5), (3, 2), ((0, 0), (0, 0))),
        ((2, 4, 5), (5, 5), (1, 3), ((4, 0), (1, 3))),
        ((2, 6, 7), (2, 5), (4, 1), ((0, 1), (3, 2))),
        ((2, 6, 5), (4, 3), (1, 4), ((3, 0), (1, 1))),
        ((2, 6, 7), (3, 2), (4, 1), ((1, 1), (0, 1))),
        ((2, 6, 7), (3, 2), (1, 4), ((2, 1), (0, 0))),
        ((1, 8, 7), (5, 4), (1, 10), ((0, 0), (0, 0))),
        ((1, 8, 7), (3, 3), (40, 9), ((0, 0), (0, 0))),
        ((1, 8, 7), (3, 3), (33, 5), ((0, 0), (0, 0))),
        ((2, 5, 7), (2, 3), (12, 3), ((0, 1), (1, 1))),
        ((3, 8, 7), (3, 2), (2, 7), ((0, 2), (1, 0))),
        ((3, 8, 7), (3, 2), (7, 2), ((0, 2), (1, 0))),
        ((2, 3, 4), (1, 1), (5, 4), ((0, 0), (0, 0))),
        ((2, 50, 51), (7, 7), (33, 32), ((3, 3), (3, 3))),
        ((1, 63, 41), (8, 3), (32, 34), ((7, 0), (0, 2))),
    ],
)
@pytest.mark.parametrize("wide", [{(3, 3): 1, (5, 5): 1}, {}], ids=["winograd", "direct"])
def test_value_and_gradients_are_those_of_xla(wide, size, window, channels, pads, monkeypatch):
    monkeypatch.setattr(module, "WIDE", wide)
    rng, out = np.random.default_rng(0), (n + sum(p) - k + 1 for n, k, p in zip(size[1:], window, pads, strict=True))
    shapes = (*size, channels[0]), (*window, *channels), (size[0], *out, channels[1])
    arrays = [jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes]
    for ours, theirs in zip(
        value_and_gradients(conv, pads)(*arrays), value_and_gradients(plain, pads)(*arrays), strict=True
    ):
        close(ours, theirs)


def convolutions(module, x):
    """Names of the primitives in a layer's program for CPUs."""
    params = jax.eval_shape(module.init, jax.random.key(0), x)
    text = jax.jit(module.apply).lower(params, x).as_text()
    return "stablehlo.convolution" in text, "stablehlo.dot_general" in text


@pytest.mark.parametrize("window", module.WIDE)
def test_wide_layers_alone_go_by_winograd(window):
    for channels, wide in ((module.WIDE[window], True), (module.WIDE[window] - 1, False)):
        x = jnp.zeros((1, 6, 6, channels))
        assert convolutions(Conv(channels, window), x) == (not wide, wide)
        assert convolutions(Conv(channels, (7, 7)), x) == (True, False)


def test_which_windows_are_large():
    assert large((7, 7, 64, 64), (2, 45, 60, 64)) and not large((7, 7, 64, 64), (2, 22, 30, 64))
    assert not large((5, 5, 64, 64), (2, 45, 60, 64)) and not large((7, 7, 3, 64), (2, 45, 60, 64))


@pytest.mark.parametrize("window", module.WIDE)
def test_many_channels_round_to_5e_6_of_the_largest_output(window):
    rng, (n, m), pads = np.random.default_rng(0), window, 2 * ((window[0] // 2,) * 2,)
    x, kernel = rng.standard_normal((1, 24, 20, 256)), rng.standard_normal((n, m, 256, 128))
    ours = conv(jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32), pads)
    with jax.enable_x64(True):
        exact = np.asarray(plain(jnp.asarray(x), jnp.asarray(kernel), pads))
    assert np.abs(np.asarray(ours) - exact).max() < 5e-6 * np.abs(exact).max()


@pytest.mark.parametrize(
    "options",
    [
        dict(kernel_size=(3, 3), padding="VALID"),
        dict(kernel_size=(3, 3), padding=((1, 0), (0, 2)), use_bias=False),
        dict(kernel_size=(3, 3), padding=((3, 0), (4, 1))),
        dict(kernel_size=(3, 3), padding=((-1, 0), (1, 1))),
        dict(kernel_size=(3, 3), strides=2),
        dict(kernel_size=(3, 3), kernel_dilation=2),
        dict(kernel_size=(3, 2), kernel_dilation=(2, 3)),
        dict(kernel_size=(3, 2), kernel_dilation=(2, 3), padding=((3, 0), (1, 2))),
        dict(kernel_size=(3, 3), kernel_dilation=2, padding="VALID"),
        dict(kernel_size=(2, 3), kernel_dilation=2, padding=((5, 0), (1, 2))),
        dict(kernel_size=(3, 3), feature_group_count=2),
        dict(kernel_size=(2, 5)),
        dict(kernel_size=(3, 3), dtype=jnp.bfloat16),
    ],
    ids=lambda o: "-".join(f"{k}={v}" for k, v in o.items() if k != "kernel_size"),
)
def test_the_layer_is_flax_conv(options, monkeypatch):
    monkeypatch.setattr(module, "WIDE", {(3, 3): 1})
    monkeypatch.setattr(module, "MANY", 1)
    x = jax.random.normal(jax.random.key(1), (2, 9, 8, 4))
    ours, theirs = Conv(6, **options), nn.Conv(6, **options)
    variables = jax.jit(theirs.init)(jax.random.key(0), x)
    assert jax.tree.structure(jax.eval_shape(ours.init, jax.random.key(0), x)) == jax.tree.structure(variables)
    close(*(np.float32(jax.jit(layer.apply)(variables, x)) for layer in (ours, theirs)))
    square = lambda layer: lambda variables, x: jnp.sum(layer.apply(variables, x) ** 2)  # noqa: E731
    gradients = (jax.jit(jax.grad(square(layer), (0, 1)))(variables, x) for layer in (ours, theirs))
    if "dtype" not in options:
        jax.tree.map(close, *gradients)


def test_the_kernels_gradient_of_a_dilated_layer_with_many_channels_is_made_of_products():
    for channels, products in ((module.MANY, True), (module.MANY - 1, False)):
        layer, x = Conv(channels, (3, 3), kernel_dilation=2), jnp.zeros((1, 6, 6, channels))
        params = jax.eval_shape(layer.init, jax.random.key(0), x)
        gradient = jax.grad(lambda params, layer=layer, x=x: layer.apply(params, x).sum())
        assert ("stablehlo.dot_general" in jax.jit(gradient).lower(params).as_text()) == products


def test_a_gradient_of_a_gradient(monkeypatch):
    monkeypatch.setattr(module, "WIDE", {(3, 3): 1})
    x, kernel = (jax.random.normal(jax.random.key(i), s) for i, s in enumerate([(1, 5, 6, 2), (3, 3, 2, 3)]))

    def penalty(f, kernel):
        return jnp.sum(jax.grad(lambda x: jnp.sum(jnp.tanh(f(x, kernel, ((1, 1), (1, 1))))))(x) ** 2)

    ours, theirs = (jax.jit(jax.grad(functools.partial(penalty, f)))(kernel) for f in (conv, plain))
    close(ours, theirs)


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_accelerators_get_the_convolution_as_it_is(platform):
    layer, x = Conv(64, (3, 3)), jnp.zeros((1, 6, 6, 64))
    params = jax.eval_shape(layer.init, jax.random.key(0), x)
    exported = jax.export.export(jax.jit(layer.apply), platforms=[platform])(params, x)
    text = exported.mlir_module()
    assert "stablehlo.convolution" in text and "dot_general" not in text


def test_the_dense_layer_is_flax_dense_with_its_gradient():
    x = jax.random.normal(jax.random.key(1), (3, 4, 5))
    ours, theirs = Dense(6), nn.Dense(6)
    variables = theirs.init(jax.random.key(0), x)
    results = []
    for layer in (ours, theirs):
        loss = lambda v, x, layer=layer: jnp.sum(jnp.sin(layer.apply(v, x)))  # noqa: E731
        results.append(jax.jit(jax.value_and_grad(loss, (0, 1)))(variables, x))
    for mine, flax in zip(*map(jax.tree.leaves, results), strict=True):
        close(mine, flax)


def test_the_dense_gradient_is_not_turned_round():
    def gradient(layer):
        x, kernel = jnp.zeros((8, 5)), jnp.zeros((5, 3))
        back = lambda kernel: jnp.sum(layer(3, use_bias=False).apply({"params": {"kernel": kernel}}, x) ** 2)  # noqa: E731
        return jax.jit(jax.grad(back)).lower(kernel).as_text()

    assert "transpose" in gradient(nn.Dense) and "transpose" not in gradient(Dense)
