"""What a run writes while it goes: scalars, pictures, and a line or a bar on the terminal.

A run's folder holds `metrics.csv` (columns step, name, value: long, because scalars change from stage to stage),
`tensorboard/` (the same scalars and the pictures as events), `pictures/NAME_STEP.png` and `status.json`. No times
stand in the table, so that an interrupted and resumed run leaves the same bytes as one that was not interrupted.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
import pathlib
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import SupportsFloat

import numpy as np
from jaxtyping import UInt8

from .errors import UserError
from .progress import Progress as Progress

_HEADER = "step,name,value\n"


def read_scalars(folder: str | os.PathLike) -> dict[str, dict[int, float]]:
    """{name: {step: value}} of a run's `metrics.csv`, names in order of appearance; {} if there is none.

    A last line without its end, as a killed run leaves it, is left out.
    """
    table: dict[str, dict[int, float]] = {}
    for step, name, value in _rows(pathlib.Path(folder) / "metrics.csv"):
        table.setdefault(name, {})[step] = float(value)
    return table


def _rows(path: pathlib.Path) -> list[tuple[int, str, str]]:
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    rows = []
    for row in csv.reader(io.StringIO(text[: text.rfind("\n") + 1])):
        with contextlib.suppress(ValueError):  # the header, and lines that a crash of the machine garbled
            step, name, value = row
            float(value)
            rows.append((int(step), name, value))
    return rows


@contextlib.contextmanager
def _writing(folder: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        room = "the disk is full; make room and start the run again: it resumes"
        what = room if full else error.strerror or str(error)
        raise UserError(f"cannot write the log in {folder}: {what}") from error


class Log:
    """The record of a run in `folder`. Only an `active` log (that of the first host) writes; others do nothing.

    Call `resume(step)` before the first write. Everything written is on its way to the disk when a call returns, so
    a killed run loses at most a part of its last line. Raises UserError when the folder cannot be written.
    """

    def __init__(self, folder: str | os.PathLike, *, active: bool = True):
        self.folder, self.active = pathlib.Path(folder), active
        self._table = self._events = None

    def resume(self, step: int, again: str = "") -> None:
        """Forgets what was logged after `step`, the last step that was saved; 0 begins the record anew.

        Values of `step` itself whose name starts with `again` are forgotten too.
        """
        if not self.active:
            return
        self.close()
        with _writing(self.folder):
            rows = [row for row in _rows(self.folder / "metrics.csv") if step > 0 and row[0] <= step]
            kept = [row for row in rows if not (again and row[0] == step and row[1].startswith(again))]
            self.folder.mkdir(parents=True, exist_ok=True)
            fresh = self.folder / "metrics.csv.new"
            with open(fresh, "w", newline="", encoding="utf-8") as file:
                file.write(_HEADER)
                csv.writer(file, lineterminator="\n").writerows(kept)
            os.replace(fresh, self.folder / "metrics.csv")
            for path in (self.folder / "pictures").glob("*_*.png"):
                number = path.stem.rpartition("_")[2]
                if number.isdigit() and (step == 0 or int(number) > step):
                    path.unlink()
        if step == 0:
            for path in (self.folder / "tensorboard").glob("events.out.tfevents.*"):
                path.unlink()
        else:
            self._open(purge=step + 1)

    def _open(self, purge: int | None = None) -> None:
        """Opens the table for appending and a new event file, which makes TensorBoard drop steps from `purge` on.

        Events are written here and now, not by tensorboardX's SummaryWriter: its queue has a thread that dies of a
        full disk, after which training would wait for it for ever, and every flush of it waits for the disk.
        """
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        with _writing(self.folder):
            (self.folder / "pictures").mkdir(parents=True, exist_ok=True)
            (self.folder / "tensorboard").mkdir(exist_ok=True)
            path = self.folder / "metrics.csv"
            begun = path.exists() and path.stat().st_size > 0
            self._table = open(path, "a", newline="", encoding="utf-8")  # noqa: SIM115 - lives as long as the log
            if not begun:
                self._table.write(_HEADER)
            path = self.folder / "tensorboard" / f"events.out.tfevents.{time.time_ns()}.run"
            self._events = open(path, "wb", buffering=0)  # noqa: SIM115
            self._event(Event(file_version="brain.Event:2"))
            if purge is not None:
                self._event(Event(step=purge, session_log=SessionLog(status=SessionLog.START)))

    def _event(self, event) -> None:
        """Appends an event in the framing of TFRecord: length, its checksum, bytes, their checksum."""
        from tensorboardX.record_writer import masked_crc32c

        event.wall_time = time.time()
        data = event.SerializeToString()
        size = struct.pack("<Q", len(data))
        checks = [struct.pack("<I", masked_crc32c(part)) for part in (size, data)]
        self._events.write(size + checks[0] + data + checks[1])

    def scalars(self, step: int, values: Mapping[str, SupportsFloat]) -> None:
        """Writes named values of one step. Names are paths such as `train/coarse/loss`."""
        if not self.active or not values:
            return
        if self._events is None:
            self._open()
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        floats = {name: float(value) for name, value in values.items()}
        with _writing(self.folder):
            csv.writer(self._table, lineterminator="\n").writerows((step, n, repr(v)) for n, v in floats.items())
            self._table.flush()
            parts = [Summary.Value(tag=name, simple_value=value) for name, value in floats.items()]
            self._event(Event(step=step, summary=Summary(value=parts)))

    def picture(self, step: int, name: str, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Writes a picture as `pictures/NAME_STEP.png`; a slash in the name becomes a hyphen."""
        if not self.active:
            return
        if self._events is None:
            self._open()
        from PIL import Image
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        shown = Summary.Image(
            height=image.shape[0], width=image.shape[1], colorspace=3, encoded_image_string=buffer.getvalue()
        )
        with _writing(self.folder):
            path = self.folder / "pictures" / f"{name.replace('/', '-')}_{step:07d}.png"
            path.with_suffix(".new").write_bytes(buffer.getvalue())
            os.replace(path.with_suffix(".new"), path)
            self._event(Event(step=step, summary=Summary(value=[Summary.Value(tag=name, image=shown)])))

    def status(self, state: str, step: int, total: int, *, stages: Sequence[tuple[str, int]] = ()) -> None:
        """Writes `status.json`: "running", "finished", "stopped" or "failed" after `step` of `total` steps, the stages.

        `stages` are (name, steps).
        """
        if not self.active:
            return
        fields = {"state": state, "step": step, "total": total, "stages": list(stages), "time": time.time()}
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "status.json.new").write_text(json.dumps(fields) + "\n", encoding="utf-8")
            os.replace(self.folder / "status.json.new", self.folder / "status.json")

    def close(self) -> None:
        """Closes the files; a later call opens them again."""
        table, events, self._table, self._events = self._table, self._events, None, None
        with _writing(self.folder):
            try:
                if table:
                    table.close()
            finally:
                if events:
                    events.close()
