"""Frames of people: pure numpy transforms of one, picture and joints together.

A frame has "image" uint8 [H, W, 3] and "joints" float32 [k, 2], (x, y) in pixels, the centre of the top-left pixel at
(0, 0), NaN for a joint that nobody labelled; joints may lie outside the picture. Other entries pass unchanged. Where
people are many, `warp` and `example` take "joints" [p, k, 2] as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

Frame = dict[str, Any]
SIDES = ("left", "right")
TORSO = tuple(f"{side}_{pair}" for pair in ("shoulder", "hip") for side in SIDES)


def counterparts(joints: Sequence[str]) -> Int[np.ndarray, k]:
    """For each joint the index of the one on the body's other side: left_X and right_X; itself where there is none."""
    sides, index = {"left": "right", "right": "left"}, {joint: i for i, joint in enumerate(joints)}
    parts = [joint.partition("_") for joint in joints]
    return np.array([index[f"{sides.get(side, side)}{bar}{rest}"] for side, bar, rest in parts])


def observer_centric(
    places: Float[np.ndarray, "k 2"], joints: Sequence[str], by: str = "hip"
) -> Float[np.ndarray, "k 2"]:
    """Joints named as if everybody faced the viewer: sides change names where the left `by` lies left of the right one.

    Tompson et al. 2014 train and score on FLIC so. Unlabelled `by` leaves the names.
    """
    left, right = (places[list(joints).index(f"{side}_{by}"), 0] for side in ("left", "right"))
    return places[counterparts(joints)] if left < right else places


def warp(
    frame: Frame,
    joints: Sequence[str],
    *,
    size: tuple[int, int],
    middle: tuple[float, float],
    scale: float = 1.0,
    degrees: float = 0.0,
    mirror: bool = False,
) -> Frame:
    """Enlarge by `scale` and turn clockwise about `middle` (x, y), which comes to the middle of `size` (h, w); mirror.

    Mirrored people have left and right exchanged, in the picture and in the names. What falls outside is black.
    """
    (h, w), sign = size, -1.0 if mirror else 1.0
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    forth = scale * np.array([[sign * cos, -sign * sin], [sin, cos]])
    back = np.linalg.inv(forth)
    to = np.array([(w - 1) / 2, (h - 1) / 2])
    places = (frame["joints"] - middle) @ forth.T + to
    shift = np.add(middle, 0.5) - back @ (to + 0.5)  # PIL counts from the corner of the first pixel
    image = Image.fromarray(frame["image"])
    if scale <= 0.5:  # the average of what a pixel covers, or small things come and go
        image = image.reduce(times := int(1 / scale))
        back, shift = back / times, shift / times
    (a, b), (d, e) = back.tolist()
    coefficients = (a, b, shift[0], d, e, shift[1])
    image = image.transform((w, h), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    places = places[..., counterparts(joints), :] if mirror else places
    return frame | {"image": np.asarray(image), "joints": places.astype(np.float32)}


def torso(places: Float[np.ndarray, "k 2"], joints: Sequence[str]) -> tuple[Float[np.ndarray, 2], float]:
    """(the middle between the shoulders' middle and the hips', the distance from the left hip to the right shoulder).

    Of a pair of which one joint is labelled, that one is its middle; without the distance, that from the right hip to
    the left shoulder is taken. NaN where the labels do not suffice.
    """
    at = {joint: places[list(joints).index(joint)] for joint in TORSO}
    middles = []
    for pair in ("shoulder", "hip"):
        known = [at[f"{side}_{pair}"] for side in SIDES if np.isfinite(at[f"{side}_{pair}"]).all()]
        middles.append(np.mean(known, 0) if known else np.full(2, np.nan))
    across = (np.linalg.norm(at[f"{a}_hip"] - at[f"{b}_shoulder"]) for a, b in (SIDES, SIDES[::-1]))
    return np.mean(middles, 0), float(next((length for length in across if np.isfinite(length)), np.nan))


def view(frame: Frame, size: tuple[int, int], around: float = 0.0) -> tuple[tuple[float, float], float]:
    """(middle, scale) for `warp` that bring the whole picture into `size`, or with `around` the square of so many torso
    heights around the person (see `body`), where the torso is labelled."""
    h, w = frame["image"].shape[:2]
    if around and np.isfinite([*frame["torso"], frame["height"]]).all() and frame["height"] > 0:
        return tuple(map(float, frame["torso"])), min(size) / (around * frame["height"])
    return ((w - 1) / 2, (h - 1) / 2), min(size[0] / h, size[1] / w)


def example(frame: Frame) -> Frame:
    """For a batch: "image" float32 in [0, 1]; "known", 1 for joints that are finite, 0 for others, which are 0."""
    known = np.isfinite(frame["joints"]).all(-1)
    places = np.where(known[..., None], frame["joints"], 0).astype(np.float32)
    image = frame["image"].astype(np.float32) / np.float32(255)
    return frame | {"image": image, "joints": places, "known": known.astype(np.float32)}
