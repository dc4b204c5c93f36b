"""Stacked hourglasses: parameters as published, and equal to the same network of PyTorch's layers."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from pixlab.models.hourglass import StackedHourglass

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiling is what takes time


def parameters(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(("stacks", "millions"), [(8, 25.43), (1, 3.43)])
def test_parameters_of_the_release(stacks, millions):
    model, image = StackedHourglass(16, stacks), jnp.zeros((1, 256, 256, 3))
    shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    assert round(parameters(shapes["params"]) / 1e6, 2) == millions
    assert jax.eval_shape(model.apply, shapes, image).shape == (1, stacks, 64, 64, 16)


def copied(layer, params, stats=None):
    """A PyTorch layer with our parameters."""
    import torch

    with torch.no_grad():
        if "kernel" in params:
            layer.weight.copy_(torch.from_numpy(np.array(params["kernel"]).transpose(3, 2, 0, 1).copy()))
        else:
            layer.weight.copy_(torch.from_numpy(np.array(params["scale"])))
            layer.running_mean.copy_(torch.from_numpy(np.array(stats["mean"])))
            layer.running_var.copy_(torch.from_numpy(np.array(stats["var"])))
        layer.bias.copy_(torch.from_numpy(np.array(params["bias"])))
    return layer


class Torch:
    """The release's `hg.lua` in PyTorch's layers, as functions over our parameters; `norms` are its normalisations."""

    def __init__(self, variables, train):
        from torch import nn

        self.nn, self.train, self.norms = nn, train, {}
        self.params, self.stats = variables["params"], variables["batch_stats"]

    def at(self, tree, path):
        for part in path:
            tree = tree[part]
        return tree

    def conv(self, x, *path, stride=1):
        params = self.at(self.params, path)
        size, _, inputs, outputs = params["kernel"].shape
        return copied(self.nn.Conv2d(inputs, outputs, size, stride, size // 2), params)(x)

    def norm(self, x, *path):
        layer = copied(self.nn.BatchNorm2d(x.shape[1]), self.at(self.params, path), self.at(self.stats, path))
        self.norms[path] = layer.train(self.train)
        return self.nn.functional.relu(layer(x))

    def residual(self, x, *path):
        y = x
        for index in "123":
            y = self.conv(self.norm(y, *path, f"bn{index}"), *path, f"conv{index}")
        return y + (self.conv(x, *path, "conv_skip") if "conv_skip" in self.at(self.params, path) else x)

    def hourglass(self, x, order, *path):
        y = self.residual(self.nn.functional.max_pool2d(x, 2, 2), *path, "down")
        y = self.hourglass(y, order - 1, *path, "inner") if order > 1 else self.residual(y, *path, "inner")
        y = self.nn.Upsample(scale_factor=2, mode="nearest")(self.residual(y, *path, "up"))
        return self.residual(x, *path, "across") + y

    def __call__(self, x, stacks, order):
        out, x = [], self.norm(self.conv(x, "conv1", stride=2), "bn1")
        x = self.nn.functional.max_pool2d(self.residual(x, "stem1"), 2, 2)
        x = self.residual(self.residual(x, "stem2"), "stem3")
        for i in range(1, stacks + 1):
            y = self.residual(self.hourglass(x, order, f"hourglass{i}"), f"residual{i}")
            y = self.norm(self.conv(y, f"features{i}"), f"features{i}_bn")
            out.append(maps := self.conv(y, f"maps{i}"))
            if i < stacks:
                x = x + self.conv(y, f"features{i}_back") + self.conv(maps, f"maps{i}_back")
        return out


@pytest.mark.parametrize("train", [False, True])
def test_the_network_is_pytorchs(train):
    torch = pytest.importorskip("torch")
    model = StackedHourglass(3, stacks=2, width=8, order=2)
    image = jax.random.uniform(jax.random.key(0), (2, 32, 48, 3))
    variables = draw(model, image)
    ours, moved = jit(lambda v, x: model.apply(v, x, train, mutable=["batch_stats"]))(variables, image)
    reference = Torch(variables, train)
    with torch.no_grad():
        theirs = reference(torch.from_numpy(np.array(image).transpose(0, 3, 1, 2).copy()), 2, 2)
    assert ours.shape == (2, 2, 8, 12, 3)
    for index, maps in enumerate(theirs):
        maps = maps.numpy().transpose(0, 2, 3, 1)
        np.testing.assert_allclose(ours[:, index], maps, atol=2e-4 * np.abs(maps).max())
    assert parameters(moved) == 2 * sum(layer.num_features for layer in reference.norms.values())
    for path, layer in reference.norms.items():
        before, after = (reference.at(tree["batch_stats"], path) for tree in (variables, moved))
        np.testing.assert_allclose(after["mean"], layer.running_mean, rtol=1e-3, atol=1e-4)
        if train:  # PyTorch collects the variance with Bessel's correction: the deepest of 2x3 cells, two images
            assert not np.allclose(after["mean"], before["mean"])
            ours_new, theirs_new = (np.asarray(v) - 0.9 * before["var"] for v in (after["var"], layer.running_var))
            ratio = np.median(theirs_new / ours_new)
            counts = [2 * h * w for h, w in ((16, 24), (8, 12), (4, 6), (2, 3))]
            assert min(abs(ratio - n / (n - 1)) for n in counts) < 2e-3
            np.testing.assert_allclose(theirs_new, ratio * ours_new, rtol=2e-2)
        else:
            np.testing.assert_allclose(after["var"], layer.running_var)


def test_sizes_that_do_not_halve_often_enough():
    with pytest.raises(ValueError, match="64x96: sides must be multiples of 64"):
        jax.eval_shape(StackedHourglass(1, 1, 4).init, jax.random.key(0), jnp.zeros((1, 64, 96, 3)))


@pytest.fixture(scope="module")
def tiny():
    """(config, recipe, params, carry) of the experiment with a small network."""
    from experiments import pose_hourglass

    joints = ("nose", "left_wrist", "right_wrist", "left_elbow", "right_elbow")
    config = dataclasses.replace(
        pose_hourglass.CONFIGS["quick"], size=(64, 64), joints=joints, stacks=2, width=8, gain=0.0
    )
    recipe = pose_hourglass.recipe(config)
    module = StackedHourglass(len(joints), 2, 8)
    variables = draw(module, jnp.zeros((1, 64, 64, 3)), seed=3)
    return config, recipe, {"hourglass": variables["params"]}, {"hourglass": {"batch_stats": variables["batch_stats"]}}


def test_a_mirrored_image_has_mirrored_joints_with_sides_exchanged(tiny):
    _, recipe, params, carry = tiny
    image = jax.random.uniform(jax.random.key(1), (2, 64, 64, 3))
    predict = jit(recipe.predict)
    straight = predict(params, carry, {"image": image})
    mirrored = predict(params, carry, {"image": image[:, :, ::-1]})
    exchanged = straight["joints"][:, np.array([0, 2, 1, 4, 3])]
    np.testing.assert_allclose(mirrored["joints"][..., 0], 63 - exchanged[..., 0], atol=1e-3)
    np.testing.assert_allclose(mirrored["joints"][..., 1], exchanged[..., 1], atol=1e-3)
    assert np.ptp(straight["joints"], axis=(0, 1)).min() > 4  # which are not all in one place


def test_the_loss_is_the_mean_of_each_stack_summed(tiny):
    """By loops, at the place and width of the Gaussians; and that an unlabelled joint's map should be empty."""
    config, recipe, params, carry = tiny
    image = jax.random.uniform(jax.random.key(1), (2, 64, 64, 3))
    joints = jax.random.uniform(jax.random.key(2), (2, 5, 2), minval=5, maxval=59)
    known = jnp.ones((2, 5)).at[1, 2].set(0)
    batch = {"image": image, "joints": joints, "known": known}
    loss = recipe.stages[0].objectives["heat"].loss
    value, aux = jit(loss)(params, carry, batch, jax.random.key(0))
    module = StackedHourglass(5, 2, 8)
    variables = {"params": params["hourglass"], **carry["hourglass"]}
    maps, _ = module.apply(variables, image, True, mutable=["batch_stats"])
    target = np.zeros((2, 16, 16, 5))
    for b, i, j, k in np.ndindex(target.shape):
        x, y = (np.asarray(joints[b, k]) + 0.5) / 4 - 0.5
        target[b, i, j, k] = float(known[b, k]) * np.exp(-((x - j) ** 2 + (y - i) ** 2) / 2 / config.sigma**2)
    each = [np.mean((np.asarray(maps[:, s], np.float64) - target) ** 2) for s in (0, 1)]
    np.testing.assert_allclose(value, sum(each), rtol=1e-4)
    np.testing.assert_allclose(aux.logs["heat/last"], each[1], rtol=1e-4)


def test_half_a_cell_is_in_pixels_of_a_cell():
    """The release: 4 (cell + 1/2) from the picture's corner; ours counts from the first pixel's centre, so 1/2 less."""
    from pixlab.nn.peaks import peaks, pixels

    maps = jnp.zeros((1, 8, 9, 1)).at[0, 5, 3, 0].set(1.0).at[0, 5, 4, 0].set(0.5).at[0, 4, 3, 0].set(0.5)
    np.testing.assert_allclose(
        pixels(peaks(maps, "quarter")[0], 4)[0, 0], [4 * (3 + 0.25 + 0.5) - 0.5, 4 * (5 - 0.25 + 0.5) - 0.5]
    )
