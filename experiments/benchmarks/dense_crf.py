"""Seconds of a dense CRF: the lattice of an image, and mean field over it.

    python -m experiments.benchmarks.dense_crf                      500x500 pixels, 21 labels, 10 iterations
    python -m experiments.benchmarks.dense_crf --image photo.jpg    of a photo instead of a drawn room

DeepLab's kernels for VGG-16's labels of PASCAL VOC. "lattice" is NumPy, once per image; "iterations" is the compiled
program, with the kernels' normalisation. Medians of several calls; "at first" has the compilation in it. A photo's
texture makes more vertices than a room's.
"""

from __future__ import annotations

import argparse
import os
import time

import jax
import numpy as np
from PIL import Image

from experiments.benchmarks.turns import median
from pixlab.data.rooms import frame
from pixlab.nn.dense_crf import Kernels, appearance_lattice, dense_crf


def main() -> None:
    """Print the seconds of both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", help="a photo, resized to the square")
    parser.add_argument("--size", type=int, default=500, help="pixels along each side")
    parser.add_argument("--labels", type=int, default=21)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--windows", type=int, default=5, help="calls that the median is of")
    args = parser.parse_args()

    size = (args.size, args.size)
    if args.image:
        photo = Image.open(args.image).convert("RGB").resize(size, Image.Resampling.BICUBIC)
    else:
        photo = Image.fromarray(frame(0, height=args.size, width=args.size)["image"])
    image = np.asarray(photo, np.float32) / 255
    logits = np.random.default_rng(0).standard_normal((*size, args.labels), np.float32)
    kernels = Kernels()

    lattice = appearance_lattice(image, kernels)
    refine = lambda: jax.block_until_ready(dense_crf(logits, lattice, kernels, iterations=args.iterations))  # noqa: E731
    began = time.perf_counter()
    refine()
    first = time.perf_counter() - began
    built, iterated = (median(f, args.windows) for f in (lambda: appearance_lattice(image, kernels), refine))
    print(f"{args.size}x{args.size} pixels, {args.labels} labels, {lattice.neighbours.shape[2]} vertices")
    print(f"lattice {built:.2f} s, {args.iterations} iterations {iterated:.2f} s, {first:.2f} s at first")
    print(f"on {jax.devices()[0].device_kind}, {len(os.sched_getaffinity(0))} cores of {os.cpu_count()}, "
          f"load {os.getloadavg()[0]:.1f}")  # fmt: skip


if __name__ == "__main__":
    main()
