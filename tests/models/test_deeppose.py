"""DeepPose: the network is PyTorch's, boxes and their inverse, the cascade, and how it learns from the stage before."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from pixlab.losses.joints import joint_loss
from pixlab.models.deeppose import (
    JointRegressors,
    Regressor,
    counted,
    displacements,
    in_pixels,
    moments,
    no_errors,
    normalised,
    refined,
)  # fmt: skip
from pixlab.nn.boxes import box_crops

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiling is what takes time


def test_the_network_is_pytorchs():
    torch = pytest.importorskip("torch")
    f, image = torch.nn.functional, jax.random.uniform(jax.random.key(0), (2, 79, 79, 3))
    module = Regressor(6, width=0.05, dropout=0.0)
    params = draw(module, image)["params"]
    tensors = jax.tree.map(lambda x: torch.from_numpy(np.array(x)), params)

    def conv(x, index, **options):
        layer = tensors["trunk"][f"conv{index}"]
        return f.relu(f.conv2d(x, layer["kernel"].permute(3, 2, 0, 1).contiguous(), layer["bias"], **options))

    def norm(x):
        return f.max_pool2d(f.local_response_norm(x, 5, 1e-4, 0.75, 1.0), 3, 2)

    x = 255 * torch.from_numpy(np.array(image).transpose(0, 3, 1, 2).copy()) - 128
    x = conv(norm(conv(norm(conv(x, 1, stride=4, padding=4)), 2, padding=2)), 3, padding=1)
    x = f.max_pool2d(conv(conv(x, 4, padding=1), 5, padding=1), 3, 2)
    x = 0.01 * x.permute(0, 2, 3, 1).reshape(2, -1)
    for name in ("fc1", "fc2"):
        x = f.relu(x @ tensors[name]["kernel"] + tensors[name]["bias"])
    x = (x @ tensors["fc3"]["kernel"] + tensors["fc3"]["bias"]).numpy()
    np.testing.assert_allclose(jit(module.apply)({"params": params}, image), x, atol=1e-4 * np.abs(x).max())


def test_parameters_of_the_full_network():
    """By hand: 220 pixels make 55, 27, 13 and 6 rows of cells; the last have 256 maps."""
    shapes = jax.eval_shape(Regressor(18).init, jax.random.key(0), jnp.zeros((1, 220, 220, 3)))["params"]
    convs = 363 * 96 + 96 * 25 * 256 + 256 * 9 * 384 + 384 * 9 * 384 + 384 * 9 * 256 + 96 + 256 + 384 + 384 + 256
    dense = 36 * 256 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 18 + 18
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == convs + dense


@pytest.mark.parametrize("shared", [False, True])
def test_each_joint_s_network(shared):
    """One after the other: each with its own parameters, or all with one's, of whose output each takes its own."""
    crops = jax.random.uniform(jax.random.key(0), (2, 3, 64, 64, 3))
    module = JointRegressors(3, 0.02, 0.0, shared)
    params = draw(module, crops)["params"]
    out = jit(module.apply)({"params": params}, crops)
    for joint in range(3):
        if shared:
            one, part = params["regressor"], slice(2 * joint, 2 * joint + 2)
        else:
            one, part = jax.tree.map(lambda x, joint=joint: x[joint], params["regressors"]), slice(None)
        alone = Regressor(6 if shared else 2, 0.02, 0.0).apply({"params": one}, crops[:, joint])[:, part]
        np.testing.assert_allclose(out[:, joint], alone, rtol=1e-4, atol=1e-5)
    assert np.abs(out[:, 0] - out[:, 1]).max() > 1e-3


def test_networks_of_joints_start_differently():
    params = jit(JointRegressors(3, 0.02).init)(jax.random.key(0), jnp.zeros((1, 3, 64, 64, 3)))["params"]
    params = params["regressors"]
    kernel = params["fc2"]["kernel"]
    assert kernel.shape[0] == 3 and not np.allclose(kernel[0], kernel[1])


def test_boxes_by_hand_and_back():
    places = jnp.asarray([[[10.0, 30.0], [50.0, 5.0]]])
    centre, side = jnp.asarray([[[20.0, 20.0]]]), jnp.asarray([[[40.0, 80.0]]])
    seen = normalised(places, centre, side)
    np.testing.assert_allclose(seen, [[[-0.25, 0.125], [0.75, -0.1875]]])
    np.testing.assert_allclose(in_pixels(seen, centre, side), places)


def test_joints_that_nobody_labelled_get_no_gradient():
    places = jax.random.normal(jax.random.key(0), (2, 3, 2))
    target = jnp.zeros((2, 3, 2)).at[0, 1].set(jnp.nan).at[1, 2].set(1e30)
    known = jnp.ones((2, 3)).at[0, 1].set(0).at[1, 2].set(0)
    loss, grad = jax.value_and_grad(joint_loss)(places, target, known)
    there = np.asarray(known) > 0
    np.testing.assert_allclose(loss, (np.asarray(places)[there] ** 2).sum() / 2, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(grad)[there], np.asarray(places)[there], rtol=1e-6)
    assert not np.asarray(grad)[~there].any()


def test_a_stage_that_knows_the_displacement_takes_it_back():
    true = jnp.asarray([[[20.0, 30.0], [40.0, 12.0]]])
    off, side = jnp.asarray([[[4.0, -3.0], [-6.0, 2.0]]]), jnp.asarray([16.0])
    moved = refined(lambda crops: -off / side[:, None, None], jnp.zeros((1, 48, 64, 3)), true + off, side, 8)
    np.testing.assert_allclose(moved, true, rtol=1e-6)


def test_a_stage_that_looks_finds_a_spot():
    """Its network: the middle of what is bright in its square. What is seen and where it is put agree."""
    y, x = np.mgrid[:48, :64]
    true = np.array([[20.3, 30.6], [40.8, 12.1]])
    image = sum(np.exp(-((x - a) ** 2 + (y - b) ** 2) / 4) for a, b in true)
    image = jnp.asarray(image, jnp.float32)[None, ..., None].repeat(3, -1)
    size, at = 32, (jnp.arange(32) + 0.5) / 32 - 0.5

    def middle(crops):
        bright = crops[..., 0]
        total = bright.sum((2, 3))
        return jnp.stack([(bright.sum(axis) * at[None, None]).sum(-1) / total for axis in (2, 3)], -1)

    start = jnp.asarray(true[None] + [[[2.0, -1.5], [-1.0, 2.0]]], jnp.float32)
    found = refined(middle, image, start, jnp.asarray([16.0]), size)
    np.testing.assert_allclose(found[0], true, atol=0.1)
    assert box_crops(image, start, jnp.full((1, 2), 16.0), size).max() > 0.9


def test_errors_are_counted_and_drawn():
    rng = np.random.default_rng(0)
    mix = np.array([[[2.0, 0.0], [1.0, 0.5]], [[0.5, 0.3], [0.0, 3.0]]])
    new = np.einsum("nbki,kij->nbkj", rng.normal(size=(4, 50, 2, 2)), mix) + [[1.0, -2.0], [0.0, 5.0]]
    new = new.astype(np.float32)
    known = (rng.random((4, 50, 2)) < 0.7).astype(np.float32)
    new[known == 0] = np.nan
    errors = no_errors(2)
    for one, there in zip(new, known, strict=True):
        errors = counted(errors, jnp.asarray(one), jnp.asarray(there), decay=1.0)
    mean, covariance = moments(errors)
    for joint in range(2):
        seen = new[:, :, joint][known[:, :, joint] > 0]
        np.testing.assert_allclose(mean[joint], seen.mean(0), rtol=1e-4)
        np.testing.assert_allclose(covariance[joint], np.cov(seen.T, bias=True), rtol=1e-3, atol=1e-3)
    drawn = np.asarray(displacements(jax.random.key(1), errors, 20_000))
    for joint in range(2):
        np.testing.assert_allclose(drawn[:, joint].mean(0), mean[joint], atol=0.1)
        np.testing.assert_allclose(np.cov(drawn[:, joint].T), covariance[joint], rtol=0.05, atol=0.1)


def test_old_errors_fade_and_one_error_is_drawn_as_it_is():
    errors = counted(no_errors(1), jnp.full((3, 1, 2), 4.0), jnp.ones((3, 1)), 0.5)
    np.testing.assert_allclose(displacements(jax.random.key(0), errors, 5), np.full((5, 1, 2), 4.0), atol=1e-2)
    errors = counted(errors, jnp.full((3, 1, 2), 1.0), jnp.ones((3, 1)), 0.5)
    np.testing.assert_allclose(moments(errors)[0], [[2.0, 2.0]], rtol=1e-6)  # (4/2 + 1) / (1/2 + 1)
    assert not displacements(jax.random.key(0), no_errors(1), 2).any()


@pytest.fixture(scope="module")
def tiny():
    """(config, recipe, params, carry) of the experiment with small networks."""
    from experiments import pose_deeppose

    joints = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
    config = dataclasses.replace(
        pose_deeppose.CONFIGS["quick"], size=(64, 80), input=64, width=0.02, joints=joints, later_steps=(1, 1)
    )
    recipe = pose_deeppose.recipe(config)
    params, carry = jax.eval_shape(recipe.init, jax.random.key(0))
    params = jax.tree.map(lambda x: jnp.zeros(x.shape), params)
    return config, recipe, params, jax.tree.map(lambda x: jnp.zeros(x.shape), carry)


def biased(params, net, values):
    """Networks that always give `values`."""
    name = {"stage1": None}.get(net, "regressor")
    inner = params[net] if name is None else params[net][name]
    inner = inner | {"fc3": inner["fc3"] | {"bias": jnp.asarray(values, jnp.float32)}}
    return params | {net: inner if name is None else {name: inner}}


def test_the_cascade_by_hand(tiny):
    """The first stage answers in pictures, the others in squares of the pose's diameter, one after the other."""
    _, recipe, params, carry = tiny
    first = np.array([[0.1, -0.2], [-0.1, -0.2], [0.1, 0.2], [-0.1, 0.2]])
    params = biased(params, "stage1", first.ravel())
    params = biased(params, "stage2", np.full(8, 0.25))
    batch = {"image": jax.random.uniform(jax.random.key(0), (1, 64, 80, 3))}
    places = first * (80, 64) + (39.5, 31.5)
    side = np.linalg.norm(places[0] - places[3])
    one = jit(recipe.stages[0].predict)(params, carry, batch)
    np.testing.assert_allclose(one["joints"][0], places, rtol=1e-5)
    for last in (recipe.stages[1].predict, recipe.predict):
        found = jit(last)(params, carry, batch)["joints"][0]
        np.testing.assert_allclose(found, places + 0.25 * side, rtol=1e-5)  # the third stage's zeros change nothing
    assert (one["value"] == 1).all()


def test_what_a_later_stage_learns_from(tiny):
    """A first stage that is wrong by the same everywhere: the square lies there, and the answer is the way back."""
    _, recipe, params, carry = tiny
    joints = jnp.asarray([[[30.0, 20.0], [50.0, 20.0], [32.0, 44.0], [48.0, 44.0]]])
    batch = {"image": jax.random.uniform(jax.random.key(0), (1, 64, 80, 3)), "joints": joints}
    batch["known"] = jnp.asarray([[1.0, 1.0, 0.0, 1.0]])
    off = np.array([5.0, -3.0])
    params = biased(params, "stage1", ((np.asarray(joints[0]) + off - (39.5, 31.5)) / (80, 64)).ravel())
    side = np.linalg.norm(joints[0, 0] - joints[0, 3])
    loss = recipe.stages[1].objectives["joints"].loss
    for answer, expected in ((-off / side, 0.0), (np.zeros(2), 3 * (off**2).sum() / side**2)):
        value, aux = jit(loss)(biased(params, "stage2", np.tile(answer, 4)), carry, batch, jax.random.key(0))
        np.testing.assert_allclose(value, expected, rtol=2e-3, atol=1e-6)
    number, total, _ = aux.carry["errors2"]
    np.testing.assert_allclose(number, [1, 1, 0, 1])
    np.testing.assert_allclose(total[1], off, rtol=1e-4)
