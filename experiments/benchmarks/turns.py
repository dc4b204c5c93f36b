"""Variants that are timed in turns, each in a process of its own, so that a machine's drift falls on all alike."""

from __future__ import annotations

import dataclasses
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Mapping

WINDOWS, SECONDS = 7, 0.6  # windows of each variant, and about how long one takes
SLOW = 20  # seconds: what takes longer is run once, and what compiling it took is counted in


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

    def memory(self) -> int:
        """Bytes that the process has taken at most since its arrays were made."""
        return self.ask("")

    def end(self) -> None:
        """Let the process go."""
        self.pipe.close()


def _serve(pipe, make, args):
    try:
        made = make(*args)
        before = _most()
        calls, once = {}, {}
        for name, run in made["runs"].items():
            took = _took(run)
            if took > SLOW:
                once[name] = took
            else:
                calls[name] = max(1, int(SECONDS / _took(run)))
    except Exception as error:  # a variant that does not run is a row that says so
        pipe.send((None, f"{type(error).__name__}: {str(error).splitlines()[0][:90]}"))
        return
    pipe.send((made["facts"], ""))
    while (question := _heard(pipe)) is not None:
        if not question:
            pipe.send(_most() - before)
            continue
        if question in once:
            pipe.send(once[question])
            continue
        began = time.perf_counter()
        for _ in range(calls[question]):
            made["runs"][question]()
        pipe.send((time.perf_counter() - began) / calls[question])


def _took(run):
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _heard(pipe):
    try:
        return pipe.recv()
    except EOFError:  # the other end is done, or was interrupted
        return None


def _most() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes on Linux
