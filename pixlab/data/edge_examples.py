"""Pictures with drawn boundaries as examples: turned, scaled and mirrored windows to train on, whole ones to score.

Xie & Tu, "Holistically-Nested Edge Detection", ICCV 2015 (arXiv 1504.06375), turn each picture by 16 angles and take
the largest rectangle that lies in it.
"""

from __future__ import annotations

import math

import numpy as np

from pixlab.data import transforms
from pixlab.data.boundary_sets import MOST, agreed
from pixlab.data.label_classes import Classes
from pixlab.data.label_examples import Size
from pixlab.data.pipeline import Example
from pixlab.errors import UserError

EDGES = Classes(("none", "edge"), 2)  # 2: drawn by too few annotators


def largest_rectangle(height: float, width: float, degrees: float) -> tuple[float, float]:
    """(height, width) of the largest upright rectangle inside a picture of `height` x `width` that is turned."""
    sin, cos = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
    short, long = sorted((height, width))
    if short <= 2 * sin * cos * long or math.isclose(sin, cos):  # two corners on the long sides, the others free
        sides = (short / 2 / cos, short / 2 / sin) if height < width else (short / 2 / sin, short / 2 / cos)
        return sides
    twice = cos**2 - sin**2
    return (height * cos - width * sin) / twice, (width * cos - height * sin) / twice


def turned_window(
    frame: Example,
    rng: np.random.Generator,
    *,
    crop: Size,
    turns: int = 16,
    scales: tuple[float, ...] = (0.5, 1.0, 1.5),
    least: int = 3,
) -> Example:
    """A random window of `crop` of a frame of `open_boundaries`: "image", "edge" and "valid" as `edge_example` has.

    The frame is enlarged by one of `scales`, turned by one of `turns` equal parts of a circle, and mirrored or not, all
    equally likely. The window lies in the largest rectangle inside it, or covers that side of the rectangle which is
    shorter than the window; what lies outside the picture is black and not valid. Boundaries are sampled at the nearest
    pixel. Each call draws the same number of random numbers.
    """
    frame = edge_frame(frame, least=least)
    turn, scale, mirror, *places = rng.random(5)
    degrees, scale = 360.0 * int(turn * turns) / turns, scales[int(scale * len(scales))]
    size = transforms.frame_size(frame)
    inside = largest_rectangle(*size, degrees)
    starts = []
    for whole, part, window, place in zip(size, inside, crop, places, strict=True):
        room = scale * part - window
        starts.append(float(round(scale * (whole - part) / 2 + place * room)))
    window = transforms.warp(
        frame | {"label": frame["label"] + 1},  # transforms fill with 0
        size=crop,
        scale=scale,
        degrees=degrees,
        top=starts[0],
        left=starts[1],
        mirror=bool(mirror < 0.5),
    )
    label = np.where(window["label"] == 0, EDGES.ignore, window["label"] - 1)
    return edge_example(transforms.finish(window | {"label": label.astype(np.int32)}))


def scored_example(frame: Example) -> Example:
    """A whole frame of `open_boundaries`: "image" float32 in [0, 1], "boundaries" uint8 [h, w, 16], those of absent
    annotators empty. Raises UserError for more than 16."""
    drawn = frame["boundaries"]
    if drawn.shape[-1] > MOST:
        raise UserError(f"{drawn.shape[-1]} annotators drew boundaries, but {MOST} are scored; leave some out")
    return {
        "image": frame["image"].astype(np.float32) / np.float32(255),
        "boundaries": np.pad(drawn, ((0, 0), (0, 0), (0, MOST - drawn.shape[-1]))),
    }


def edge_frame(frame: Example, *, least: int = 3) -> Example:
    """A frame of `open_boundaries` with a label: 1 where `agreed` has an edge, 0 where nobody drew one, else 2."""
    found = agreed(frame["boundaries"], least=least)
    label = np.where(found["valid"] > 0, found["edge"], EDGES.ignore).astype(np.int32)
    return {"image": frame["image"], "label": label}


def edge_example(example: Example) -> Example:
    """The example of an `edge_frame` with its label as "edge" and "valid" float32 [h, w, 1], which losses take."""
    label = example["label"]
    return {
        "image": example["image"],
        "edge": (label == 1).astype(np.float32),
        "valid": (label != EDGES.ignore).astype(np.float32),
    }
