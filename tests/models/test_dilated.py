"""The dilated front end and its context modules: sizes, fields of view by touching pixels, and PyTorch's layers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from pixlab.errors import UserError
from pixlab.models.context import DILATION7, DILATION8, DILATION10, Context, identity
from pixlab.models.dilated_frontend import FrontEnd, reflected

KEY = jax.random.key(0)
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiling is what takes time


def test_sizes_of_the_paper():
    crop = jnp.zeros((1, 500, 516, 3))
    params = jax.eval_shape(FrontEnd(21, margin=0).init, KEY, crop)

    def cells(size, **options):
        image = jax.ShapeDtypeStruct((1, size, size + 16, 3), jnp.float32)
        return jax.eval_shape(FrontEnd(21, **options).apply, params, image).shape[1:3]

    assert cells(500, margin=0) == (16, 18)  # a training crop
    assert cells(900, margin=0) == (66, 68)  # the release's input with its margin
    assert cells(321) == (41, 43) and cells(9) == (2, 4) and cells(8) == (1, 3)
    with pytest.raises(UserError, match="take 380 pixels a side or more"):
        cells(372, margin=0)


def test_margin_is_numpys_reflection():
    image = np.random.default_rng(0).normal(size=(1, 3, 9, 2)).astype(np.float32)  # it is reflected several times over
    theirs = np.pad(image, ((0, 0), (7, 7), (7, 7), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(reflected(jnp.asarray(image), 7), theirs)


def test_a_cell_of_the_front_end_sees_380_pixels():
    """Where all weights are positive, one white pixel in the dark is felt by just the cells that see it."""
    rows = [0, 7, 8, 15, 16, 379, 380, 387, 388, 403]
    module = FrontEnd(1, margin=0, width=1e-9, mean=(0, 0, 0), std=(1, 1, 1))
    image = np.zeros((len(rows), 404, 373, 3), np.float32)
    image[np.arange(len(rows)), rows, 186] = 1
    shapes = jax.eval_shape(module.init, KEY, jnp.asarray(image))
    params = jax.tree.map(lambda p: jnp.full(p.shape, 0.3 if len(p.shape) == 4 else 0.0), shapes)
    felt = np.asarray(jit(module.apply)(params, jnp.asarray(image))) > 0
    seen = [[8 * cell <= row <= 8 * cell + 379 for cell in range(4)] for row in rows]
    np.testing.assert_array_equal(felt[:, :, 0, 0], seen)


def convolution(params, x, **options):
    torch = pytest.importorskip("torch")
    kernel = torch.from_numpy(np.array(params["kernel"]).transpose(3, 2, 0, 1).copy())
    return torch.nn.functional.conv2d(x, kernel, torch.from_numpy(np.array(params["bias"])), **options)


def to_torch(x):
    return pytest.importorskip("torch").from_numpy(np.array(x).transpose(0, 3, 1, 2).copy())


def test_front_end_is_pytorchs_layers():
    relu = pytest.importorskip("torch").relu
    image = jax.random.uniform(KEY, (1, 20, 12, 3))
    module = FrontEnd(5, width=1 / 64)
    variables = draw(module, image)
    params = variables["params"]
    x = to_torch(np.pad((image - jnp.array(module.mean)[None, None, None]) / jnp.array(module.std)[None, None, None],
                        ((0, 0), (186, 186), (186, 186), (0, 0)), mode="reflect"))  # fmt: skip
    for name, layer in sorted(params["trunk"].items()):
        if name in ("conv2_1", "conv3_1", "conv4_1"):
            x = pytest.importorskip("torch").nn.functional.max_pool2d(x, 2, 2, ceil_mode=True)
        x = relu(convolution(layer, x, dilation=2 if name.startswith("conv5") else 1))
    x = relu(convolution(params["fc6"], x, dilation=4))
    x = convolution(params["final"], relu(convolution(params["fc7"], x)))
    ours = jit(module.apply)(variables, image)
    theirs = x.numpy().transpose(0, 2, 3, 1)
    assert ours.shape == theirs.shape == (1, 3, 2, 5)
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize(
    ("dilations", "fields"),
    [
        (DILATION8, [3, 5, 9, 17, 33, 65, 67]),  # table 1; its last layer is the 1x1 that follows: 67 again
        (DILATION7, [3, 5, 9, 17, 33, 35]),
        (DILATION10, [3, 5, 9, 17, 33, 65, 129, 257, 259]),
    ],
)
def test_fields_of_view(dilations, fields):
    """One cell that is not zero, weights that are all one: how far it is felt after each layer."""
    scores = jnp.zeros((1, 1, 271, 1)).at[0, 0, 135, 0].set(1)
    scores = jnp.pad(scores, ((0, 0), (1, 1), (0, 0), (0, 0)))
    module = Context(dilations=dilations)
    params = jax.tree.map(
        lambda p: jnp.full(p.shape, float(len(p.shape) == 4)), jax.eval_shape(module.init, KEY, scores)
    )
    _, inside = module.apply(params, scores, capture_intermediates=True)
    layers = inside["intermediates"]
    for layer, field in enumerate([*fields, fields[-1]], 1):
        felt = np.flatnonzero(np.asarray(layers[f"layer{layer}"]["__call__"][0]).any((0, 1, 3)))
        assert (felt.min(), felt.max()) == (135 - field // 2, 135 + field // 2)


@pytest.mark.parametrize("dilations", [DILATION7, DILATION8, DILATION10])
def test_basic_starts_as_the_identity(dilations):
    scores = jax.random.uniform(KEY, (2, 9, 8, 5))
    module = Context(dilations=dilations)
    out = jit(lambda x: module.init_with_output(KEY, x)[0])(scores)
    np.testing.assert_array_equal(out, scores)


@pytest.mark.parametrize(("noise", "low", "high"), [(0.0, 0, 3e-6), (None, 1e-4, 0.2)])
def test_large_starts_as_the_identity_but_for_its_noise(noise, low, high):
    scores = 1 + jax.random.uniform(KEY, (1, 5, 6, 2))
    out = jit(lambda x: Context(large=True, noise=noise).init_with_output(KEY, x)[0])(scores)
    assert low <= float(jnp.abs(out - scores).max()) < high


def test_identity_weights_by_hand():
    """Equation 5 for 2 classes from 4 to 8 channels: 2 / 8 at the centre, channels 0, 1 -> 0..3 and 2, 3 -> 4..7."""
    kernel = np.asarray(identity(2)(KEY, (3, 3, 4, 8)))
    expected = np.zeros((3, 3, 4, 8))
    expected[1, 1, :2, :4] = expected[1, 1, 2:, 4:] = 0.25
    np.testing.assert_array_equal(kernel, expected)
    noisy = np.asarray(identity(2, 0.01)(KEY, (3, 3, 20, 40)))
    rest = noisy[noisy != np.float32(1 / 20)]
    assert rest.size == noisy.size - 2 * 10 * 20
    np.testing.assert_allclose(rest.std(), 0.01, rtol=0.05)
    with pytest.raises(UserError, match="multiples of the classes"):
        identity(3)(KEY, (3, 3, 3, 4))


def test_context_without_padding_is_the_middle_of_padded_scores():
    """As the paper runs it: 33 zeros a side around the scores, none later on; away from the border both are one."""
    scores = jax.random.normal(KEY, (1, 70, 68, 2))
    same, valid = Context(), Context(padding="VALID")
    variables = draw(same, scores)
    inner = jit(valid.apply)(variables, scores)
    assert inner.shape == (1, 4, 2, 2)
    np.testing.assert_allclose(inner, jit(same.apply)(variables, scores)[:, 33:-33, 33:-33], atol=1e-5)


@pytest.mark.parametrize("large", [False, True])
def test_context_is_pytorchs_layers(large):
    relu = pytest.importorskip("torch").relu
    scores = jax.random.normal(KEY, (2, 20, 13, 3))
    module = Context(large=large)
    variables = draw(module, scores)
    x = to_torch(scores)
    for layer, dilation in enumerate(DILATION8, 1):
        x = relu(convolution(variables["params"][f"layer{layer}"], x, padding=dilation, dilation=dilation))
    theirs = convolution(variables["params"]["layer8"], x).numpy().transpose(0, 2, 3, 1)
    ours = jit(module.apply)(variables, scores)
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())
