"""Batch statistics to test with, averaged over batches once the parameters stand still.

While a network learns, running means and variances lag behind it and remember the last few batches. Badrinarayanan,
Kendall & Cipolla ("SegNet", TPAMI 2017, arXiv 1511.00561) pass the whole training set through the trained network
instead and test with the average of its batches' statistics.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import optax

from pixlab.core import Aux, Loss, Objective, Recipe, Stage

COUNT = "averaged_batches"  # the entry of `State.carry` that says of how many batches the statistics are the average


def average_statistics(recipe: Recipe, steps: int, *, momentum: float = 0.9) -> Recipe:
    """The recipe with a last stage, "statistics", in which nothing is learnt; 0 steps: the recipe as it is.

    Each of its `steps` computes the loss of the objective that learnt last as in training. The statistics of that
    objective's networks become the plain average of what the batches have, layers seeing batches that are normalised by
    their own statistics as in training; what they were before is forgotten. `momentum` is what the networks' batch
    normalisation keeps of running statistics. Raises ValueError where the last stage has several objectives or averages
    parameters.
    """
    if not steps:
        return recipe
    last = recipe.stages[-1]
    if len(last.objectives) != 1 or last.ema:
        raise ValueError("batch statistics are averaged after a stage of one objective without averaged parameters")
    (objective,) = last.objectives.values()

    def init(key: jax.Array):
        params, carry = recipe.init(key)
        return params, carry | {COUNT: jnp.zeros(())}

    averaging = Objective(objective.nets, _averaging(objective, momentum), optax.set_to_zero())
    stage = Stage(steps, {"statistics": averaging}, predict=last.predict)
    return dataclasses.replace(recipe, init=init, stages=(*recipe.stages, stage))


def _averaging(objective: Objective, momentum: float) -> Loss:
    """The objective's loss without a gradient; its networks' statistics become the mean of all batches so far."""

    def loss(params, carry, batch, key):
        old = {net: carry[net] for net in objective.nets if net in carry}
        zeros = jax.tree.map(jnp.zeros_like, old)  # of which running statistics move to (1 - momentum) x the batch's
        value, aux = objective.loss(jax.lax.stop_gradient(params), carry | zeros, batch, key)
        count = carry[COUNT] + 1
        mean = {
            net: jax.tree.map(lambda x, moved: x + (moved / (1 - momentum) - x) / count, old[net], aux.carry[net])
            for net in old
        }
        return value, Aux(mean | {COUNT: count}, aux.logs, aux.out)

    return loss
