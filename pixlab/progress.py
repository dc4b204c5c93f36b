"""How far a run is, on the terminal: one live bar, or a plain line now and then where output goes to a file."""

from __future__ import annotations

import collections
import io
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import SupportsFloat, TypeVar

_WINDOW = 30.0  # seconds over which speed is averaged
Item = TypeVar("Item")


def duration(seconds: float) -> str:
    """Seconds for people: 48s, 1m02s, 3h05m, 2d04h."""
    whole = round(seconds)
    for unit, small, size, part in (("d", "h", 86400, 3600), ("h", "m", 3600, 60), ("m", "s", 60, 1)):
        if whole >= size:
            return f"{whole // size}{unit}{whole % size // part:02d}{small}"
    return f"{whole}s"


class Progress:
    """Shows steps done of `total` (or what else `unit` calls them), the stage, the loss, images (or what else `counted`
    calls them) per second and the time left.

    On a terminal one live bar, elsewhere a line at once and then at most every `every` seconds. The first update of
    each stage contains compilation and does not count towards the speed. Silent if not `active`.
    """

    def __init__(
        self,
        total: int,
        *,
        start: int = 0,
        stream: io.TextIOBase | None = None,
        every: float = 10.0,
        active: bool = True,
        unit: str = "step",
        counted: str = "images",
        clock: Callable[[], float] = time.monotonic,
    ):
        self._total, self._stream, self._active, self._clock = total, stream or sys.stderr, active, clock
        self._seen: collections.deque = collections.deque(maxlen=4096)  # (time, step, images so far) of this stage
        self._images, self._stage, self._drawn, self._bar = 0, None, None, None
        self._unit, self._counted = unit, counted
        self._every = 0.1 if self._stream.isatty() else every
        if active and self._stream.isatty():
            from tqdm import tqdm

            shape = "{percentage:3.0f}% |{bar}| {desc}"
            self._bar = tqdm(
                total=total, initial=start, file=self._stream, bar_format=shape, dynamic_ncols=True, leave=True
            )

    def update(self, step: int, stage: str, loss: SupportsFloat | None, images: int) -> None:
        """Reports that `step` steps are done and that `images` images went by since the last report."""
        if not self._active:
            return
        now = self._clock()
        if stage != self._stage:
            self._seen.clear()
            self._stage = stage
        self._images += images
        self._seen.append((now, step, self._images))
        while len(self._seen) > 2 and self._seen[1][0] < now - _WINDOW:
            self._seen.popleft()
        if self._drawn is not None and step < self._total and now - self._drawn < self._every:
            return
        self._drawn = now
        text = self._line(step, loss)
        if self._bar is None:
            print(text, file=self._stream, flush=True)
        else:
            self._bar.n = step
            self._bar.set_description_str(text)

    def _line(self, step: int, loss: SupportsFloat | None) -> str:
        parts = [f"{self._unit} {step}/{self._total}", self._stage]
        if loss is not None:
            parts.append(f"loss {float(loss):.4g}")
        (began, first, before), (ended, last, after) = self._seen[0], self._seen[-1]
        if ended > began:
            speed = (after - before) / (ended - began)
            parts.append(f"{speed:.3g} {self._counted}/s" if speed < 1000 else f"{speed:.0f} {self._counted}/s")
        if ended > began and self._total > step and last > first:
            parts.append(f"{duration((self._total - step) * (ended - began) / (last - first))} left")
        return "  ".join(part for part in parts if part)

    def skip(self) -> None:
        """Leaves the time since the last update out of the speed; call it after an evaluation or a checkpoint."""
        if self._seen:
            gap = self._clock() - self._seen[-1][0]
            moved = [(when + gap, step, images) for when, step, images in self._seen]
            self._seen.clear()
            self._seen.extend(moved)

    def write(self, text: str) -> None:
        """Prints a line above the bar."""
        if not self._active:
            return
        if self._bar is None:
            print(text, file=self._stream, flush=True)
        else:
            self._bar.write(text, file=self._stream)

    def close(self) -> None:
        """Leaves the bar as it is and ends its line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
            self._active = False


def told(
    items: Iterable[Item],
    total: int,
    *,
    unit: str,
    counted: str,
    active: bool = True,
    after: float = 10.0,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Item]:
    """The items, one `unit` each; once `after` seconds have gone standard error says how many of `total` are done."""
    began, progress = clock(), None
    for done, item in enumerate(items):
        yield item
        if active and progress is None and clock() - began > after:
            progress = Progress(total, start=done, unit=unit, counted=counted, clock=clock)
        if progress is not None:
            progress.update(done + 1, "", None, 1)
    if progress is not None:
        progress.close()
