"""Does the input pipeline keep up? The share of the real loop's time that the compiled step takes.

    python -m experiments.benchmarks.pipeline              depth_nyu quick
    python -m experiments.benchmarks.pipeline frames       another of its configs, if its data is prepared

The loop that the trainer runs (read, share, step, the logs fetched a step late) is timed with what of it passes inside
the compiled step; then the same step on one resident batch. Where the devices are the cores that also read, reading
slows the step itself down: the last line says by how much.
"""

import itertools
import sys
import time

import jax

from experiments.depth_nyu import experiment
from pixlab import mesh
from pixlab.data.pipeline import train_batches
from pixlab.train import compiled, mesh_of

WARM_UP, STEPS = 5, 60
READY = 2 * sys.getswitchinterval()  # seconds that handing over a batch that is there may take: threads take turns


def main(name: str = "quick") -> None:
    """Print the table for a config of depth_nyu."""
    mesh.setup()
    config = experiment.configs[name]
    data, recipe = experiment.data(config), experiment.recipe(config)
    devices, key = mesh_of(recipe, config), jax.random.key(0)
    program = compiled(recipe, devices, config)
    state, step = program.start(key), program.steps[0]
    batches = train_batches(data, seed=0, start=0)

    def reading() -> float:
        fresh = train_batches(data, seed=1, start=0)
        next(fresh)
        began = time.perf_counter()
        for _ in itertools.islice(fresh, STEPS):
            pass
        return (time.perf_counter() - began) / STEPS

    def resident(state):
        batch = mesh.share_batch(next(batches), devices)
        for count in range(WARM_UP + STEPS):
            if count == WARM_UP:
                jax.block_until_ready(state)
                began = time.perf_counter()
            state, logs = step(state, batch, key)
            mesh.wait_on_cpu((state, logs))
        jax.block_until_ready(state)
        return state, (time.perf_counter() - began) / STEPS

    def looping(state):
        waiting, outside, late = {}, 0.0, 0
        for count in range(WARM_UP + STEPS):
            if count == WARM_UP:
                jax.block_until_ready(state)
                began, outside, late = time.perf_counter(), 0.0, 0
            left = time.perf_counter()
            batch = next(batches)
            late += time.perf_counter() - left > READY
            batch = mesh.share_batch(batch, devices)
            outside += time.perf_counter() - left
            state, logs = step(state, batch, key)
            mesh.wait_on_cpu((state, logs))
            jax.device_get(waiting)
            waiting = logs
        jax.block_until_ready(state)
        whole = time.perf_counter() - began
        return state, whole / STEPS, 1 - outside / whole, 1 - late / STEPS

    read = reading()
    state, first = resident(state)
    state, loop, inside, ready = looping(state)
    state, second = resident(state)  # before and after, as a machine's speed drifts
    alone = (first + second) / 2
    print(f"{experiment.name} {name}, batch {config.batch}, {devices.size} x {jax.devices()[0].device_kind}")
    print(f"reading alone      {config.batch / read:8.1f} images/s  ({config.workers} threads)")
    print(f"compiled step      {config.batch / alone:8.1f} images/s  ({1e3 * alone:.1f} ms)")
    print(f"the trainer's loop {config.batch / loop:8.1f} images/s  ({1e3 * loop:.1f} ms)")
    print(f"steps that found their batch ready:         {100 * ready:.0f} %")
    print(f"share of the loop inside the compiled step: {100 * inside:.0f} %")
    print(f"speed of the loop beside the step alone:    {100 * alone / loop:.0f} %")


if __name__ == "__main__":
    main(*sys.argv[1:])
