"""Options: frozen dataclasses whose fields are the command line's flags and whose docstrings are its help."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from pixlab.errors import UserError


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of every experiment. Lengths are in optimiser steps; 0 turns a thing off."""

    run: str = ""
    """Run folder; empty stands for runs/EXPERIMENT-CONFIG. A run that was stopped goes on where it was."""
    seed: int = 0
    """Seed of the initial parameters, of the order of the data, of augmentation and of dropout."""
    batch: int = 32
    """Images per step, over all devices and hosts together."""
    hosts: Literal["auto", "one", "many"] = "auto"
    """Whether other hosts train along: auto looks at the environment; many asks a Cloud TPU VM about its pod."""
    coordinator: str = ""
    """HOST:PORT of process 0, where the environment does not say it."""
    processes: int = 0
    """Processes of the job, with --coordinator."""
    process: int = -1
    """Number of this process, with --coordinator."""
    host_timeout: int = 120
    """Seconds to wait for the other processes, at the start and when one falls silent."""
    devices: int = 0
    """Devices to train on; 0: all (on a CPU, which has one per core, as many as divide the batch)."""
    fsdp: int = 1
    """Devices that share one copy of parameters and optimiser state; 1: each has its own."""
    accumulate: int = 1
    """Parts that a batch goes through the networks in, one after the other, to need less memory."""
    workers: int = 4
    """Threads that read and augment images."""
    profile: int = 0
    """Steps to record, soon after the start, for xprof or TensorBoard: RUN/profile."""
    log_every: int = 20
    """Steps between rows of metrics.csv."""
    save_every: int = 500
    """Steps between checkpoints; the end of a stage is always saved."""
    eval_every: int = 0
    """Steps between scorings of the test split with pictures; the end is always scored."""

    def check(self) -> None:
        """Raise UserError for values that no run can have; experiments add theirs."""
        self.at_least(0, "seed", "devices", "profile", "save_every", "eval_every")
        self.at_least(1, "host_timeout", "batch", "fsdp", "accumulate", "workers", "log_every")

    def settled(self) -> Options:
        """The options with what the data say of themselves, as a run keeps them from its start on."""
        return self

    def on(self, source: str) -> Options:
        """The options with data of another `source`."""
        return dataclasses.replace(self, source=source)

    def blank(self, name: str) -> Options:
        """The options with the made-up source `name`, to train on and, where that is apart, to test on."""
        return dataclasses.replace(self, **{key: name for key in ("source", "test") if hasattr(self, key)})

    @property
    def tested(self) -> str:
        """What the test split comes from."""
        return getattr(self, "source", "")

    def at_least(self, low: float, *names: str) -> None:
        """Raise UserError, naming the flag, unless these options (each number of a tuple) are `low` or more."""
        for name in names:
            value = getattr(self, name)
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(low <= number < math.inf for number in numbers):
                raise UserError(f"--{name.replace('_', '-')} must be at least {low}, not {_words(value)}")

    def one_of(self, name: str, values: tuple) -> None:
        """Raise UserError, listing `values`, unless the option is one of them."""
        if getattr(self, name) not in values:
            known = " | ".join(map(_words, values))
            raise UserError(f"--{name.replace('_', '-')} must be one of {known}, not {_words(getattr(self, name))}")


def _words(value: object) -> str:
    """A value as the command line takes it."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
