"""The cascade's stages: who moves, by which loss, and what is predicted."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import pose_flic_cascade
from pixlab import core
from pixlab.errors import UserError
from pixlab.losses.heatmap import gaussian_maps
from pixlab.models.tompson2015 import Coarse

JOINTS = ("nose", "left_wrist", "right_wrist")
TINY = dataclasses.replace(
    pose_flic_cascade.CONFIGS["quick"], joints=JOINTS, size=(40, 52), width=2, window=12, batch=2, dropout=0.0
)
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiling is what takes time


def batch():
    rng = np.random.default_rng(0)
    return {
        "image": jnp.asarray(rng.uniform(size=(2, 40, 52, 3)), jnp.float32),
        "joints": jnp.asarray(rng.uniform(0, 40, (2, 3, 2)), jnp.float32),
        "known": jnp.asarray([[1, 1, 0], [1, 1, 1]], jnp.float32),
    }


@functools.cache
def made(config):
    """(recipe, state) with one step of plain descent at rate 1 in each stage, so that what moves is the gradient."""
    recipe = pose_flic_cascade.recipe(config)
    stages = [
        stage._replace(objectives={n: o._replace(tx=optax.sgd(1.0)) for n, o in stage.objectives.items()})
        for stage in recipe.stages
    ]
    state = core.start(recipe, jax.random.key(0))
    last = {"kernel": jax.random.normal(jax.random.key(2), (3, 2))}  # it starts at next to nothing
    return stages, state.replace(params=state.params | {"fine": state.params["fine"] | last}), recipe


def moved(config, index, *, nets=None, start=None):
    """How far each network goes in a stage's step, in which `nets` learn, and the step's logs."""
    stages, state, _ = made(config)
    stage = stages[index]
    if nets:
        stage = stage._replace(objectives={n: o._replace(nets=nets) for n, o in stage.objectives.items()})
    state = core.enter(stage, state if start is None else start)
    after, logs = jit(core.make_step(stage))(state, batch(), jax.random.key(1))
    return jax.tree.map(lambda a, b: np.asarray(a - b), state.params, after.params), logs


def largest(tree):
    return max(np.abs(leaf).max() for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("features", ["shared", "own"])
def test_each_stage_moves_its_own_networks_and_the_last_adds_a_tenth(features):
    """Without dropout, E3's gradients are E1's and a tenth of E2's, which ends at the first two layers."""
    config = dataclasses.replace(TINY, features=features)
    coarse, coarse_logs = moved(config, 0)
    fine, fine_logs = moved(config, 1)
    both, logs = moved(config, 2)
    assert largest(coarse["fine"]) == largest(fine["coarse"]) == 0
    assert largest(coarse["coarse"]) > 0 and largest(fine["fine"]) > 0
    np.testing.assert_allclose(logs["both/loss"], coarse_logs["coarse/loss"] + 0.1 * fine_logs["fine/loss"], rtol=1e-5)
    through = moved(config, 1, nets=("coarse", "fine"))[0]["coarse"]
    total = {"coarse": jax.tree.map(lambda a, b: a + 0.1 * b, coarse["coarse"], through)}
    total["fine"] = jax.tree.map(lambda b: 0.1 * b, fine["fine"])
    for net in total:
        for a, b in zip(jax.tree.leaves(both[net]), jax.tree.leaves(total[net]), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max() + 1e-6)
    early = [through[bank].pop(layer) for bank in ("bank0", "bank1") for layer in ("conv1", "conv2")]
    assert largest(through) == 0
    assert (largest(early) > 0) == (features == "shared")


def test_the_losses_are_sums_over_cells():
    state = made(TINY)[1]
    maps, _ = Coarse(3, 2, 2, 8, 0.0).apply({"params": state.params["coarse"]}, batch()["image"])
    places, known = (batch()["joints"] + 0.5) / 8 - 0.5, batch()["known"]
    target = gaussian_maps(places, known, (5, 7), TINY.sigma)
    expected = np.sum(np.square(maps - target) * known[:, None, None]) / known.sum()
    np.testing.assert_allclose(moved(TINY, 0)[1]["coarse/loss"], expected, rtol=1e-4)


def test_a_joint_outside_its_window_should_be_nowhere_in_it():
    """With a fine model of zeros the loss is the square of its targets: of those inside alone."""
    _, state, recipe = made(TINY)
    zeros = state.replace(params=state.params | {"fine": jax.tree.map(jnp.zeros_like, state.params["fine"])})
    _, logs = moved(TINY, 1, start=zeros)
    maps = recipe.stages[0].predict(state.params, {}, batch())["joints"]
    corner = 4 * np.floor((np.asarray(maps) - 5.5) / 4 + 0.5)
    places, total, inside = np.asarray(batch()["joints"]) - corner, 0.0, 0
    for b, k in [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]:
        x, y = places[b, k]
        if -0.5 < x < 11.5 and -0.5 < y < 11.5:
            inside += 1
            at = np.arange(12)
            total += np.sum(np.exp(-((at - x) ** 2 + (at[:, None] - y) ** 2) / (2 * TINY.fine_sigma**2)) ** 2)
    np.testing.assert_allclose(logs["fine/inside"], inside / 5, rtol=1e-6)
    np.testing.assert_allclose(logs["fine/loss"], total / 5, rtol=1e-4, atol=1e-6)


def test_windows_at_the_truth_hold_every_joint():
    config = dataclasses.replace(TINY, jitter=0.5)
    assert moved(config, 1)[1]["fine/inside"] == 1


def test_the_cascade_predicts_within_the_windows_and_the_coarse_model_at_cells():
    _, state, recipe = made(TINY)
    last, first = (f(state.params, {}, batch()) for f in (recipe.predict, recipe.stages[0].predict))
    np.testing.assert_array_equal(last["maps"], first["maps"])
    assert first["maps"].shape == (2, 10, 13, 3)  # 8 pixels do not divide 52
    assert not np.any((np.asarray(first["joints"]) - 3.5) % 8)
    off = np.abs(last["joints"] - first["joints"])
    assert off.max() <= 5.5 + 2 and off.max() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(window=38), "--window 38: give a multiple of 4 for 2 banks"),
        (dict(size=(40, 50)), "--size 40 50: give multiples of 4"),
        (dict(pool=5), "--pool must be one of 4 | 8 | 16, not 5"),
        (dict(fine_steps=0), "--joint-steps: without --fine-steps"),
        (dict(dropout=1.0), "--dropout 1.0: must be less than 1"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(UserError, match=re.escape(message)):
        dataclasses.replace(TINY, **options).check()
