"""The processes of a job meet before JAX connects them, so that who is missing or differs is said by name.

JAX ends the process where its own start-up times out; here every process gets one line that says what to do. The
meeting is at the coordinator's port, which JAX takes over afterwards.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pixlab.errors import Absent, UserError

Facts = Mapping[str, Any]  # what all processes must have in common: the code, the options


class Job(NamedTuple):
    """Processes that work together, and which of them this is."""

    coordinator: str  # HOST:PORT of process 0
    processes: int
    process: int


class Guest(NamedTuple):
    """A process that has arrived."""

    process: int
    host: str
    facts: Facts


def meet(job: Job, facts: Facts, seconds: float) -> None:
    """Wait until all processes of `job` are there and agree on `facts` (JSON values).

    Raises, on all that have arrived, Absent if after `seconds` some have not, and UserError if the facts differ.
    """
    me = Guest(job.process, socket.gethostname(), json.loads(json.dumps(dict(facts))))
    deadline = time.monotonic() + seconds
    absent, problem = (_receive if job.process == 0 else _visit)(job, me, deadline, seconds)
    if problem:
        raise (Absent if absent else UserError)(problem)


def _receive(job: Job, me: Guest, deadline: float, seconds: float) -> tuple[bool, str]:
    """As process 0: collect the others, tell everyone whether some are missing and what is wrong; "" if nothing is."""
    guests, lines = [me], []
    with socket.create_server(("", _address(job)[1]), reuse_port=False) as server:
        while len(guests) < job.processes and (left := deadline - time.monotonic()) > 0:
            server.settimeout(left)
            try:
                line, _ = server.accept()
                line.settimeout(10)
                guest = Guest(*json.loads(line.makefile("r").readline()))
            except (OSError, ValueError, TypeError):  # nobody came, or somebody else, or in pieces
                continue
            if all(guest.process != other.process for other in guests):
                guests.append(guest)
            lines.append(line)
        absent = missing(job, guests, seconds)
        problem = bool(absent), absent or differences(guests)
        for line in lines:
            try:
                line.sendall(json.dumps(problem).encode() + b"\n")
                line.close()
            except OSError:  # gone meanwhile: JAX will notice
                pass
    return problem


def _visit(job: Job, me: Guest, deadline: float, seconds: float) -> tuple[bool, str]:
    """As another process: come to process 0 and hear what it says."""
    while (left := deadline - time.monotonic()) > 0:
        try:
            with socket.create_connection(_address(job), timeout=left) as line:
                line.sendall(json.dumps(me).encode() + b"\n")
                line.settimeout(left + 15)  # process 0 waits for the others
                absent, problem = json.loads(line.makefile("r").readline())
                return absent, problem
        except (OSError, ValueError, TypeError):
            time.sleep(min(0.2, max(left, 0)))
    return (
        True,
        f"process 0 at {job.coordinator} has not answered for {seconds:.0f} s; is it running, is the port open?",
    )


def missing(job: Job, guests: Sequence[Guest], seconds: float) -> str:
    """Who has not come; "" if all have."""
    here = {guest.process: guest.host for guest in guests}
    names = os.environ.get("TPU_WORKER_HOSTNAMES", "").split(",")
    called = [f" ({name})" for name in names] if len(names) == job.processes else [""] * job.processes
    absent = [f"process {i}{called[i]}" for i in range(job.processes) if i not in here]
    if not absent:
        return ""
    there = ", ".join(f"{i} on {host}" for i, host in sorted(here.items()))
    return (
        f"after {seconds:.0f} s {', '.join(absent)} of {job.processes} had not come to {job.coordinator}; here: {there}"
    )


def differences(guests: Sequence[Guest]) -> str:
    """The first fact on which the processes differ; "" if they agree."""
    first, *others = sorted(guests)[:1] + sorted(guests)[1:]
    for guest in others:
        for name in sorted({*first.facts, *guest.facts}):
            theirs, ours = guest.facts.get(name), first.facts.get(name)
            if theirs != ours:
                return (
                    f"the processes differ: {name} is {ours!r} on {first.host} (process 0) and {theirs!r} on "
                    f"{guest.host} (process {guest.process}); start all with the same code and command"
                )
    return ""


def _address(job: Job) -> tuple[str, int]:
    host, _, port = job.coordinator.rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"--coordinator {job.coordinator}: give it as HOST:PORT")
    return host, int(port)
