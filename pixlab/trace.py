"""A profile of a few steps, for xprof and TensorBoard."""

from __future__ import annotations

import pathlib
from typing import Any

import jax

WARM_UP = 5  # steps that compile and fill the pipeline


class Trace:
    """Records the steps from `start` + WARM_UP on, `steps` of them, into RUN/profile; 0 records none."""

    def __init__(self, folder: pathlib.Path, start: int, steps: int):
        self._folder = folder / "profile"
        self._first, self._last = start + WARM_UP, start + WARM_UP + steps
        self._on = False

    def at(self, done: int, state: Any) -> None:
        """Start or stop where it is time, between two steps; a trace ends when `state` is computed."""
        if self._on and done >= self._last:
            jax.block_until_ready(state)
            self.close()
        elif not self._on and self._first <= done < self._last:
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # or every call of a library's function would be an event
            jax.profiler.start_trace(self._folder, profiler_options=options)
            self._on = True

    def close(self) -> None:
        """Write what has been recorded."""
        if self._on:
            self._on = False
            jax.profiler.stop_trace()
