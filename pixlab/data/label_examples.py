"""Frames with labels as examples for batches: picture and label scaled, turned, cropped and mirrored together."""

from __future__ import annotations

import numpy as np

from pixlab.data import transforms
from pixlab.data.label_classes import Classes
from pixlab.data.pipeline import Example

Size = tuple[int, int]


def train_example(
    frame: Example,
    rng: np.random.Generator,
    *,
    classes: Classes,
    crop: Size,
    size: Size | None = None,
    scale: tuple[float, float] = (1.0, 1.0),
    degrees: float = 0.0,
    flip: float = 0.5,
    gain: tuple[float, float] = (1.0, 1.0),
    margin: int = 0,
) -> Example:
    """A random window of `crop` (height, width): "image" float32 [h, w, 3] in [0, 1], "label" int32 [h, w, 1].

    The frame is brought to `size` where that is given, then enlarged by a factor within `scale`, turned by up to
    `degrees`, cropped, mirrored with probability `flip`, and its colours multiplied by factors within `gain`. Where it
    is smaller than the window it lies somewhere in it; around it the picture is black and the label `classes.ignore`.
    Windows begin at whole pixels, so that without scale and turn pixels stay as they are. With `margin`, as many pixels
    a side are added first: the picture reflected, the label `classes.ignore`. Each call draws the same number of random
    numbers.
    """
    frame = {name: frame[name] for name in ("image", "label")}
    if size is not None:
        frame = transforms.resize(frame, size=size)
    if margin:
        frame = reflected(frame, margin, classes.ignore)
    s, angle, y, x, chance, *colours = rng.random(8)
    s = scale[0] + s * (scale[1] - scale[0])
    height, width = transforms.frame_size(frame)
    window = transforms.warp(
        frame | {"label": frame["label"] + 1},  # transforms fill with 0
        size=crop,
        scale=s,
        degrees=(2 * angle - 1) * degrees,
        top=_start(y, s * height - crop[0]),
        left=_start(x, s * width - crop[1]),
        mirror=bool(chance < flip),
    )
    label = np.where(window["label"] == 0, classes.ignore, window["label"] - 1)
    window = transforms.colour_gain(window, tuple(gain[0] + c * (gain[1] - gain[0]) for c in colours))
    return transforms.finish(window | {"label": label.astype(np.int32)})


def whole_example(frame: Example, *, size: Size | None = None) -> Example:
    """The whole frame, at `size` (height, width) where that is given: "image" float32 in [0, 1], "label" int32."""
    frame = {name: frame[name] for name in ("image", "label")}
    return transforms.finish(frame if size is None else transforms.resize(frame, size=size))


def fitted_example(frame: Example, *, classes: Classes, size: Size) -> Example:
    """The frame, of its `fitted_size`, at the top left of `size` (height, width), beyond it black and `classes.ignore`;
    "seen" [2] is its size there."""
    frame = {name: frame[name] for name in ("image", "label")}
    seen = fitted_size(transforms.frame_size(frame), size)
    if seen != transforms.frame_size(frame):
        frame = transforms.resize(frame, size=seen)
    below = (*((0, n - m) for n, m in zip(size, seen, strict=True)), (0, 0))
    label = np.pad(frame["label"], below, constant_values=classes.ignore)
    return transforms.finish({"image": np.pad(frame["image"], below), "label": label}) | {"seen": np.int32(seen)}


def fitted_size(frame: Size, size: Size) -> Size:
    """Rows and columns of a frame that must fit in `size`: its own, or smaller with its aspect kept."""
    part = min(1.0, size[0] / frame[0], size[1] / frame[1])
    return tuple(max(1, min(most, round(n * part))) for n, most in zip(frame, size, strict=True))


def reflected(frame: Example, margin: int, ignore: int) -> Example:
    """The frame with `margin` pixels more a side: the picture reflected (its edge not repeated), the label `ignore`."""
    around = ((margin, margin), (margin, margin), (0, 0))
    image = np.pad(frame["image"], around, mode="reflect")
    return {"image": image, "label": np.pad(frame["label"], around, constant_values=ignore)}


def _start(chance: float, room: float) -> float:
    """The first pixel of a window by a number in [0, 1): any of the whole ones as likely; `room` may be negative."""
    return float(np.copysign(int(chance * (int(abs(room)) + 1)), room))
