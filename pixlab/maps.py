"""Predicted maps as files at the size of the photo that they were predicted from."""

from __future__ import annotations

import numpy as np

from pixlab.metrics.crops import Crop, onto_frame
from pixlab.pictures import colour, normals_to_rgb


def depth_files(photo: np.ndarray, depth: np.ndarray, *, covers: Crop | None = None) -> dict[str, np.ndarray]:
    """Depth [h, w, 1] in metres at the photo's size, bilinear: "depth" uint16 millimetres, "depth_colour" to look at.

    `covers` is the part of the photo that the map covers; the edges are repeated outside it. 0 mm never occurs, 65535
    stands for anything farther.
    """
    metres = np.asarray(onto_frame(depth, *photo.shape[:2], resize="bilinear", covers=covers))
    millimetres = np.clip(np.rint(metres[..., 0] * 1000), 1, 65535).astype(np.uint16)
    low, high = np.quantile(metres, [0.01, 0.99])
    shown = colour(metres[..., 0], low=float(low), high=float(max(high, low + 1e-3)))
    return {"depth": millimetres, "depth_colour": shown}


def normal_files(photo: np.ndarray, normal: np.ndarray, *, covers: Crop | None = None) -> dict[str, np.ndarray]:
    """Unit normals [h, w, 3] at the photo's size as a picture: "normal"."""
    enlarged = np.asarray(onto_frame(normal, *photo.shape[:2], resize="bilinear", covers=covers))
    return {"normal": normals_to_rgb(enlarged / np.maximum(np.linalg.norm(enlarged, axis=-1, keepdims=True), 1e-6))}
