"""Variants that are timed in turns, each in a process of its own, so that a machine's drift falls on all alike."""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import multiprocessing
import os
import pathlib
import re
import statistics
import time
from collections.abc import Callable, Mapping

WINDOWS, SECONDS = 7, 0.6  # windows of each variant, and about how long one takes
SLOW = 20  # seconds: what takes longer is timed once


def seconds(workers: Mapping[str, Worker], run: str, windows: int = WINDOWS) -> dict[str, float]:
    """{variant: median seconds of a call of `run`} over windows in which the variants take turns."""
    taken = {variant: [] for variant in workers}
    for _ in range(windows):
        for variant, worker in workers.items():
            taken[variant].append(worker.ask(run))
    return {variant: statistics.median(each) for variant, each in taken.items()}


def median(run: Callable[[], object], windows: int = 5) -> float:
    """Median seconds of a call, after a first one."""
    run()
    taken = []
    for _ in range(windows):
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


@dataclasses.dataclass
class Worker:
    """A process that calls `make(*args)` -> {"runs": {name: function}, "facts": anything} and times a run when asked.

    `facts` is None and `error` one line where that fails.
    """

    make: Callable[..., Mapping]
    args: tuple = ()

    def __post_init__(self):
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        context.Process(target=_serve, args=(there, self.make, self.args), daemon=True).start()
        self.facts, self.error = self.pipe.recv()

    def ask(self, run: str) -> float:
        """Seconds of a call of `run`, the mean of a window."""
        self.pipe.send(run)
        return self.pipe.recv()

    def memory(self, run: str) -> float:
        """Bytes that a call of `run` takes at most beside what was there before it; NaN but on Linux."""
        self.pipe.send((run,))
        return self.pipe.recv()

    def end(self) -> None:
        """Let the process go."""
        self.pipe.close()


def _serve(pipe, make, args):
    try:
        made = make(*args)
        calls, once, memory = {}, {}, {}
        for name, run in made["runs"].items():
            run()  # compiles
            took, memory[name] = _took(run)
            if took > SLOW:
                once[name] = took
            else:
                calls[name] = max(1, int(SECONDS / took))
    except Exception as error:  # a variant that does not run is a row that says so
        pipe.send((None, f"{type(error).__name__}: {str(error).splitlines()[0][:90]}"))
        return
    pipe.send((made["facts"], ""))
    while (question := _heard(pipe)) is not None:
        if isinstance(question, tuple):
            pipe.send(memory[question[0]])
            continue
        if question in once:
            pipe.send(once[question])
            continue
        began = time.perf_counter()
        for _ in range(calls[question]):
            made["runs"][question]()
        pipe.send((time.perf_counter() - began) / calls[question])


def _took(run) -> tuple[float, float]:
    """Seconds and bytes of a call."""
    gc.collect()
    linux = os.access("/proc/self/clear_refs", os.W_OK)
    if linux:
        ctypes.CDLL(None).malloc_trim(0)  # or what was freed would hide what is taken
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak is forgotten
        before = _resident("VmRSS")
    began = time.perf_counter()
    run()
    took = time.perf_counter() - began
    return took, _resident("VmHWM") - before if linux else float("nan")


def _resident(what: str) -> int:
    found = re.search(rf"{what}:\s+(\d+) kB", pathlib.Path("/proc/self/status").read_text())
    return 1024 * int(found[1])


def _heard(pipe):
    try:
        return pipe.recv()
    except EOFError:  # the other end is done, or was interrupted
        return None
