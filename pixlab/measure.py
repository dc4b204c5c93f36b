"""How long the training steps of a config take on the devices that are here: it runs some."""

from __future__ import annotations

import dataclasses
import statistics
import time
from typing import NamedTuple

import jax

from pixlab import mesh
from pixlab.data.pipeline import train_batches
from pixlab.errors import UserError
from pixlab.hlo import cost
from pixlab.options import Options
from pixlab.plan import without_data
from pixlab.run import Experiment
from pixlab.train import compiled, mesh_of, stage_names

RUNS, PATIENCE = 9, 20.0  # steps to time, and seconds after which fewer will do


class Measured(NamedTuple):
    """The steps of one stage."""

    stage: str
    steps: int
    seconds: float  # the median
    runs: int
    compiling: float  # seconds
    memory: float  # bytes on each device at the peak, as XLA counts them


def prepare(platform: str = "") -> None:
    """Set JAX up for the devices of this machine, those of `platform` (cpu or gpu) if it is given; call it before their
    first use. Raises UserError where there are none."""
    if platform:
        jax.config.update("jax_platforms", platform)
    mesh.setup()
    try:
        jax.devices()
    except RuntimeError:
        raise UserError(f"--topology {platform}: this machine has none that JAX finds") from None


def measure(experiment: Experiment, config: Options) -> list[Measured]:
    """Compile and run the real step of every stage, from random parameters, on batches of blank frames.

    Raises UserError where the batch does not divide over the devices.
    """
    config = without_data(config)
    data, recipe = experiment.data(config), dataclasses.replace(experiment.recipe(config), pretrained=lambda p: p)
    here = mesh_of(recipe, config)
    program, key = compiled(recipe, here, config), mesh.everywhere(jax.random.key(config.seed), here)
    batch = mesh.share_batch(next(train_batches(data, seed=config.seed, start=0)), here)
    state, found = program.start(key), []
    for index, (name, steps) in enumerate(stage_names(recipe)):
        state = program.enter[index](state) if index else state
        began = time.perf_counter()
        step = program.steps[index].lower(state, batch, key).compile()
        compiling, times = time.perf_counter() - began, []
        state, _ = jax.block_until_ready(step(state, batch, key))
        while len(times) < RUNS and (len(times) < 2 or sum(times) < PATIENCE):
            began = time.perf_counter()
            state, _ = jax.block_until_ready(step(state, batch, key))
            times.append(time.perf_counter() - began)
        found.append(Measured(name, steps, statistics.median(times), len(times), compiling, cost(step).memory))
    return found
