"""Processes that watch one another: whatever ends one of them, all end, each with the line that names it."""

import pathlib
import socket
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
HOST = socket.gethostname()
PROCESS = """
import os, signal, sys, time
from pixlab.rendezvous import Job, meet
from pixlab.watch import Fault, Watch

{}
address, processes, process, seconds = sys.argv[1], *map(int, sys.argv[2:])
watch = Watch(meet(Job(address, processes, process), {{}}, 60), seconds, first=process == 0)
"""
TORN = "watch.leave(Fault(f'process {process} on here: torn', 2), 'error: torn', 3)\n"


def together(*does: str, seconds: int = 60, before: str = "") -> list[tuple[int, str]]:
    """(status, what it said) of processes that do this when all have met."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    pipes, job = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": ROOT}, []
    for number, what in enumerate(does):
        words = map(str, (address, len(does), number, seconds))
        job.append(
            subprocess.Popen(
                [sys.executable, "-c", f"{PROCESS.format(before)}\n{what}\ntime.sleep(100)", *words], **pipes
            )
        )
    try:
        frozen = [process for process, what in zip(job, does, strict=True) if "SIGSTOP" in what]
        said = {process: process.communicate(timeout=60)[0] for process in job if process not in frozen}
    finally:
        for process in job:
            process.kill()
            process.wait()
            process.stdout.close()
    return [(process.returncode, said.get(process, "")) for process in job]


@pytest.mark.parametrize("who", [0, 1, 2])
def test_a_fault_of_one_is_said_on_all(who):
    ends = together(*(TORN if process == who else "" for process in range(3)))
    assert ends.pop(who) == (3, "error: torn\n")
    assert ends == [(2, f"error: process {who} on here: torn\n")] * 2


def test_one_that_is_killed_is_named():
    *others, (killed, _) = together("", "", "os.kill(os.getpid(), signal.SIGKILL)")
    assert killed == -9
    words = f"error: process 2 on {HOST} has gone without a word (killed, or out of memory?); the same command goes on"
    assert others == [(75, f"{words}\n")] * 2


@pytest.mark.parametrize("who", [0, 1])
def test_one_that_falls_silent_is_named(who):
    does = ["", "", ""]
    does[who] = "os.kill(os.getpid(), signal.SIGSTOP)"
    ends = together(*does, seconds=6)
    del ends[who]
    assert ends == [(75, f"error: process {who} on {HOST} has been silent for 6 s; the same command goes on\n")] * 2


def test_a_mistake_that_all_make_is_said_as_their_own():
    assert together(TORN, TORN, TORN, before="import pixlab.watch; pixlab.watch.OWN = 30") == [(3, "error: torn\n")] * 3


def test_one_may_end_well_before_the_others():
    well = "watch.farewell(); time.sleep({}); os._exit(0)"
    assert together(*map(well.format, (1, 0, 2)), seconds=60) == [(0, "")] * 3
    assert together(well.format(0), "time.sleep(1)\n" + TORN) == [(0, ""), (3, "error: torn\n")]


def test_the_others_end_and_this_one_goes_on():
    stays = "watch.leave(Fault('torn here', 2)); print('stayed', flush=True); os._exit(0)"
    for does in ([stays, ""], ["", stays]):
        ends = dict(together(*does))
        assert ends == {0: "stayed\n", 2: "error: torn here\n"}
