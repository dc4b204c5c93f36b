"""Tompson et al. 2015: what the coarse model, the fine model and the cascade take, pooled 4, 8 and 16 times.

    python -m experiments.benchmarks.pose_cascade                 the paper's size, one image of 240x360
    python -m experiments.benchmarks.pose_cascade --width 16      narrow models, to see that it runs

"coarse" is the coarse model from the image to its maps, "fine" all that comes after: the peaks, the windows of the
features and the fine model; "cascade" is both. Beside ours stand the lecture's milliseconds, of another machine: what
can be compared is how a row goes on from 4x to 16x. Poolings are processes that take turns; each number is the median
of its windows.
"""

from __future__ import annotations

import argparse

import numpy as np

from experiments.benchmarks.turns import Worker, seconds

RUNS = ("coarse", "fine", "cascade")
LECTURE = {4: (140.0, 17.2, 157.2), 8: (74.9, 19.3, 94.2), 16: (54.7, 15.9, 70.6)}  # of RUNS, by pooling


def ours(pool: int, width: int, size: tuple[int, int], batch: int, joints: int, banks: int, window: int):
    """The models with random parameters."""
    from pixlab import mesh

    mesh.setup()
    import jax

    from pixlab.models.tompson2015 import Coarse, Fine, corners, refine, strides, windows
    from pixlab.nn.peaks import peaks, pixels

    image = np.random.default_rng(0).uniform(size=(batch, *size, 3)).astype(np.float32)
    models = Coarse(joints, banks, width, pool), Fine(joints, window, width)
    coarse, stride = jax.jit(models[0].apply), strides(banks)

    def cut(maps, features):
        corner = corners(pixels(peaks(maps, "none")[0], pool), window, 2**banks)
        return corner, windows(features, corner, window, stride)

    @jax.jit
    def fine(params, maps, features):
        corner, seen = cut(maps, features)
        return refine(corner, models[1].apply(params, *seen))

    @jax.jit
    def cascade(first, second, image):
        return fine(second, *models[0].apply(first, image))

    first = jax.jit(models[0].init)(jax.random.key(0), image)
    maps, features = coarse(first, image)
    second = jax.jit(models[1].init)(jax.random.key(1), *cut(maps, features)[1])
    runs = {
        "coarse": lambda: coarse(first, image),
        "fine": lambda: fine(second, maps, features),
        "cascade": lambda: cascade(first, second, image),
    }
    return {"runs": {name: lambda run=run: jax.block_until_ready(run()) for name, run in runs.items()}, "facts": None}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", nargs="+", type=int, default=[4, 8, 16], choices=list(LECTURE))
    parser.add_argument("--size", nargs=2, type=int, default=[240, 360])
    for name, default in dict(width=128, batch=1, joints=7, banks=3, window=40, rounds=7).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    sizes = (args.width, tuple(args.size), args.batch, args.joints, args.banks, args.window)
    workers = {pool: Worker(ours, (pool, *sizes)) for pool in args.pools}
    for pool, worker in workers.items():
        if worker.error:
            raise SystemExit(f"{pool}x: {worker.error}")
    print("milliseconds for a batch, and the lecture's for an image")
    print(f"{'':8}", *(f"{f'{pool}x':>10}" for pool in workers), *(f"{f'lecture {pool}x':>12}" for pool in workers))
    for index, run in enumerate(RUNS):
        row = seconds(workers, run, args.rounds)
        print(f"{run:8}", *(f"{1e3 * row[p]:10.1f}" for p in workers), *(f"{LECTURE[p][index]:12.1f}" for p in workers))
    for worker in workers.values():
        worker.end()


if __name__ == "__main__":
    main()
