"""The whole idea: a recipe is a bundle of pure functions, and training is a fold of `step` over batches.

A *network* is a name in `State.params`. An *objective* says which networks follow which loss by which optimiser.
A *stage* is a number of steps with a fixed set of objectives. A *recipe* lists the stages, how to start, how to
predict and how to score. Nothing here knows about files, devices or time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

Tree = Any
Nets = dict[str, Tree]  # one entry per named network
Batch = dict[str, Any]
EMA = "ema"  # the entry of `State.carry` that holds averaged parameters


@flax.struct.dataclass
class State:
    """All that training changes: saved whole, restored whole. (Trees of shapes and of shardings are States as well.)"""

    step: Tree  # int32 scalar: optimiser steps done
    params: Tree  # Nets: one entry per network
    carry: Tree  # what losses update by hand: batch statistics per network, image pools, averaged parameters
    opt: Tree  # optimiser state per objective of the current stage


class Aux(NamedTuple):
    """What a loss returns beside its value."""

    carry: Nets = {}  # new entries of `State.carry`; those of networks that the objective does not train are dropped
    logs: Mapping[str, jax.Array] = {}  # scalars to record
    out: Batch = {}  # arrays that later objectives of the same step find in their batch (gradient stopped)


Loss = Callable[[Nets, Nets, Batch, jax.Array], tuple[jax.Array, Aux]]  # (params, carry, batch, key) -> (scalar, Aux)


class Objective(NamedTuple):
    """These networks follow this loss by this optimiser. A network that no objective names is frozen."""

    nets: tuple[str, ...]
    loss: Loss
    tx: optax.GradientTransformation


class Stage(NamedTuple):
    """A stretch of training: its objectives step in order, once each per step."""

    steps: int
    objectives: Mapping[str, Objective]
    ema: float = 0.0  # decay of averaged parameters; 0 keeps none
    predict: Callable[[Nets, Nets, Batch], Batch] | None = None  # until a later stage; None: the recipe's


def add(total: Tree, part: Tree) -> Tree:
    """Sum of two trees of statistics."""
    return jax.tree.map(np.add, total, part)


class Metric(NamedTuple):
    """Statistics of one image that merge over images and hosts, then one formula.

    `stats(prediction, example)` gets ONE image, without the batch axis, and returns a tree of arrays. The trainer
    batches it, drops the images that only pad the last batch, and merges on the host in float64, image by image in
    the order of the split: the result depends neither on the batch size nor on the number of devices.
    """

    stats: Callable[[Batch, Batch], Tree]
    result: Callable[[Tree], dict[str, float]]
    merge: Callable[[Tree, Tree], Tree] = add


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A published system as pure functions."""

    init: Callable[[jax.Array], tuple[Nets, Nets]]  # key -> (params, carry)
    stages: tuple[Stage, ...]
    predict: Callable[[Nets, Nets, Batch], Batch]  # (params, carry, batch) -> named maps
    metrics: Mapping[str, Metric] = dataclasses.field(default_factory=dict)
    render: Callable[[Batch, Batch], dict[str, np.ndarray]] | None = None  # (example, prediction) -> named pictures
    pretrained: Callable[[Nets], Nets] = lambda params: params  # what training starts from instead of random numbers

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages together."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> int:
        """Index of the stage that makes step `step` (from 0); the last one once training is over."""
        for index, stage in enumerate(self.stages[:-1]):
            if step < stage.steps:
                return index
            step -= stage.steps
        return len(self.stages) - 1


def enter(stage: Stage, state: State) -> State:
    """The state with fresh optimisers for `stage`; averaged parameters start from the current ones."""
    carry = {name: value for name, value in state.carry.items() if name != EMA}
    if stage.ema:
        carry[EMA] = state.carry.get(EMA, jax.tree.map(jnp.copy, state.params))
    opt = {name: o.tx.init({net: state.params[net] for net in o.nets}) for name, o in stage.objectives.items()}
    return state.replace(carry=carry, opt=opt)


def start(recipe: Recipe, key: jax.Array, pretrained: Callable[[Nets], Nets] = lambda params: params) -> State:
    """The state before the first step; training gives the recipe's `pretrained`, shapes alone do without."""
    params, carry = recipe.init(key)
    return enter(recipe.stages[0], State(step=jnp.zeros((), jnp.int32), params=pretrained(params), carry=carry, opt={}))


def make_step(stage: Stage, wrap=lambda gradient: gradient) -> Callable[[State, Batch, jax.Array], tuple[State, dict]]:
    """A pure function (state, batch, key) -> (state, logs) that steps every objective of `stage` once."""

    gradient = wrap(jax.value_and_grad(lambda new, of, params, *rest: of.loss(params | new, *rest), has_aux=True))

    def step(state, batch, key):
        params, carry, opt, logs = dict(state.params), dict(state.carry), {}, {}
        key = jax.random.fold_in(key, state.step)
        for index, (name, objective) in enumerate(stage.objectives.items()):
            trained = {net: params[net] for net in objective.nets}
            (value, aux), grads = gradient(trained, objective, params, carry, batch, jax.random.fold_in(key, index))
            updates, opt[name] = objective.tx.update(grads, state.opt[name], trained)
            params |= optax.apply_updates(trained, updates)
            carry |= {net: c for net, c in aux.carry.items() if net in objective.nets or net not in params}
            batch = batch | jax.lax.stop_gradient(aux.out)
            logs |= {f"{name}/loss": value, f"{name}/grad_norm": optax.tree.norm(grads), **aux.logs}
        if stage.ema:
            carry[EMA] = optax.incremental_update(params, carry[EMA], 1 - stage.ema)
        return State(step=state.step + 1, params=params, carry=carry, opt=opt), logs

    return step


def eval_params(state: State) -> Nets:
    """The parameters to predict with: the averaged ones where a stage keeps them."""
    return state.carry.get(EMA, state.params)
