"""Several processes, one on each host: how they start, how they stop together, which of them writes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from pixlab.errors import UserError
from pixlab.options import Options
from pixlab.rendezvous import Job, meet

LINE = 600  # bytes of an error that are passed on
APART = ("process", "run", "workers")  # options that may differ between the processes of a job


def start(options: Options, facts: Mapping[str, Any]) -> None:
    """Join the other processes of the job, where there are any; call it before the first use of a device.

    `facts` (JSON values) must be the same on all, as must the options. On every process that has come it raises
    Absent where one is missing for `options.host_timeout` seconds, UserError where one differs.
    """
    job = find(options)
    if job is None or job.processes == 1 or jax.distributed.is_initialized():
        return
    shared = {f"--{name}": value for name, value in vars(options).items() if name not in APART}
    meet(job, {**facts, **shared}, options.host_timeout)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    seconds = options.host_timeout
    jax.distributed.initialize(
        *job,
        cluster_detection_method="deactivate",  # it would leave all GPUs but one of a SLURM node idle
        initialization_timeout=seconds,
        heartbeat_timeout_seconds=seconds,
    )


def find(options: Options) -> Job | None:
    """The job that this process belongs to: as the options say, else the environment; None if it is alone.

    With `hosts` "auto" the environment is that of SLURM's srun, of a TPU slice on GKE, or JAX_COORDINATOR_ADDRESS,
    JAX_NUM_PROCESSES and JAX_PROCESS_ID; with "many" also that of a Cloud TPU VM, which is asked over its network.
    Raises UserError if several hosts are asked for and nothing says where they are.
    """
    env = os.environ
    if options.hosts == "one":
        return None
    coordinator = options.coordinator or env.get("JAX_COORDINATOR_ADDRESS", "")
    if coordinator:
        processes = options.processes or int(env.get("JAX_NUM_PROCESSES", 0))
        process = options.process if options.process >= 0 else int(env.get("JAX_PROCESS_ID", -1))
        if not 0 <= process < processes:
            raise UserError(f"--coordinator {coordinator} needs --processes N and --process I with 0 <= I < N")
        return Job(coordinator, processes, process)
    slurm = "SLURM_STEP_NODELIST" in env and int(env.get("SLURM_NTASKS", 1)) > 1
    if options.hosts == "many" or slurm or "," in env.get("TPU_WORKER_HOSTNAMES", ""):
        return _ask_jax(options.host_timeout)
    return None


def _ask_jax(seconds: int) -> Job:
    from jax._src.clusters import ClusterEnv  # what jax.distributed.initialize() without arguments asks

    coordinator, processes, process, _ = ClusterEnv.auto_detect_unset_distributed_params(
        None, None, None, None, None, seconds
    )
    if coordinator is None:
        raise UserError("--hosts many: nothing here says where the others are; give --coordinator HOST:PORT")
    return Job(coordinator, processes, process)


def several() -> bool:
    """True if this is one process of several."""
    return jax.process_count() > 1


def first_host() -> bool:
    """True on the one process that writes logs."""
    return jax.process_index() == 0


def everyone(action: Callable[[], Any]) -> Any:
    """What `action` returns here; if it raises UserError on any process, all raise that."""
    if not several():
        return action()
    result, problem = None, b""
    try:
        result = action()
    except UserError as error:
        problem = str(error).encode()[:LINE] or b"?"
    lines = multihost_utils.process_allgather(np.frombuffer(problem.ljust(LINE, b"\0"), np.uint8))
    for line in lines:
        if said := bytes(line).rstrip(b"\0").decode(errors="replace"):
            raise UserError(said)
    return result


def first_alone(action: Callable[[], Any]) -> Any:
    """What `action` returns on the first process, None on the others, which wait; if it raises UserError, all do."""
    return everyone(action if first_host() else lambda: None)


def first_then_all(action: Callable[[], Any]) -> Any:
    """What `action` returns, here; the first process does it before the others, as it may make what all then read."""
    result = first_alone(action)
    others = everyone(lambda: None if first_host() else action())
    return result if first_host() else others


class StopRequest:
    """While active, SIGTERM and Ctrl-C ask for a stop, of this process or of all at the same step.

    A second Ctrl-C interrupts.
    """

    def __init__(self) -> None:
        self._signal = ""

    def at(self, step: int) -> str:
        """What asked for a stop after `step`, or "". Every process must ask at every step; all hear the same."""
        if several():
            return "SIGTERM" if multihost_utils.reached_preemption_sync_point(step) else ""
        return self._signal

    def __enter__(self) -> StopRequest:
        import threading

        self._old = {}
        if threading.current_thread() is threading.main_thread():
            asked = (signal.SIGINT,) if several() else (signal.SIGTERM, signal.SIGINT)  # JAX has SIGTERM of several
            self._old = {s: signal.signal(s, self._request) for s in asked}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _request(self, number: int, _: object) -> None:
        if self._signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = signal.Signals(number).name
        if several():
            os.kill(os.getpid(), signal.SIGTERM)
