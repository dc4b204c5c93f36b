"""Images a second that are read, decoded and augmented for training, on this machine's cores and nothing else.

python -m experiments.benchmarks.reading                                          depth_nyu quick
python -m experiments.benchmarks.reading alexnet --source rgbd_folder:PATH        another config and source
"""

import itertools
import sys
import time

from experiments.depth_nyu import experiment
from pixlab import cli, mesh
from pixlab.data.pipeline import train_batches

SECONDS = 15


def main() -> None:
    """Print the rate, and what a batch weighs."""
    mesh.keep_memory()  # as training does
    _, config = cli.parse(experiment, sys.argv[1:])
    batches = train_batches(experiment.data(config), seed=0, start=0)
    batch = next(batches)  # threads are started, files are in the system's cache
    for _ in itertools.islice(batches, 2 * config.workers):
        pass
    count, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < SECONDS:
        next(batches)
        count += 1
    size = sum(x.nbytes for x in batch.values()) / config.batch
    rate = config.batch * count / passed
    print(f"{rate:.0f} images/s of {size / 1e6:.1f} MB: {config.workers} threads, {mesh.cores()} cores")


if __name__ == "__main__":
    main()
