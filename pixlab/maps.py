"""Predicted maps as files at the size of the photo that they were predicted from."""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from pixlab.colours import distinct_colours, labels_to_rgb
from pixlab.errors import UserError
from pixlab.metrics.crops import Crop, onto_frame
from pixlab.pictures import colour, normals_to_rgb


def files(
    photo: np.ndarray, prediction: Mapping[str, np.ndarray], *, covers: Crop | None = None
) -> dict[str, np.ndarray]:
    """Depth and normals, those that are predicted: `depth_files` and `normal_files`."""
    writers = {"depth": depth_files, "normal": normal_files}
    made = (write(photo, prediction[name], covers=covers) for name, write in writers.items() if name in prediction)
    return {name: file for files in made for name, file in files.items()}


def depth_files(photo: np.ndarray, depth: np.ndarray, *, covers: Crop | None = None) -> dict[str, np.ndarray]:
    """Depth [h, w, 1] in metres at the photo's size, bilinear: "depth" uint16 millimetres, "depth_colour" to look at.

    `covers` is the part of the photo that the map covers; the edges are repeated outside it. 0 mm never occurs, 65535
    stands for anything farther.
    """
    metres = np.asarray(onto_frame(jnp.asarray(depth), *photo.shape[:2], resize="bilinear", covers=covers))
    millimetres = np.clip(np.rint(metres[..., 0] * 1000), 1, 65535).astype(np.uint16)
    low, high = np.quantile(metres, [0.01, 0.99])
    shown = colour(metres[..., 0], low=float(low), high=float(max(high, low + 1e-3)))
    return {"depth": millimetres, "depth_colour": shown}


def normal_files(photo: np.ndarray, normal: np.ndarray, *, covers: Crop | None = None) -> dict[str, np.ndarray]:
    """Unit normals [h, w, 3] at the photo's size as a picture: "normal"."""
    enlarged = np.asarray(onto_frame(jnp.asarray(normal), *photo.shape[:2], resize="bilinear", covers=covers))
    return {"normal": normals_to_rgb(enlarged / np.maximum(np.linalg.norm(enlarged, axis=-1, keepdims=True), 1e-6))}


def label_files(
    photo: np.ndarray,
    label: np.ndarray,
    *,
    classes: int,
    covers: Crop | None = None,
    ignore: int = 0,
    palette: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Class numbers [h, w, 1] at the photo's size, nearest pixel: "label" uint8, "label_colour" to look at.

    `classes` counts them with 0; each has its colour, of `palette` [classes, 3] if that is given, but `ignore` is grey.
    `covers` is the part of the photo that the map covers; the edges are repeated outside it. Raises UserError for more
    than 256 classes.
    """
    if classes > 256:
        raise UserError(f"{classes} classes do not fit an 8-bit picture: use 256 or fewer, 0 included")
    palette = distinct_colours(classes) if palette is None else palette
    enlarged = onto_frame(jnp.asarray(label, jnp.float32), *photo.shape[:2], resize="nearest", covers=covers)
    numbers = np.asarray(enlarged)[..., 0].astype(np.uint8)
    return {"label": numbers, "label_colour": labels_to_rgb(numbers, palette, ignore=ignore)}
