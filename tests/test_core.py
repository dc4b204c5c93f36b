"""The idea itself: stages, objectives that step in order, frozen networks, what a loss hands on."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from pixlab import core
from pixlab.core import Aux, Metric, Objective, Recipe, Stage, State


def pull(net, target):
    """A loss that pulls the number `net` towards `target`."""

    def loss(params, carry, batch, key):
        return 0.5 * (params[net]["w"] - target) ** 2, Aux()

    return loss


def state(carry=None, **numbers):
    params = {name: {"w": jnp.float32(value)} for name, value in numbers.items()}
    return State(step=jnp.int32(0), params=params, carry=carry or {}, opt={})


def run(stage, at, batch=None, steps=1):
    at, step, logs = core.enter(stage, at), jax.jit(core.make_step(stage)), {}
    for _ in range(steps):
        at, logs = step(at, batch or {}, jax.random.key(0))
    return at, logs


def test_one_step_of_sgd_by_hand():
    stage = Stage(1, {"a": Objective(("a",), pull("a", 3.0), optax.sgd(0.1))})
    after, logs = run(stage, state(a=1.0))
    np.testing.assert_allclose(after.params["a"]["w"], 1.0 + 0.1 * 2.0, rtol=1e-6)
    assert int(after.step) == 1
    np.testing.assert_allclose([logs["a/loss"], logs["a/grad_norm"]], [2.0, 2.0], rtol=1e-6)


def test_a_network_that_no_objective_names_keeps_parameters_and_statistics():
    def loss(params, carry, batch, key):
        moved = {
            "a": {"mean": carry["a"]["mean"] + 1},
            "b": {"mean": carry["b"]["mean"] + 1},
            "pool": carry["pool"] + 1,
        }
        return params["a"]["w"] * params["b"]["w"], Aux(moved)

    carry = {"a": {"mean": jnp.float32(0)}, "b": {"mean": jnp.float32(0)}, "pool": jnp.float32(0)}
    after, _ = run(Stage(1, {"o": Objective(("a",), loss, optax.sgd(1.0))}), state(carry, a=1.0, b=2.0))
    assert float(after.params["a"]["w"]) == -1.0 and float(after.params["b"]["w"]) == 2.0
    assert float(after.carry["a"]["mean"]) == 1 and float(after.carry["b"]["mean"]) == 0
    assert float(after.carry["pool"]) == 1  # belongs to no network


def test_objectives_step_in_order_and_hand_arrays_on_without_gradient():
    def generator(params, carry, batch, key):
        fake = params["g"]["w"] * batch["x"]
        return jnp.sum(fake), Aux(out={"fake": fake})

    def critic(params, carry, batch, key):
        return params["d"]["w"] * jnp.sum(batch["fake"]) + 0 * params["g"]["w"], Aux()

    objectives = {"g": Objective(("g",), generator, optax.sgd(1.0)), "d": Objective(("d",), critic, optax.sgd(1.0))}
    after, _ = run(Stage(1, objectives), state(g=2.0, d=1.0), {"x": jnp.ones(3)})
    assert float(after.params["g"]["w"]) == 2.0 - 3.0
    assert float(after.params["d"]["w"]) == 1.0 - 6.0  # the critic saw what the generator made before its step


def test_later_objectives_see_the_stepped_parameters():
    objectives = {
        "a": Objective(("a",), pull("a", 0.0), optax.sgd(0.5)),
        "b": Objective(("b",), lambda p, c, b, k: (p["a"]["w"] * p["b"]["w"], Aux()), optax.sgd(1.0)),
    }
    after, _ = run(Stage(1, objectives), state(a=4.0, b=0.0))
    assert float(after.params["b"]["w"]) == -2.0  # a was 2 by then, not 4


def test_averaged_parameters_follow_by_hand_and_are_what_predicts():
    stage = Stage(2, {"a": Objective(("a",), pull("a", 0.0), optax.sgd(0.5))}, ema=0.9)
    after, _ = run(stage, state(a=1.0), steps=2)
    expected = 0.9 * (0.9 * 1.0 + 0.1 * 0.5) + 0.1 * 0.25
    np.testing.assert_allclose(core.eval_params(after)["a"]["w"], expected, rtol=1e-6)
    np.testing.assert_allclose(after.params["a"]["w"], 0.25)


@pytest.mark.parametrize(("step", "index"), [(0, 0), (2, 0), (3, 1), (7, 1), (8, 2), (9, 2), (10, 2), (99, 2)])
def test_stage_at(step, index):
    stages = tuple(Stage(steps, {}) for steps in (3, 5, 2))
    recipe = Recipe(lambda key: ({}, {}), stages, lambda p, c, b: b)
    assert recipe.steps == 10 and recipe.stage_at(step) == index


def test_every_step_and_objective_draws_its_own_random_numbers():
    def draw(params, carry, batch, key):
        return params["a"]["w"] * 0, Aux({"drawn": jax.random.uniform(key)})

    stage = Stage(2, {"x": Objective(("a",), draw, optax.sgd(0.0))})
    begun = core.enter(stage, state({"drawn": jnp.float32(0)}, a=0.0))
    step = jax.jit(core.make_step(stage))
    first, _ = step(begun, {}, jax.random.key(0))
    second, _ = step(first, {}, jax.random.key(0))
    again, _ = step(begun, {}, jax.random.key(0))
    assert float(first.carry["drawn"]) == float(again.carry["drawn"]) != float(second.carry["drawn"])


def test_metrics_add_by_default():
    metric = Metric(lambda p, e: {"n": 1.0}, lambda total: {"n": total["n"]})
    assert metric.result(metric.merge({"n": np.float64(2)}, {"n": np.float64(3)})) == {"n": 5}
