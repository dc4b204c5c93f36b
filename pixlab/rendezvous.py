"""The processes of a job meet before JAX connects them, so that who is missing or differs is said by name.

JAX ends the process where its own start-up times out; here every process gets one line that says what to do. The
meeting is at the coordinator's port, which JAX takes over afterwards.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pixlab.errors import Absent, UserError
from pixlab.watch import Peer

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


def meet(job: Job, facts: Facts, seconds: float) -> list[Peer]:
    """Wait until all processes of `job` are there and agree on `facts` (JSON values).

    Returns the connections that stay: on process 0 to all others, on these to process 0. Raises, on all that have
    arrived, Absent if after `seconds` some have not, and UserError if the facts differ or two have the same number.
    """
    me = Guest(job.process, socket.gethostname(), json.loads(json.dumps(dict(facts))))
    deadline = time.monotonic() + seconds
    absent, problem, peers = (_receive if job.process == 0 else _visit)(job, me, deadline, seconds)
    if problem:
        for peer in peers:
            peer.line.close()
        raise (Absent if absent else UserError)(problem)
    return peers


Answer = tuple[bool, str, list[Peer]]  # whether some are missing; what is wrong, or ""; the connections


def _receive(job: Job, me: Guest, deadline: float, seconds: float) -> Answer:
    """As process 0: collect the others, tell everyone whether some are missing and what is wrong."""
    arrived: list[tuple[Guest, socket.socket]] = []
    port = _address(job)[1]
    try:
        server = socket.create_server(("", port), reuse_port=False)
    except OSError as error:
        raise UserError(
            f"--coordinator {job.coordinator}: port {port} is taken ({error.strerror}); is another process 0 running?"
        ) from None
    with server:
        while len(arrived) < job.processes - 1 and (left := deadline - time.monotonic()) > 0:
            server.settimeout(left)
            with contextlib.suppress(OSError):  # nobody came
                line, _ = server.accept()
                if guest := _guest(line):
                    arrived.append((guest, line))
            arrived = [(guest, line) for guest, line in arrived if not _gone(line)]
    guests = [me, *(guest for guest, _ in arrived)]
    absent = "" if (clash := clashes(job, guests)) else missing(job, guests, seconds)
    problem = clash or absent or differences(guests)
    peers = [Peer(f"process {guest.process} on {guest.host}", line) for guest, line in arrived]
    for peer in peers:
        with contextlib.suppress(OSError):  # gone meanwhile: the watch will notice
            peer.line.sendall(json.dumps([bool(absent), problem, me.host]).encode() + b"\n")
    return bool(absent), problem, peers


def _visit(job: Job, me: Guest, deadline: float, seconds: float) -> Answer:
    """As another process: come to process 0 and hear what it says."""
    while (left := deadline - time.monotonic()) > 0:
        with contextlib.ExitStack() as held, contextlib.suppress(OSError, ValueError, TypeError):
            line = held.enter_context(socket.create_connection(_address(job), timeout=left))
            line.sendall(json.dumps(me).encode() + b"\n")
            line.settimeout(left + 15)  # process 0 waits for the others
            absent, problem, host = json.loads(_read_line(line))
            held.pop_all()
            return absent, problem, [Peer(f"process 0 on {host}", line)]
        time.sleep(min(0.2, max(left, 0)))
    words = f"process 0 at {job.coordinator} has not answered for {seconds:.0f} s; is it running, is the port open?"
    return True, words, []


def _guest(line: socket.socket) -> Guest | None:
    """Who has come; None, and the line is closed, if it is somebody else, or comes in pieces."""
    line.settimeout(10)
    with contextlib.suppress(OSError, ValueError, TypeError):
        guest = Guest(*json.loads(_read_line(line)))
        if isinstance(guest.process, int):
            return guest
    line.close()
    return None


def _read_line(line: socket.socket) -> bytes:
    """Up to the end of the line and no further: what comes next is for whoever keeps the connection."""
    text = b""
    while not text.endswith(b"\n") and (byte := line.recv(1)):
        text += byte
    return text


def _gone(line: socket.socket) -> bool:
    """True, and the line is closed, if the process at the other end has ended, to come again for instance."""
    line.setblocking(False)
    try:
        gone = not line.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        gone = False
    except OSError:
        gone = True
    if gone:
        line.close()
    else:
        line.settimeout(10)
    return gone


def clashes(job: Job, guests: Sequence[Guest]) -> str:
    """Two processes that have the same number, or one whose number is too high; "" if there are none."""
    seen: dict[int, str] = {}
    for number, host, _ in guests:
        if not 0 <= number < job.processes:
            return f"process {number} on {host} is one too many: the processes of this job are 0 to {job.processes - 1}"
        if number in seen:
            return f"two processes have the number {number}, on {seen[number]} and on {host}; give each its own"
        seen[number] = host
    return ""


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
    first, *others = sorted(guests, key=lambda guest: guest.process)
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
