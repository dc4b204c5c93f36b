"""Checkpoints of a run: the state and the position of its input pipeline, saved whole or not at all (Orbax).

A checkpoint is written in the background to a temporary folder that is renamed when complete, so a run killed at any
moment leaves the last complete one. A damaged checkpoint is set aside and the one before it is used.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import pathlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import absl.logging
import jax
import orbax.checkpoint as ocp

from pixlab.core import State
from pixlab.errors import UserError

KEEP = 2  # complete checkpoints kept; the second is what a damaged newest one falls back to
MARGIN = 2**18  # bytes beside the arrays: names, shapes, shardings


class Checkpoints:
    """The checkpoints in `folder`, newest last.

    `like(step)` gives the abstract state (with target shardings) that a checkpoint made after `step` steps holds.
    """

    def __init__(self, folder: pathlib.Path, like: Callable[[int], State]):
        self.folder = pathlib.Path(folder).absolute()
        self._like = like
        absl.logging.set_verbosity(absl.logging.FATAL)  # Orbax logs with tracebacks what is raised here in one line
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
            self.finish()
            needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) + MARGIN
            if shutil.disk_usage(self.folder).free < needed:  # half a checkpoint would help nobody
                raise OSError(errno.ENOSPC, f"{needed / 2**20:.0f} MiB are needed")
            args = ocp.args.Composite(state=ocp.args.StandardSave(state), data=ocp.args.JsonSave({"batches": batches}))
            self._manager.save(step, args=args)

    def restore(self) -> tuple[State, int] | None:
        """The newest readable (state, batches read), or None where there is no checkpoint.

        A checkpoint that cannot be read is said so and the one before it is read; it is then renamed `STEP.damaged`.
        Raises UserError if there are checkpoints and none can be read, or if they hold other networks.
        """
        damaged: list[int] = []
        for step in reversed(self.steps()):
            restored = self._read(step)
            if isinstance(restored, str):
                print(f"checkpoint of step {step} is damaged ({restored}); trying the one before it", file=sys.stderr)
                damaged.append(step)
                continue
            self._set_aside(damaged)
            return restored.state, restored.data["batches"]
        if damaged:
            raise UserError(
                f"{self.folder}: none of the checkpoints {damaged} can be read; restore one from a backup, "
                "or train again in another run folder"
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

    def _read(self, step: int) -> Any:
        """What a checkpoint holds, or why it cannot be read.

        Orbax reads arrays in parallel: those of a damaged checkpoint die later, in their own threads and when their
        coroutines are collected; here they do so before this returns, without their noise on standard error.
        """
        args = ocp.args.Composite(state=ocp.args.StandardRestore(self._like(step)), data=ocp.args.JsonRestore())
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        logger = logging.getLogger("asyncio")
        level = logger.level
        logger.setLevel(logging.CRITICAL + 1)
        try:
            try:
                restored = self._manager.restore(step, args=args)
                jax.block_until_ready(restored.state)
                return restored
            except Exception as error:  # Orbax and TensorStore raise many types
                reason = (str(error).splitlines() or [repr(error)])[0][:150]
            time.sleep(0.3)
            gc.collect()
        finally:
            sys.unraisablehook = hook
            logger.setLevel(level)
        if "do not match" in reason or "not compatible with the stored shape" in reason:
            raise UserError(
                f"{self.folder}: holds other networks than this code makes; use the code that trained it, "
                "or another run folder"
            )
        return reason

    def _set_aside(self, steps: list[int]) -> None:
        for step in steps if jax.process_index() == 0 else []:
            shutil.rmtree(self.folder / f"{step}.damaged", ignore_errors=True)
            (self.folder / str(step)).rename(self.folder / f"{step}.damaged")
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
            raise UserError(
                f"{self.folder}: {reason}: {what} ({kept}); free some space and run the same command"
            ) from None

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
    if not int(found[0].step):
        raise UserError(f"{folder.parent}: has not made a step yet; train the run first")
    return found[0], int(found[0].step)
