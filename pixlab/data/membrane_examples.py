"""Slices with labelled membranes as examples: windows of mirrored slices, turned, bent and weighted.

Ronneberger, Fischer & Brox, "U-Net", MICCAI 2015 (arXiv 1505.04597), section 3; Ciresan et al., "Deep Neural Networks
Segment Neuronal Membranes in Electron Microscopy Images", NIPS 2012, for windows around single pixels. Windows are
turned by quarters and mirrored, where the U-Net's are turned by any angle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pixlab.data.border_weights import border_weights, components
from pixlab.data.elastic import deform, deform_labels, random_displacement
from pixlab.data.pipeline import Example, Source
from pixlab.nn.overlap_tile import reflected

TRIES = 100  # pixels that are drawn, of which the first of the wanted class is taken


class Kept:
    """A source whose frames are read, and changed by `change`, once and then kept in memory."""

    def __init__(self, source: Source, change: Callable[[Any], Any]):
        self._source, self._change = source, change
        self._frames: dict[int, Any] = {}
        for name in ("record_name", "remedy"):
            if hasattr(source, name):
                setattr(self, name, getattr(source, name))

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Any:
        if index not in self._frames:
            self._frames[index] = self._change(self._source[index])
        return self._frames[index]


def weighted_frame(frame: Example, *, w0: float, sigma: float, class_weights: Sequence[float]) -> Example:
    """A frame of `open_membranes` with "weight" float32 [h, w, 1]: `border_weights` of its cells."""
    cells = components(frame["label"] == 1)
    return {**frame, "weight": border_weights(cells, w0=w0, sigma=sigma, class_weights=class_weights)}


def train_window(
    frame: Example,
    rng: np.random.Generator,
    *,
    window: int,
    answer: int,
    deviation: float = 0.0,
    grey: float = 0.0,
    cells: bool = False,
) -> Example:
    """A random window of a `weighted_frame`, and the truth of the `answer` x `answer` pixels in its middle.

    "image" float32 [window, window, 1]; "label" int32 and "weight" float32 [answer, answer, 1]; with `cells` also
    "cells" int32, the connected cells by number. Beyond the slice it is mirrored. Where the answer is one pixel,
    membrane and cell are as likely. Windows are turned by quarters, mirrored, and bent by a `random_displacement` of
    standard deviation `deviation` pixels; grey values are multiplied by up to 1 +- `grey`, then shifted by up to that.
    """
    label, margin = frame["label"], (window - answer) // 2
    height, width = label.shape[:2]
    if answer == 1:
        kind = rng.integers(2)
        at = rng.integers(label.size, size=TRIES)
        at = next((x for x in at if label.flat[x] == kind), at[0])
        top, left = divmod(int(at), width)
    else:
        top, left = (int(rng.integers(max(n - answer, 0) + 1)) for n in (height, width))
    rows, columns = reflected(height, top - margin, window), reflected(width, left - margin, window)
    turn, mirror = rng.integers(4), rng.integers(2)

    def seen(name: str) -> np.ndarray:
        turned = np.rot90(frame[name][rows[:, None], columns], turn)
        return np.ascontiguousarray(turned[:, ::-1] if mirror else turned)

    image, label, weight = seen("image").astype(np.float32) / 255, seen("label"), seen("weight")
    if deviation:
        moved = random_displacement((window, window), rng, deviation=deviation)
        image, label, weight = deform(image, moved), deform_labels(label, moved), deform_labels(weight, moved)
    gain, shift = rng.uniform(-grey, grey, 2)
    middle = slice(margin, margin + answer)
    label = label[middle, middle].astype(np.int32)
    example = {
        "image": (image * (1 + gain) + shift).astype(np.float32),
        "label": label,
        "weight": weight[middle, middle].astype(np.float32),
    }
    return example | ({"cells": components(label == 1)} if cells else {})


def whole_slice(frame: Example) -> Example:
    """The whole slice: "image" float32 [h, w, 1] in [0, 1], "label" int32 [h, w, 1]."""
    return {"image": frame["image"].astype(np.float32) / 255, "label": frame["label"].astype(np.int32)}
