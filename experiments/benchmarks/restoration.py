"""Images per second of super-resolution networks, in training and on photos, against PyTorch on the same device.

    python -m experiments.benchmarks.restoration                    all of them, float32
    python -m experiments.benchmarks.restoration srcnn_915 fsrcnn   these

Training: steps on batches of windows of 33x33, 32x32, 41x41 and 48x48 pixels of what the network sees. Inference:
photos of 256x256, one at a time; for fsrcnn and edsr_baseline 128x128, which they enlarge. How the two are run and
timed is said in train_step.py.
"""

from __future__ import annotations

import argparse

from experiments.benchmarks.train_step import TORCH, begin
from experiments.benchmarks.turns import seconds

SHAPES = {  # of a batch in training, and of a photo
    "srcnn_915": ((64, 33, 33, 1), (1, 256, 256, 1)),
    "fsrcnn": ((16, 32, 32, 1), (1, 128, 128, 1)),
    "vdsr": ((16, 41, 41, 1), (1, 256, 256, 1)),
    "edsr_baseline": ((16, 48, 48, 3), (1, 128, 128, 3)),
}


def compare(name: str, bf16: bool) -> None:
    """Print the rows of one network."""
    for what, run, shape in zip(("training", "inference"), ("step", "forward"), SHAPES[name], strict=True):
        workers = begin(name, shape, bf16)
        if what == "training":
            print(f"{name}: {'; '.join(dict.fromkeys(worker.facts['about'] for worker in workers.values()))}")
        taken = seconds(workers, run)
        mine, others = taken["pixlab"], [taken[variant] for variant in TORCH if variant in taken]
        cells = [f"{shape[0] / taken[v]:13.1f}" if v in taken else f"{'-':>13}" for v in ("pixlab", *TORCH)]
        ratio = f"{min(others) / mine:8.2f}" if others else f"{'-':>8}"
        print(f"{name:13} {what:10}", *cells, ratio, flush=True)
        for worker in workers.values():
            worker.end()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", choices=[[], *SHAPES], default=[])
    parser.add_argument("--bf16", action="store_true")
    args = parser.parse_args()
    print("images per second; ratio: ours over PyTorch's best")
    print(f"{'net':24}", *(f"{v:>13}" for v in ("pixlab", *TORCH)), f"{'ratio':>8}")
    for name in args.nets or SHAPES:
        compare(name, args.bf16)


if __name__ == "__main__":
    main()
