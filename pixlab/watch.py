"""The processes of a job watch one another, so that a fault of one ends all at once, with one line that names it.

A process that waits for the others in the middle of a computation cannot be interrupted, and JAX ends it minutes later
with a stack trace. So each keeps the connection on which it came to process 0, with a thread that listens there.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

TICK = 0.2  # seconds between two looks at the clock
OWN = 1.0  # seconds for a process to end by itself when another has: it may have found the same mistake
PATIENCE = 5.0  # seconds that a process which ends gives the others to hear of it
AGAIN = "the same command goes on"


class Fault(NamedTuple):
    """What ended a process: one line, and the exit status of the others."""

    said: str
    status: int


class Peer:
    """A process at the other end of a connection."""

    def __init__(self, name: str, line: socket.socket):
        line.settimeout(PATIENCE)
        self.name, self.line, self.heard = name, line, time.monotonic()
        self.well = self.gone = False  # has said farewell; has ended
        self.fault: Fault | None = None  # that it told
        self._rest = b""

    def say(self, fault: Fault | None = None, *, well: bool = False) -> None:
        """Send a fault, a farewell, or else a sign of life; nothing if the other has gone."""
        with contextlib.suppress(OSError):
            self.line.sendall(json.dumps(fault or well).encode() + b"\n")

    def hear(self) -> None:
        """Take in what has arrived."""
        try:
            data = self.line.recv(2**16)
        except OSError:
            data = b""
        self.heard, self.gone = time.monotonic(), not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        for word in map(json.loads, lines):
            if isinstance(word, list):
                self.fault = self.fault or Fault(*word)
            self.well = self.well or word is True


class Watch:
    """Connections to all others (on process 0) or to process 0 (on the others), watched until the process ends.

    A fault that is told, a connection that ends without a farewell, and `seconds` without a sign of life end this
    process with one line and the status that is told, else 75; process 0 passes it on.
    """

    def __init__(self, peers: Sequence[Peer], seconds: float, *, first: bool):
        self._peers, self._seconds, self._first = tuple(peers), seconds, first
        self._last_word = threading.Lock()  # who has it ends this process
        self._until: float | None = None  # when this process ends at the latest
        self._status: int | None = None  # with this, or not at all
        self._thread = threading.Thread(target=self._run, daemon=True, name="watch")
        self._thread.start()

    def leave(self, fault: Fault, said: str = "", status: int | None = None) -> None:
        """End the others with `fault`, and this process with `said` and `status` unless that is None."""
        if self._last_word.acquire(blocking=False):
            self._end(fault, said, status)
        self._thread.join()

    def farewell(self) -> None:
        """Tell the others that this process ends well; it goes on watching until it has."""
        for peer in self._peers:
            peer.say(well=True)

    def _run(self) -> None:
        beat, own, fault = 0.0, 0.0, None
        while self._until is None or not self._over():
            now, here = time.monotonic(), [peer for peer in self._peers if not peer.gone]
            if now > beat:
                beat = now + self._seconds / 8
                for peer in here:
                    peer.say()
            ready, _, _ = select.select([peer.line for peer in here], [], [], TICK)
            for peer in here:
                if peer.line in ready:
                    peer.hear()
                if peer.fault and self._first:
                    with contextlib.suppress(OSError):
                        peer.line.shutdown(socket.SHUT_WR)  # to say that it is heard
            if fault is None and not self._last_word.locked():
                fault = next(filter(None, map(self._fault, self._peers)), None)
                own = time.monotonic() + (OWN if any(peer.fault for peer in self._peers) else 0)
                if fault:
                    self._tell(fault)
            if fault and time.monotonic() >= own and self._last_word.acquire(blocking=False):
                self._end(fault, f"error: {fault.said}", fault.status)
        if self._status is not None:
            os._exit(self._status)  # as the end of the interpreter would wait for the others

    def _fault(self, peer: Peer) -> Fault | None:
        if peer.fault or (peer.well and peer.gone):
            return peer.fault
        if peer.gone:
            return Fault(f"{peer.name} has gone without a word (killed, or out of memory?); {AGAIN}", 75)
        if time.monotonic() > peer.heard + self._seconds:
            return Fault(f"{peer.name} has been silent for {self._seconds:.0f} s; {AGAIN}", 75)
        return None

    def _end(self, fault: Fault, said: str, status: int | None) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            if said:
                print(said, file=sys.stderr, flush=True)
            sys.stdout.flush()
        self._tell(fault)
        self._status, self._until = status, time.monotonic() + PATIENCE

    def _tell(self, fault: Fault) -> None:
        for peer in self._peers:
            if not peer.fault:
                peer.say(fault)

    def _over(self) -> bool:
        """Whether the others know: process 0 goes last, as JAX ends those that it leaves with a stack trace."""
        known = all(peer.gone or (peer.fault and not self._first) for peer in self._peers)
        return known or time.monotonic() > self._until
