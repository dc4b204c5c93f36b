"""Seconds from the start of the process to the first optimiser step of `depth_nyu quick`, without and with a filled
compilation cache; the rooms are generated first.

    python -m experiments.benchmarks.startup
"""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from pixlab.data.rgbd_sets import rooms


def first_step(folder: pathlib.Path, cache: pathlib.Path) -> float:
    """Start the experiment, wait for the line of its first step, stop it."""
    command = [sys.executable, "-m", "experiments.depth_nyu", "--run", str(folder)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    began, seconds = time.perf_counter(), float("nan")
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        for line in process.stderr:
            if line.startswith("step 1/"):
                seconds = time.perf_counter() - began
                process.send_signal(signal.SIGTERM)
    return seconds


def main() -> None:
    """Print the table."""
    rooms("train")
    with tempfile.TemporaryDirectory() as scratch:
        for attempt, label in enumerate(("cold", "warm", "warm", "warm")):
            print(f"{label}  {first_step(pathlib.Path(scratch, f'run{attempt}'), pathlib.Path(scratch)):.1f} s")


if __name__ == "__main__":
    main()
