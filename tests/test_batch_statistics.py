"""Batch statistics averaged over batches, against a loop over the batches in numpy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pixlab.batch_statistics import COUNT, average_statistics
from pixlab.core import Aux, Objective, Recipe, Stage, make_step, start
from pixlab.models.resnet import batch_norm
from pixlab.net import Net


class Two(nn.Module):
    """Two layers, each normalised."""

    @nn.compact
    def __call__(self, x, train=False):
        for layer in "ab":
            x = nn.relu(batch_norm(train, f"{layer}_bn")(nn.Dense(3, use_bias=False, name=layer)(x)))
        return x


def recipe(ema: float = 0.0, **others) -> Recipe:
    net = Net("two", Two(), ((1, 4, 5, 2),))

    def loss(params, carry, batch, key):
        out, moved = net(params, carry, batch["image"], train=True, key=key)
        return jnp.mean(out), Aux(moved, {"largest": jnp.max(out)})

    objectives = {"learn": Objective(("two",), loss, optax.sgd(0.1)), **others}
    return Recipe(
        net.init,
        (Stage(2, objectives, ema),),
        lambda params, carry, batch: {"out": net(params, carry, batch["image"])[0]},
    )


def test_is_the_mean_of_what_the_batches_have():
    rng, made = np.random.default_rng(0), average_statistics(recipe(), 3)
    assert made.steps == 5 and [made.stage_at(step) for step in range(6)] == [0, 0, 1, 1, 1, 1]
    batches = [{"image": jnp.asarray(rng.normal(i, 1 + i, (2, 4, 5, 2)), jnp.float32)} for i in range(5)]
    state = start(made, jax.random.key(0))
    for batch in batches[:2]:
        state, _ = make_step(made.stages[0])(state, batch, jax.random.key(1))
    learnt = jax.device_get(state.params)
    step = jax.jit(make_step(made.stages[1]))
    state = state.replace(opt={"statistics": made.stages[1].objectives["statistics"].tx.init({"two": learnt["two"]})})
    for batch in batches[2:]:
        state, logs = step(state, batch, jax.random.key(1))
    assert float(logs["statistics/loss"]) > 0 and float(logs["largest"]) > 0

    sums = {layer: [np.zeros(3), np.zeros(3)] for layer in "ab"}
    for batch in batches[2:]:
        x = np.asarray(batch["image"], np.float64).reshape(-1, 2)
        for layer in "ab":
            x = x @ np.asarray(learnt["two"][layer]["kernel"], np.float64)
            mean, variance = x.mean(0), x.var(0)
            sums[layer][0] += mean / 3
            sums[layer][1] += variance / 3
            affine = learnt["two"][f"{layer}_bn"]
            x = (x - mean[None]) / np.sqrt(variance[None] + 1e-5) * affine["scale"][None] + affine["bias"][None]
            x = np.maximum(x, 0)
    found = state.carry["two"]["batch_stats"]
    for layer in "ab":
        for kind, expected in zip(("mean", "var"), sums[layer], strict=True):
            np.testing.assert_allclose(found[f"{layer}_bn"][kind], expected, rtol=1e-5, atol=1e-5)
    assert state.carry[COUNT] == 3
    jax.tree.map(np.testing.assert_array_equal, learnt, jax.device_get(state.params))


def test_without_steps_nothing_changes_and_what_does_not_fit_is_said():
    plain = recipe()
    assert average_statistics(plain, 0) is plain
    other = plain.stages[0].objectives["learn"]
    for wrong in (recipe(ema=0.9), recipe(other=other)):
        with pytest.raises(ValueError, match="one objective without averaged parameters"):
            average_statistics(wrong, 3)
