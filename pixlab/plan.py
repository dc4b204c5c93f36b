"""What a config needs of TPU chips that are not here: its training step compiled for them, and what that says.

The step is the one that training runs: the same function, sharding and donation, on the devices of a topology. Data
need not be there either: a batch's shapes come out of the experiment's own pipeline, fed with a blank frame.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from pixlab import mesh, roofline
from pixlab.chips import Chip, chip_of
from pixlab.core import Recipe
from pixlab.data.pipeline import Data, Example, train_batches
from pixlab.data.rgbd import BLANK
from pixlab.errors import UserError
from pixlab.hlo import collectives, cost
from pixlab.nn.platform import plain
from pixlab.options import Options
from pixlab.roofline import Step
from pixlab.run import Experiment
from pixlab.train import abstract_state, compiled, mesh_of, parameters, stage_names

FAST = "O1"  # XLA's level of optimisation that compiles in a third of the time
AGAIN = 64  # times the images a chip, to see how memory grows: few are padded to as many as a TPU likes
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class Plan(NamedTuple):
    """What a config needs of each chip of a topology."""

    config: Options
    topology: str
    chip: Chip
    chips: int
    example: Example
    parameters: int
    steps: list[Step]
    points: list[list[tuple[int, float]]]  # of each stage, (images at once on a chip, bytes) at two sizes of batch

    @property
    def images(self) -> int:
        """Images that a chip has at once."""
        return self.config.batch // self.chips // self.config.accumulate

    @property
    def memory(self) -> float:
        """Bytes a chip needs."""
        return max(step.memory for step in self.steps)

    @property
    def fits(self) -> bool:
        """Whether a chip has them."""
        return self.memory <= self.chip.memory

    @property
    def largest(self) -> int:
        """Images at once that fit on a chip in every stage, about."""
        return min(roofline.largest(points, self.chip.memory) for points in self.points)


def prepare(topology: str, *, full: bool = False) -> None:
    """Set JAX up to compile for chips that are not here; call it before the first use of a device.

    With `full`, XLA optimises as much as for training. Raises UserError for a topology that there is not, and without
    libtpu, which has the compiler.
    """
    chip_of(topology)
    if importlib.util.find_spec("libtpu") is None:
        raise UserError("--topology needs libtpu, which compiles for TPUs on any machine: pip install -e '.[tpu]'")
    quiet = {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "TPU_ACCELERATOR_TYPE": "v5litepod-1"}
    os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"  # several plans at once, or one beside training
    os.environ.update(quiet)  # or libtpu looks for TPUs of this machine, and complains
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_compilation_cache", False)  # what is compiled for absent chips cannot be read back
    jax.config.update("jax_optimization_level", "UNKNOWN" if full else FAST)


def plan(experiment: Experiment, config: Options, topology: str) -> Plan:
    """Compile every stage's step for the topology, with the config's batch and with another.

    Call `prepare` before. Raises UserError where the batch does not divide over the chips.
    """
    chip, there, config = chip_of(topology), devices(topology), without_data(config)
    recipe, one = experiment.recipe(config), example(experiment.data(config))
    here = mesh_of(recipe, config, there)
    images = config.batch // here.size // config.accumulate
    steps, points = [], []
    for index, (name, count) in enumerate(stage_names(recipe)):

        def memory_of(images: int, index: int = index) -> float:
            other = dataclasses.replace(config, batch=images * config.accumulate * here.size)
            return compile_step(*lower(recipe, index, other, one, here))[1]

        program, memory = compile_step(*lower(recipe, index, config, one, here))
        moved = cost(program).bytes * config.accumulate if program else 0.0
        sends = collectives(program.as_text()) if program else []
        needs = flops(recipe, index, config, one) / here.size, moved, memory
        steps.append(Step(name, count, *needs, sends, config.accumulate, gradients(recipe, index)))
        points.append(memory_points((images, memory), memory_of, chip.memory))
    return Plan(config, topology, chip, here.size, one, parameters(recipe), steps, points)


def devices(topology: str) -> Sequence[jax.Device]:
    """The devices of a topology that there is, such as v5e:4x4: one for each chip."""
    from jax.experimental import topologies

    options: dict[str, Any] = {"chip_config_name": "megacore"} if topology.startswith("v4") else {}  # one, of two cores
    if topology.endswith(":1x1"):
        options["chips_per_host_bounds"] = (1, 1, 1)
    return topologies.get_topology_desc(topology, "tpu", **options).devices


def without_data(config: Options) -> Options:
    """The config with a blank frame as its source, and as what it is tested on, if it has a choice of them."""
    return config.blank(BLANK)


def example(data: Data) -> Example:
    """One example as training sees it."""
    few = next(train_batches(dataclasses.replace(data, batch=2), seed=0, start=0))
    return jax.tree.map(lambda x: x[0], few)


def lower(
    recipe: Recipe, index: int, config: Options, one: Example, here: jax.sharding.Mesh
) -> tuple[jax.stages.Lowered, float]:
    """Before XLA, the step that trains stage `index` on the mesh `here`, on batches of examples such as `one`; and the
    bytes of its arguments on each device."""

    def shape(x, sharding, *batch):
        return jax.ShapeDtypeStruct((*batch, *x.shape), jax.dtypes.canonicalize_dtype(x.dtype), sharding=sharding)

    batch = {name: shape(np.asarray(x), mesh.shared(here), config.batch) for name, x in one.items()}
    key = jax.eval_shape(jax.random.key, 0)
    key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=mesh.replicated(here))
    state = abstract_state(recipe, here)(sum(stage.steps for stage in recipe.stages[:index]))
    held = (math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves((state, batch)))
    return compiled(recipe, here, config).steps[index].lower(state, batch, key), float(sum(held))


def flops(recipe: Recipe, index: int, config: Options, one: Example) -> float:
    """FLOPs of a whole batch: XLA's count on one device in one part, as it counts what is in a loop once."""
    whole = dataclasses.replace(config, accumulate=1, fsdp=1)
    with plain():  # as accelerators convolve
        step, _ = lower(recipe, index, whole, one, mesh.make_mesh(config.batch, devices=1))
    return step.cost_analysis()["flops"]


def gradients(recipe: Recipe, index: int) -> float:
    """Bytes of the float32 gradients of stage `index`: of every objective's networks."""
    params, _ = jax.eval_shape(recipe.init, jax.random.key(0))
    trained = [params[name] for each in recipe.stages[index].objectives.values() for name in each.nets]
    return 4.0 * sum(x.size for x in jax.tree.leaves(trained))


def compile_step(step: jax.stages.Lowered, arguments: float) -> tuple[jax.stages.Compiled | None, float]:
    """(the program, bytes it holds at the peak); of one that is too large None, and what XLA asks for beside the
    `arguments`. Raises jax.errors.JaxRuntimeError where it does not compile for another reason."""
    try:
        program = step.compile()
        return program, cost(program).memory
    except jax.errors.JaxRuntimeError as error:
        found = re.search(r"\(([\d.]+)([KMGT])\) exceeds available HBM|Used ([\d.]+)([KMGT]) of", str(error))
        if not found:
            raise
        number, unit = found.group(1, 2) if found[1] else found.group(3, 4)
        return None, float(number) * UNITS[unit] + arguments


def memory_points(first: tuple[int, float], memory_of: Callable[[int], float], limit: float) -> list[tuple[int, float]]:
    """(images, bytes) of `first` and of AGAIN as many images; where `first` does not fit into `limit`, of the first
    half, quarter, ... that does, and of twice as many. `first` alone where there is nothing to halve."""
    points, fits = [first], first[1] <= limit
    images = first[0] * AGAIN if fits else first[0] // 2
    while images:
        points.append((images, memory_of(images)))
        if fits or points[-1][1] <= limit:
            break
        images //= 2
    return points[-2:]
