"""Several processes, one on each host: how they start, how they stop together, which of them writes."""

from __future__ import annotations

import atexit
import os
import pathlib
import secrets
import signal
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from pixlab.errors import Absent, Known, UserError
from pixlab.options import Options
from pixlab.rendezvous import Job, meet
from pixlab.watch import Fault, Watch

LINE = 600  # bytes of an error that are passed on
GRACE = 3.0  # seconds in which the watch hears of what made a computation fail that ran on several hosts
APART = ("process", "run", "workers")  # options that may differ between the processes of a job

_watch: Watch | None = None  # of this process, where it is one of several


def start(options: Options, facts: Mapping[str, Any]) -> None:
    """Join the other processes of the job, where there are any; call it before the first use of a device.

    `facts` (JSON values) must be the same on all, as must the options. On every process that has come it raises
    Absent where one is missing for `options.host_timeout` seconds, UserError where one differs.
    """
    job = find(options)
    if job is None or job.processes == 1 or jax.distributed.is_initialized():
        return
    shared = {f"--{name}": value for name, value in vars(options).items() if name not in APART}
    seconds = options.host_timeout
    global _watch
    _watch = Watch(meet(job, {**facts, **shared}, seconds), seconds, first=job.process == 0)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        *job,
        cluster_detection_method="deactivate",  # it would leave all GPUs but one of a SLURM node idle
        initialization_timeout=seconds,
        heartbeat_timeout_seconds=2 * seconds,  # the watch speaks first, and in one line
        shutdown_timeout_seconds=seconds,
    )
    atexit.register(_watch.farewell)


def leave(error: BaseException, said: str, status: int, *, stay: bool = False) -> None:
    """End the whole job, where `error` is of this process alone: with `said` and `status` here (or not, to `stay`),
    with a line that names this process on the others. Returns if there are no others, or all know of it."""
    if _watch is None or isinstance(error, Known):
        return
    words, theirs = (str(error).splitlines() or [""])[0][:LINE], status
    if not isinstance(error, UserError):
        words = f"{type(error).__name__}: {words}"
    if isinstance(error, Exception) and not isinstance(error, UserError):
        theirs = 75  # another start may do better
        time.sleep(GRACE)  # it may follow from the end of another, whose line then is the one to print
    fault = Fault(f"{_name()}: {words}", theirs)
    _watch.leave(fault, "" if stay else said, None if stay else status)


def _name() -> str:
    return f"process {jax.process_index()} on {socket.gethostname()}"


def find(options: Options) -> Job | None:
    """The job that this process belongs to: as the options say, else the environment; None if it is alone.

    With `hosts` "auto" the environment is that of SLURM's srun, of a TPU slice on GKE, or JAX_COORDINATOR_ADDRESS,
    JAX_NUM_PROCESSES and JAX_PROCESS_ID; with "many" also that of a Cloud TPU VM, which is asked over its network.
    Raises UserError if several hosts are asked for and nothing says where they are, or not in numbers.
    """
    env = os.environ
    if options.hosts == "one":
        return None
    coordinator = options.coordinator or env.get("JAX_COORDINATOR_ADDRESS", "")
    if coordinator:
        processes = options.processes or _number("JAX_NUM_PROCESSES", 0)
        process = options.process if options.process >= 0 else _number("JAX_PROCESS_ID", -1)
        if not 0 <= process < processes:
            raise UserError(f"--coordinator {coordinator} needs --processes N and --process I with 0 <= I < N")
        return Job(coordinator, processes, process)
    if options.processes or options.process >= 0:
        raise UserError("--processes and --process need --coordinator HOST:PORT, the address of process 0")
    slurm = "SLURM_STEP_NODELIST" in env and _number("SLURM_NTASKS", 1) > 1
    if options.hosts == "many" or slurm or "," in env.get("TPU_WORKER_HOSTNAMES", ""):
        return _ask_jax(options.host_timeout)
    return None


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, str(default))
    try:
        return int(text)
    except ValueError:
        raise UserError(f"{variable} must be a number, not '{text}'") from None


def _ask_jax(seconds: int) -> Job:
    from jax._src.clusters import ClusterEnv  # what jax.distributed.initialize() without arguments asks

    try:
        asked = ClusterEnv.auto_detect_unset_distributed_params(None, None, None, None, None, seconds)
    except ValueError as error:
        raise UserError(f"what the cluster says of its hosts is not understood ({error}); give --coordinator") from None
    except RuntimeError as error:  # the first host's name is not known yet
        raise Absent(str(error)) from None
    coordinator, processes, process, _ = asked
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
    """What `action` returns here; if it raises UserError on any process, all raise Known with its message."""
    if not several():
        return action()
    result, problem = None, ""
    try:
        result = action()
    except UserError as error:
        problem = str(error) or "?"
    for said in _gather(problem):
        if said:
            raise Known(said)
    return result


def _gather(text: str) -> list[str]:
    """The `text`, or its beginning, of every process."""
    padded = np.frombuffer(text.encode()[:LINE].ljust(LINE, b"\0"), np.uint8)
    return [bytes(line).rstrip(b"\0").decode(errors="replace") for line in multihost_utils.process_allgather(padded)]


def same_folder(folder: pathlib.Path, seconds: float) -> None:
    """Raise UserError on all processes, after `seconds`, unless each sees at its `folder` that of the first, which is
    there: a name that is written into it must appear to all."""
    if not several():
        return
    mark = folder / "hosts.tmp"
    token = _gather(f"{secrets.token_hex(8)} {socket.gethostname()}:{folder.absolute()}")[0]

    def look() -> None:
        until = time.monotonic() + seconds
        while not _holds(mark, token):
            if time.monotonic() > until:
                raise UserError(
                    f"{_name()}: {folder.absolute()} is not the run folder of process 0, {token.split(' ', 1)[1]}; "
                    "give all the same --run, on a disk that all have"
                )
            time.sleep(0.1)

    def write() -> None:
        try:
            mark.write_text(token)
        except OSError as error:
            raise UserError(f"{mark}: cannot be written ({error.strerror})") from None

    first_alone(write)
    try:
        everyone(look)
    finally:
        if first_host():
            mark.unlink(missing_ok=True)


def _holds(mark: pathlib.Path, token: str) -> bool:
    try:
        os.listdir(mark.parent.parent)  # a network file system may remember for a minute that a folder was not there
        return mark.read_text() == token
    except OSError:
        return False


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
