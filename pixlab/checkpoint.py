"""Checkpoints of a run: the state and the position of its input pipeline, saved whole or not at all (Orbax).

A checkpoint is written in the background to a temporary folder that is renamed when complete, so a run killed at any
moment leaves the last complete one. A damaged checkpoint is set aside and the one before it is used.
"""

from __future__ import annotations

import contextlib
import errno
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import orbax.checkpoint as ocp

from pixlab.core import State
from pixlab.errors import UserError

KEEP = 2  # complete checkpoints kept; the second is what a damaged newest one falls back to


class Checkpoints:
    """The checkpoints in `folder`, newest last.

    `like(step)` gives the abstract state (with target shardings) that a checkpoint made after `step` steps holds.
    """

    def __init__(self, folder: pathlib.Path, like: Callable[[int], State]):
        self.folder = pathlib.Path(folder).absolute()
        self._like = like
        with self._full_disk("cannot write checkpoints"):
            self._manager = ocp.CheckpointManager(self.folder, options=ocp.CheckpointManagerOptions(max_to_keep=KEEP))

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints."""
        return sorted(self._manager.all_steps())

    def save(self, state: State, *, step: int, batches: int) -> None:
        """Start saving after `step` steps and `batches` global batches read; returns before the files are written.

        Raises UserError if this save or the one before it failed, the disk being full for instance.
        """
        if step in self._manager.all_steps():
            return
        with self._full_disk(f"the checkpoint of step {step} was not saved"):
            args = ocp.args.Composite(state=ocp.args.StandardSave(state), data=ocp.args.JsonSave({"batches": batches}))
            self._manager.save(step, args=args)

    def restore(self) -> tuple[State, int] | None:
        """The newest readable (state, batches read), or None where there is no checkpoint.

        A checkpoint that cannot be read is renamed `STEP.damaged`, said so, and the one before it is read. Raises
        UserError if there are checkpoints and none can be read.
        """
        steps = self.steps()
        for step in reversed(steps):
            args = ocp.args.Composite(
                state=ocp.args.StandardRestore(self._like(step)), data=ocp.args.JsonRestore()
            )
            try:
                restored = self._manager.restore(step, args=args)
                jax.block_until_ready(restored.state)
                return restored.state, restored.data["batches"]
            except Exception as error:  # Orbax and TensorStore raise many types for unreadable files
                reason = (str(error).splitlines() or [repr(error)])[0][:150]
                note = f"checkpoint of step {step} is damaged ({reason}); trying the one before it"
                print(note, file=sys.stderr, flush=True)
                self._set_aside(step)
        if steps:
            raise UserError(
                f"{self.folder}: none of the checkpoints {steps} can be read (now named STEP.damaged); "
                "restore one from a backup, or train again in another run folder"
            )
        return None

    def finish(self) -> None:
        """Wait until everything is on disk. Raises UserError if a save failed."""
        with self._full_disk("the last checkpoint was not saved"):
            self._manager.wait_until_finished()
            self._manager.check_for_errors()

    def close(self) -> None:
        """Wait, then let go of the folder."""
        try:
            self.finish()
        finally:
            self._manager.close()

    def _set_aside(self, step: int) -> None:
        if jax.process_index() == 0:
            damaged = self.folder / f"{step}.damaged"
            shutil.rmtree(damaged, ignore_errors=True)
            (self.folder / str(step)).rename(damaged)
        self._manager.reload()

    @contextlib.contextmanager
    def _full_disk(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            reason = _no_space(error)
            if reason is None:
                raise
            kept = f"the last complete one is of step {max(steps)}" if (steps := self._complete()) else "there is none"
            raise UserError(f"{self.folder}: {reason}: {what} ({kept}); free some space and run the same command") from None

    def _complete(self) -> list[int]:
        return [int(path.name) for path in self.folder.glob("*") if path.name.isdigit()]


def _no_space(error: BaseException | None) -> str | None:
    """The system's words if `error`, or what caused it, is a full disk or a folder that cannot be written."""
    words = {
        errno.ENOSPC: "no space left on device",
        errno.EDQUOT: "disk quota exceeded",
        errno.EACCES: "permission denied",
        errno.EROFS: "read-only file system",
        errno.EFBIG: "file too large for this file system",
    }
    while error is not None:
        if isinstance(error, OSError) and error.errno in words:
            return words[error.errno]
        text = str(error).lower()
        for word in words.values():
            if word in text:
                return word
        error = error.__cause__ or error.__context__
    return None


def restore_for_use(folder: pathlib.Path, like: Callable[[int], State]) -> tuple[State, int]:
    """(state, step) of the newest readable checkpoint of a run. Raises UserError where there is none."""
    if not folder.is_dir():
        raise UserError(f"{folder.parent}: has no checkpoints; train the run first")
    checkpoints = Checkpoints(folder, like)
    try:
        found = checkpoints.restore()
    finally:
        checkpoints.close()
    if found is None:
        raise UserError(f"{folder.parent}: has no complete checkpoint yet; train the run first")
    return found[0], int(found[0].step)
