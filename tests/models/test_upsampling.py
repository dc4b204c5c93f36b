"""Deconvolutions against PyTorch's and a count by hand; resize-convolutions as deconvolutions with tied weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from pixlab.metrics.artefacts import phase_variance
from pixlab.models.upsampling import Decoder, Encoder, ResizeConv, deconv

KEY = jax.random.key(0)
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiling is what takes time


def apply(module, variables, x):
    return np.asarray(jit(module.apply)(variables, x))


@pytest.mark.parametrize("kernel", [2, 3, 4, 5])
def test_decoder_is_the_network_in_pytorch(kernel):
    torch = pytest.importorskip("torch")
    code = jax.random.normal(KEY, (2, 3, 4, 5))
    module = Decoder(2, kernel, width=2)
    variables = draw(module, code)
    f, params = torch.nn.functional, jax.tree.map(np.array, variables["params"])

    def weights(layer, *axes):
        return torch.from_numpy(layer["kernel"].transpose(axes).copy()), torch.from_numpy(layer["bias"])

    x = torch.from_numpy(np.array(code).transpose(0, 3, 1, 2).copy())
    x = f.pad(f.interpolate(x, scale_factor=2, mode="nearest"), (1, 1, 1, 1), mode="reflect")
    x = f.relu(f.conv2d(x, *weights(params["resize1"]["conv"], 3, 2, 0, 1)))
    options = {"stride": 2, "padding": (kernel - 1) // 2, "output_padding": kernel % 2}
    x = f.relu(f.conv_transpose2d(x, *weights(params["deconv2"], 2, 3, 0, 1), **options))
    x = f.conv_transpose2d(x, *weights(params["deconv3"], 2, 3, 0, 1), **options)
    expected = x.numpy().transpose(0, 2, 3, 1)
    assert expected.shape == (2, 24, 32, 3)
    np.testing.assert_allclose(apply(module, variables, code), expected, atol=1e-5 * np.abs(expected).max())


def overlap(kernel, size=6):
    """How many input cells paint each output pixel, by painting."""
    count, padding = np.zeros((2 * size, 2 * size)), (kernel - 1) // 2
    for i in range(size):
        for j in range(size):
            for r in range(kernel):
                for s in range(kernel):
                    y, x = 2 * i + r - padding, 2 * j + s - padding
                    if 0 <= y < 2 * size and 0 <= x < 2 * size:
                        count[y, x] += 1
    return count


@pytest.mark.parametrize(
    ("kernel", "tile"), [(2, [[1, 1], [1, 1]]), (3, [[1, 2], [2, 4]]), (4, [[4, 4], [4, 4]]), (5, [[9, 6], [6, 4]])]
)
def test_overlap(kernel, tile):
    """Kernels of ones on ones: 1, 2, 2, 4 for 3x3, even where the stride divides the kernel."""
    ones = jnp.ones((1, 6, 6, 1))
    variables = {"params": {"kernel": jnp.ones((kernel, kernel, 1, 1)), "bias": jnp.zeros(1)}}
    painted = apply(deconv(1, kernel), variables, ones)[0, ..., 0]
    np.testing.assert_allclose(painted, overlap(kernel))
    np.testing.assert_allclose(painted[2:-2, 2:-2], np.tile(tile, (4, 4)))


def test_stacked_deconvolutions_leave_longer_periods():
    """Two 3x3 deconvolutions of ones: period 4; the article's unevenness is multiplied."""
    x = jnp.ones((1, 6, 6, 1))
    variables = {"params": {"kernel": jnp.ones((3, 3, 1, 1)), "bias": jnp.zeros(1)}}
    for _ in range(2):
        x = apply(deconv(1, 3), variables, x)
    middle = x[0, 4:-4, 4:-4]
    half, whole = (float(phase_variance(jnp.asarray(middle), p)) for p in (2, 4))
    assert whole == pytest.approx(1, rel=1e-5) and 0.3 < half < 0.95


def test_resize_convolution_is_a_deconvolution_with_tied_weights():
    """A 4x4 kernel that sums the 3x3 one over the two pixels that repeat a cell; apart from the border."""
    x = jax.random.normal(KEY, (1, 5, 6, 3))
    variables = draw(ResizeConv(2), x)
    three, bias = (variables["params"]["conv"][name] for name in ("kernel", "bias"))
    four = np.zeros((4, 4, 3, 2), np.float32)
    for r in range(3):
        for s in range(3):
            for i in range(2):
                for j in range(2):
                    four[2 - r + i, 2 - s + j] += three[r, s]
    tied = {"params": {"kernel": jnp.asarray(four), "bias": bias}}
    ours, theirs = apply(ResizeConv(2), variables, x), apply(deconv(2, 4), tied, x)
    np.testing.assert_allclose(ours[:, 1:-1, 1:-1], theirs[:, 1:-1, 1:-1], atol=1e-5)


@pytest.mark.parametrize(("deconvs", "even"), [(0, True), (1, False), (3, False)])
def test_a_constant_code(deconvs, even):
    """Resize-convolutions keep it constant up to the border, deconvolutions do not, away from it."""
    code = jnp.ones((1, 6, 6, 4)) * jax.random.normal(KEY, (1, 1, 1, 4))
    module = Decoder(deconvs, width=2)
    out = apply(module, draw(module, code), code)
    if even:
        np.testing.assert_allclose(out, np.broadcast_to(out[:, :1, :1], out.shape), atol=1e-5 * np.abs(out).max())
    else:
        middle = jnp.asarray(out[0, 16:-16, 16:-16])
        assert float(phase_variance(middle, 2)) > 0.05
        assert float(phase_variance(middle, 8)) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("kernel", [3, 4])
def test_gradient_of_a_strided_convolution_is_a_deconvolution(kernel):
    """One layer: the gradient of its output's sum with respect to the image is the overlap of its weights."""
    image = jax.random.uniform(KEY, (1, 12, 12, 2))
    module = Encoder("strided", kernel, layers=1, features=3)
    variables = draw(module, image)
    gradient = jit(jax.grad(lambda image: module.apply(variables, image).sum()))(image)
    weights = variables["params"]["conv1"]["kernel"].transpose(0, 1, 3, 2)
    painted = apply(deconv(2, kernel), {"params": {"kernel": weights, "bias": jnp.zeros(2)}}, jnp.ones((1, 6, 6, 3)))
    np.testing.assert_allclose(gradient, painted, atol=1e-5)


@pytest.mark.parametrize(("down", "window"), [("strided", 3), ("strided", 4), ("max", 2), ("max", 3), ("mean", 2)])
def test_encoder_is_the_network_in_pytorch(down, window):
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    image = jax.random.normal(KEY, (1, 16, 12, 3))
    module = Encoder(down, window, layers=2, width=2, features=5)
    variables = draw(module, image)
    x = torch.from_numpy(np.array(image).transpose(0, 3, 1, 2).copy())
    for layer in ("conv1", "conv2"):
        params = variables["params"][layer]
        weights = torch.from_numpy(np.array(params["kernel"]).transpose(3, 2, 0, 1).copy())
        x = f.conv2d(x, weights, torch.from_numpy(np.array(params["bias"])), stride=1 + (down == "strided"), padding=1)
        x = f.relu(x) if layer == "conv1" else x
        if down == "max":
            x = f.max_pool2d(x, window, 2, (window - 1) // 2)
        elif down == "mean":
            x = f.avg_pool2d(x, 2)
    np.testing.assert_allclose(apply(module, variables, image), x.numpy().transpose(0, 2, 3, 1), atol=1e-4)


def test_gradient_through_means_repeats():
    """Of one linear layer: constant away from the border, unlike a strided convolution's."""
    module = Encoder("mean", layers=1, features=3)
    image = jax.random.uniform(KEY, (1, 8, 8, 2))
    variables = draw(module, image)
    gradient = np.asarray(jit(jax.grad(lambda image: module.apply(variables, image).sum()))(image))[:, 1:-1, 1:-1]
    np.testing.assert_allclose(gradient, np.broadcast_to(gradient[:, :1, :1], gradient.shape), atol=1e-6)
    weights = np.asarray(variables["params"]["conv1"]["kernel"])
    np.testing.assert_allclose(gradient[0, 0, 0], weights.sum((0, 1, 3)) / 4, atol=1e-6)


def test_sizes_that_do_not_halve():
    with pytest.raises(ValueError, match="12x10: sides must be multiples of 4"):
        jax.eval_shape(Encoder("mean", layers=2).init, KEY, jnp.zeros((1, 12, 10, 3)))
