"""What experiments on membranes share: options, data, scores, what is drawn and written."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from pixlab import pictures
from pixlab.colours import distinct_colours
from pixlab.core import Batch, Metric
from pixlab.data.membrane_examples import Kept, train_window, weighted_frame, whole_slice
from pixlab.data.membranes import MEMBRANES, in_grey, open_membranes
from pixlab.data.pipeline import Data, Example, Split
from pixlab.losses.segmentation import class_counts, median_frequency_weights
from pixlab.metrics.membranes import membrane_scores
from pixlab.metrics.partition import segments
from pixlab.nn.overlap_tile import overlap_tile
from pixlab.nn.self_ensemble import self_ensembled
from pixlab.options import Options

COUNTED = 100  # training slices, evenly spread, that classes are balanced by
COLOURS = 64  # of cells; further ones begin again
LARGEST = np.iinfo(np.uint16).max

Interior = Callable[
    [jax.Array], jax.Array
]  # grey values [b, h, w, 1] in [0, 1] -> the probability of cell in the middle


@dataclasses.dataclass(frozen=True)
class MembraneOptions(Options):
    """Options of the data, whatever the network."""

    source: str = "isbi2012"
    """Slices: isbi2012, isbi2012:PATH, or rooms with their outlines."""
    window: int = 572
    """Rows and columns of the windows that are trained on, with what the network loses at their borders."""
    tile: int = 572
    """Rows and columns, at most, that are seen at once of a whole slice, with the same."""
    ensemble: bool = False
    """Whether answers are means over the eight ways to lay a slice down."""
    border: float = 10.0
    """How much more than others the thinnest membranes between two cells count."""
    sigma: float = 5.0
    """Pixels, of the distances to the two nearest cells; membranes that are much wider count as all others."""
    deviation: float = 10.0
    """Standard deviation in pixels of the displacements that bend windows, at 3x3 nodes; 0: none."""
    grey: float = 0.1
    """Largest change of grey values in training, as a factor and as a shift."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the network computes in; parameters, losses and scores are float32."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(0, "border", "deviation", "grey")
        self.at_least(0.01, "sigma")


def data(config: MembraneOptions, *, answer: int, cells: bool) -> Data:
    """Random windows to train on, see `train_window`, and whole slices to score."""
    train, test = (open_membranes(config.source, split).source for split in ("train", "test"))
    balance = (1.0, 1.0) if answer == 1 else class_balance(config.source)  # single pixels are drawn balanced
    weigh = functools.partial(weighted_frame, w0=config.border, sigma=config.sigma, class_weights=balance)
    sizes = dict(window=config.window, answer=answer, deviation=config.deviation, grey=config.grey)
    change = functools.partial(train_window, **sizes, cells=cells)
    splits = {"train": Split(Kept(train, weigh), whole_slice, change), "test": Split(test, whole_slice, alone=True)}
    return Data(batch=config.batch, splits=splits, workers=config.workers)


@functools.cache
def class_balance(source: str) -> tuple[float, float]:
    """Weights of membrane and cell by median frequency in the training slices."""
    slices = open_membranes(source, "train").source
    some = range(0, len(slices), -(-len(slices) // COUNTED))
    counts = sum(class_counts(slices[i]["label"], classes=2, ignore=None) for i in some)
    membrane, cell = median_frequency_weights(counts)
    return float(membrane), float(cell)


def whole(config: MembraneOptions, interior: Interior, image: jax.Array, *, margin: int, step: int) -> Batch:
    """The prediction for slices of any size, tile by tile, see `overlap_tile`, of a network's answer to one."""

    def tiled(image: jax.Array) -> jax.Array:
        return overlap_tile(interior, image, tile=config.tile, margin=margin, multiple=step)

    return {"interior": self_ensembled(tiled, image) if config.ensemble else tiled(image)}


def metrics() -> Mapping[str, Metric]:
    """Scores of the membranes."""
    return {"membrane": membrane_scores()}


def untrained(config: MembraneOptions, data: Data) -> Mapping[str, Any]:
    """What needs no network: no membrane anywhere, and the grey values, for membranes are dark."""
    return {
        "no membrane": lambda params, carry, batch: {"interior": jnp.ones_like(batch["image"])},
        "grey values": lambda params, carry, batch: {"interior": batch["image"]},
    }


def render(example: Example, prediction: Batch) -> dict[str, np.ndarray]:
    """Slice, true and predicted membranes, wrong pixels."""
    rgb, label = np.repeat(example["image"], 3, axis=-1), (prediction["interior"] > 0.5).astype(np.int32)
    names, palette = MEMBRANES.names, MEMBRANES.colours
    return {"membrane": pictures.label_strip(rgb, example["label"], label, names, ignore=None, palette=palette)}


def photo(config: MembraneOptions, image: np.ndarray) -> Example:
    """Anyone's slice or photo, uint8 RGB [h, w, 3], in grey, divided by 255, float32 [h, w, 1]."""
    return {"image": np.float32(in_grey(image)) / 255}


def export(config: MembraneOptions, image: np.ndarray, prediction: Batch) -> dict[str, np.ndarray]:
    """What `python -m pixlab predict` writes, at the photo's size: the probability of membrane, from black to white;
    and, at a threshold of 0.5, the cells by number (16 bits, the largest is 1, membrane 0), and in colours."""
    interior = np.asarray(prediction["interior"])[..., 0]
    cells = by_size(segments(interior > 0.5))
    palette = np.concatenate([np.zeros((1, 3), np.uint8), distinct_colours(COLOURS)])
    shown = palette[np.where(cells > 0, 1 + (cells - 1) % COLOURS, 0)]
    return {"membrane": np.uint8(255 * (1 - interior) + 0.5), "cells": cells, "cells_colour": shown}


def by_size(parts: np.ndarray) -> np.ndarray:
    """Connected parts, numbered anew from the largest to the smallest, uint16; those after the 65,535th become 0."""
    sizes = np.bincount(parts.ravel(), minlength=1)[1:]
    rank = np.zeros(len(sizes) + 1, np.int64)
    rank[1 + np.argsort(-sizes, kind="stable")] = np.arange(1, len(sizes) + 1)
    return np.where(rank > LARGEST, 0, rank).astype(np.uint16)[parts]
