"""Where the maps of Eigen & Fergus lie, what joins the scales, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from pixlab.errors import UserError
from pixlab.models.eigen2014 import AlexNetTrunk, Coarse, Fine, standardised
from pixlab.models.eigen_fergus import Head1, Scale1, Scale2, Scale3, enlarge, output_positions, scale_size
from pixlab.models.eigen_fergus_labels import LabelsScale2, LabelsScale3

KEY = jax.random.key(0)
SMALL = (40, 51)  # even and odd


def scale_shape(scale):
    return tuple(scale_size(n, scale) for n in SMALL)


def pass_through(params, source):
    """Kernels that hand channel `source` of the stack's input, and colour 0 of the image, through unchanged."""

    def leaf(path, value):
        names = [k.key for k in path]
        if names[-1] != "kernel":
            return jnp.zeros_like(value)
        start = source if names[-2] == "conv2" else 0
        middle = value.shape[0] // 2
        if names[-2] == "conv1":
            return jnp.zeros_like(value).at[middle, middle, 0].set(1)
        return jnp.zeros_like(value).at[middle, middle, start, 0].set(1)

    return jax.tree_util.tree_map_with_path(leaf, params)


def middles(module, source, axis, size, *inputs):
    """The input rows (columns) that the outputs see: the mean of the extremes that max pooling picks from two ramps."""
    ramp = np.arange(size[axis], dtype=np.float32)
    outs = []
    for values in (ramp, ramp[::-1]):
        shape = (1, -1, 1, 1) if axis == 0 else (1, 1, -1, 1)
        image = jnp.asarray(np.broadcast_to(1 + values.reshape(shape) / 1000, (1, *size, 3)))
        params = pass_through(jax.eval_shape(module.init, KEY, image, *inputs)["params"], source)
        out = jax.jit(module.apply)({"params": params}, image, *inputs)["log_depth"]
        row = np.asarray(out[0, :, 7, 0] if axis == 0 else out[0, 4, :, 0])
        outs.append(((row * 76.183 + 109.314) / 255 - 1) * 1000)
    return (outs[0] + size[axis] - 1 - outs[1]) / 2


@pytest.mark.parametrize("axis", [0, 1])
def test_outputs_lie_at_output_positions(axis):
    scale2 = middles(Scale2(width=0.1, normals=False), 0, axis, SMALL)
    np.testing.assert_allclose(scale2, output_positions(SMALL[axis], 2), atol=0.02)
    coarse = jnp.ones((1, *scale_shape(2), 1))
    scale3 = middles(Scale3(width=0.2), 1, axis, SMALL, coarse)
    np.testing.assert_allclose(scale3, output_positions(SMALL[axis], 3), atol=0.02)


def test_positions_of_the_paper():
    assert [scale_size(228, s) for s in (1, 2, 3)] == [14, 55, 109]
    assert [scale_size(304, s) for s in (1, 2, 3)] == [19, 74, 147]
    # the release takes every 4th (2nd) pixel from the 2nd on of the central 220x296
    np.testing.assert_array_equal(output_positions(228, 2), np.arange(228)[4:-4][1::4])
    np.testing.assert_array_equal(output_positions(304, 3), np.arange(304)[4:-4][1::2][:-1])


def test_scale1_features_peak_at_their_positions():
    size = (100, 84)
    coarse = jnp.broadcast_to(
        jnp.arange(1.0, 1 + scale_size(100, 1))[None, :, None, None], (1, 6, scale_size(84, 1), 8)
    )
    image = jnp.zeros((1, *size, 3))
    module = Head1(normals=False)
    params = pass_through(draw(module, image, coarse)["params"], 0)
    kernel = params["depth"]["conv2"]["kernel"]
    assert kernel.shape == (5, 5, 8, 1) and kernel.sum() == 1
    out = jax.jit(module.apply)({"params": params}, image, coarse)["log_depth"][0, :, 5, 0]
    rows, rest = np.divmod(output_positions(100, 1) - output_positions(100, 2)[0], 4)
    assert not rest.any()
    inside = rows < len(out)
    np.testing.assert_allclose(out[rows[inside]], np.arange(1.0, 7)[inside], atol=1e-5)


def test_scale3_repeats_scale2_and_stops_its_gradient():
    image = jax.random.uniform(KEY, (1, *SMALL, 3))
    h, w = scale_shape(2)
    log_depth = jax.random.uniform(jax.random.key(1), (1, h, w, 1))
    module = Scale3(width=0.2)
    params = pass_through(draw(module, image, log_depth)["params"], 0)
    out = jax.jit(module.apply)({"params": params}, image, log_depth)["log_depth"]
    expected = np.repeat(np.repeat(log_depth, 2, 1), 2, 2)[:, : out.shape[1], : out.shape[2]]
    np.testing.assert_allclose(out, expected, atol=1e-6)
    grad = jax.jit(jax.grad(lambda d: module.apply({"params": params}, image, d)["log_depth"].sum()))(log_depth)
    assert not np.any(grad)


def joined(module, size, *maps):
    """What the stacks of a scale see, channel by channel, if its first convolution puts out 1, 2, 3..."""
    image = jnp.broadcast_to(109.314 / 255, (1, *SMALL, 3))  # 0 once standardised: of the convolution its bias remains
    params = draw(module, image, *maps)["params"]

    @jax.jit
    def seen(source):
        chosen = pass_through(params, source)
        chosen["conv1"] |= {"bias": 1.0 + jnp.arange(len(chosen["conv1"]["bias"]))}
        return module.apply({"params": chosen}, image, *maps)["log_depth"][0, 5, 5, 0]

    assert params["depth"]["conv2"]["kernel"].shape[2] == size
    return [float(seen(source)) for source in range(size)]


def test_scale2_puts_scale1_before_its_own_features():
    coarse = jnp.broadcast_to(jnp.array([21.0, 22, 23]), (1, *scale_shape(1), 3))
    expected = [21, 22, 23, 1, 2, 3, 4, 5, 6, 7, 8]
    np.testing.assert_allclose(joined(Scale2(width=0.1, normals=False), 11, coarse), expected, atol=1e-4)


def test_scale3_drops_its_first_channels_for_the_predictions():
    log_depth, normal = (
        jnp.broadcast_to(jnp.array(values), (1, *scale_shape(2), len(values)))
        for values in ([21.0], [22.0, 23.0, 24.0])
    )
    module = Scale3(width=0.1)
    np.testing.assert_allclose(joined(module, 8, log_depth), [21, 2, 3, 4, 5, 6, 7, 8], atol=1e-4)
    np.testing.assert_allclose(joined(module, 8, log_depth, normal), [21, 22, 23, 24, 5, 6, 7, 8], atol=1e-4)


def test_enlarge_keeps_a_plane():
    rows, cols = (output_positions(n, 3) for n in SMALL)
    plane = jnp.asarray(2.0 * rows[:, None] - cols[None, :] + 1, jnp.float32)[None, :, :, None]
    full = np.asarray(enlarge(plane, SMALL, 3))[0, :, :, 0]
    y, x = (np.clip(np.arange(n), p[0], p[-1]) for n, p in zip(SMALL, (rows, cols), strict=True))
    np.testing.assert_allclose(full, 2.0 * y[:, None] - x[None, :] + 1, atol=1e-4)


def test_normals_are_unit_and_bias_starts_the_depth():
    image = jax.random.uniform(KEY, (1, *SMALL, 3))
    module = Scale2(width=0.1, mean_log_depth=0.8)
    out = jax.jit(module.apply)(jax.tree.map(lambda x: 10 * x, draw(module, image)), image)
    np.testing.assert_allclose(jnp.linalg.norm(out["normal"], axis=-1), 1, atol=1e-3)
    params = draw(module, image)["params"] | {"depth_bias": jnp.zeros((*scale_shape(2), 1))}
    flat = jax.jit(module.apply)({"params": params}, image)["log_depth"]
    params["depth_bias"] = jax.jit(lambda x: module.init(KEY, x)["params"]["depth_bias"])(image)
    np.testing.assert_allclose(jax.jit(module.apply)({"params": params}, image)["log_depth"] - flat, 0.8, atol=1e-5)


def test_alexnet_trunk_is_pytorchs():
    torch = pytest.importorskip("torch")
    f, image = torch.nn.functional, jax.random.uniform(KEY, (1, 64, 70, 3))
    module = AlexNetTrunk(width=0.05)
    params = draw(module, image)["params"]

    def conv(x, index, **options):
        kernel, bias = (torch.from_numpy(np.array(params[f"conv{index}"][k])) for k in ("kernel", "bias"))
        return f.conv2d(x, kernel.permute(3, 2, 0, 1).contiguous(), bias, **options)

    def norm(x):
        return f.local_response_norm(f.relu(f.max_pool2d(x, 3, 2)), 5, 1e-4, 0.75, 1.0)

    x = 255 * torch.from_numpy(np.array(image).transpose(0, 3, 1, 2).copy()) - 128
    x = norm(conv(f.pad(x, (1, 0, 2, 1)), 1, stride=4))  # 64 rows want 3 more for 15 windows, 70 columns 1 for 16
    x = f.relu(conv(norm(conv(x, 2, padding=2)), 3, padding=1))
    x = f.relu(f.max_pool2d(conv(f.relu(conv(x, 4, padding=1)), 5, padding=1), 3, 2)).numpy()
    ours = jax.jit(module.apply)({"params": params}, image)
    np.testing.assert_allclose(ours, x.transpose(0, 2, 3, 1), atol=1e-4 * x.max())


def test_scale1_options():
    image = jax.random.uniform(KEY, (1, 36, 36, 3))
    variables = draw(Scale1(width=0.02), image)
    rectified, linear, scaled = (
        jax.jit(m.apply)(variables, image)
        for m in (Scale1(width=0.02), Scale1(width=0.02, relu=False), Scale1(width=0.02, feature_scale=0.02))
    )
    assert linear.min() < 0
    np.testing.assert_allclose(rectified, np.maximum(linear, 0), atol=1e-6)
    doubled = variables["params"] | {
        "fc1": variables["params"]["fc1"] | {"kernel": 2 * variables["params"]["fc1"]["kernel"]}
    }
    again = jax.jit(Scale1(width=0.02).apply)({"params": doubled}, image)
    np.testing.assert_allclose(scaled, again, atol=1e-4 * float(again.max()))
    assert not np.allclose(scaled, rectified, atol=1e-3 * float(again.max()))


def test_standardised_by_hand():
    np.testing.assert_allclose(standardised(jnp.full((1, 1, 1, 3), 0.5)), (127.5 - 109.314) / 76.183, rtol=1e-5)


def test_fine_2014_drops_one_channel_for_the_coarse_map():
    image = jax.random.uniform(KEY, (1, *SMALL, 3))
    coarse = jax.random.uniform(jax.random.key(1), (1, *scale_shape(2), 1))
    module = Fine(width=0.2)
    params, apply = draw(module, image, coarse)["params"], jax.jit(module.apply)
    out = apply({"params": params}, image, coarse)
    first = params["conv1"]["kernel"]
    for channel in (0, 1):  # the first channel is not used, the second is
        changed = params | {"conv1": params["conv1"] | {"kernel": first.at[..., channel].multiply(3.0)}}
        assert np.allclose(out, apply({"params": changed}, image, coarse)) == (channel == 0)


def test_dropout_keeps_the_expectation():
    image = jax.random.uniform(KEY, (1, 64, 64, 3))
    module = Coarse(width=0.02, feature_scale=1.0)
    params = draw(module, image)
    repeat = jax.jit(jax.vmap(lambda k: module.apply(params, image, train=True, rngs={"dropout": k})))
    draws = repeat(jax.random.split(KEY, 4000)).reshape(4000, -1)
    still = jax.jit(module.apply)(params, image).reshape(-1)
    error = 6 * draws.std(axis=0) / np.sqrt(4000) + 1e-7
    assert draws.std() > 0 and np.all(np.abs(draws.mean(axis=0) - still) < error)


def test_labels_use_each_input():
    h, w = scale_shape(2)
    keys = jax.random.split(KEY, 4)
    image, normal = (jax.random.uniform(k, (1, *SMALL, 3)) for k in keys[:2])
    depth, logits = 1 + jax.random.uniform(keys[2], (1, *SMALL, 1)), jax.random.normal(keys[3], (1, h, w, 5))
    for module, inputs in (
        (LabelsScale2(5, width=0.1), (image, None, depth, normal)),
        (LabelsScale3(5, width=0.1), (image, logits, depth, normal)),
    ):
        params, apply = draw(module, *inputs), jax.jit(module.apply)
        out = apply(params, *inputs)["logits"]
        for index, value in enumerate(inputs):
            if value is not None:
                changed = (*inputs[:index], value[:, ::-1], *inputs[index + 1 :])
                assert np.abs(apply(params, *changed)["logits"] - out).max() > 1e-3
    shifted = apply(params, image, logits + 3.0, depth, normal)["logits"]  # probabilities enter, not scores
    np.testing.assert_allclose(shifted, out, atol=1e-5)


@pytest.mark.parametrize("module,source", [(LabelsScale2(5, width=0.1), 8), (LabelsScale3(5, width=0.1), 5 + 8)])
def test_labels_see_log_depth_with_a_floor(module, source):
    depth = np.float32([0, 0.01, 1, 3])  # 0: unknown
    inputs = (
        jnp.zeros((4, *SMALL, 3)),
        None if isinstance(module, LabelsScale2) else jnp.zeros((4, *scale_shape(2), 5)),
        jnp.broadcast_to(depth[:, None, None, None], (4, *SMALL, 1)),
    )
    params = pass_through(draw(module, *inputs)["params"], source)
    params["first"]["conv1_depth"]["bias"] += 10.0  # above 0, where ReLU keeps it
    out = jax.jit(module.apply)({"params": params}, *inputs)["logits"][:, 5, 5, 0]
    np.testing.assert_allclose(out - 10, np.log([1e-4, 0.0101, 1.0001, 3.0001]), atol=1e-5)


@pytest.mark.parametrize("module,size,least", [
    (Scale1("alexnet", width=0.02), 63, "64x64"), (Scale1("vgg16", width=0.02), 35, "36x36"),
    (Coarse(width=0.02), 63, "64x64"), (Scale2(width=0.02), 11, "12x12"),
])  # fmt: skip
def test_small_images_are_refused_by_name_of_the_least_size(module, size, least):
    with pytest.raises(UserError, match=least):
        jax.eval_shape(module.init, KEY, jnp.zeros((1, 100, size, 3)))
    jax.eval_shape(module.init, KEY, jnp.zeros((1, size + 1, size + 1, 3)))


def test_scale3_without_predictions_is_refused():
    with pytest.raises(UserError, match="give log_depth, normal or both"):
        jax.eval_shape(Scale3().init, KEY, jnp.zeros((1, 40, 40, 3)))
