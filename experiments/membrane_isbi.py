"""Membranes of nerve cells in electron microscopy, on the slices of ISBI 2012.

Ronneberger, Fischer & Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015 (arXiv
1505.04597), and the network N4 of Ciresan, Giusti, Gambardella & Schmidhuber, "Deep Neural Networks Segment Neuronal
Membranes in Electron Microscopy Images", NIPS 2012.

    python -m experiments.membrane_isbi                    minutes on a laptop, on the outlines of procedural rooms
    python -m experiments.membrane_isbi unet               the paper's (python -m pixlab data prepare isbi2012)
    python -m experiments.membrane_isbi ciresan
    python -m experiments.membrane_isbi unet_few --source isbi2012:PATH

The U-Net learns from one large window at a time, bent at random, in which the thin membranes between two cells count
more; N4 from windows of 95x95 pixels whose middle is as often membrane as cell. Both answer for whole slices, of any
size, tile by tile, mirrored at the border. With `malis_steps` either learns on by MALIS (Turaga et al., NIPS 2009): an
affinity is the lower of two neighbours' probabilities to be cell.

What differs from the papers: the labels of the challenge's test stack are secret, so that the last 6 of its 30 labelled
slices are scored here, and the other 24 are trained on; scores are those of pixlab/metrics/membranes.py, the warping
error is not among them. Windows are turned by quarters and mirrored, not turned by any angle. The U-Net's loss is
divided by the sum of its weights, classes are balanced by median frequency, and rate and number of steps are not in the
paper; its average over seven turned slices is over eight here, and only with `ensemble`. N4 has ReLUs, sees plain
windows (nothing is blurred towards their rim), and is one network, not the average of four whose outputs are
calibrated; its rate, batch and steps are ours. `quick` and `few` learn by Adam.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pixlab import pictures
from pixlab.colours import distinct_colours, labels_to_rgb
from pixlab.core import Aux, Batch, Metric, Objective, Recipe, Stage
from pixlab.data.membrane_examples import Kept, train_window, weighted_frame, whole_slice
from pixlab.data.membranes import MEMBRANES, in_grey, open_membranes
from pixlab.data.pipeline import Data, Example, Split
from pixlab.errors import UserError
from pixlab.losses.malis import malis_loss
from pixlab.losses.segmentation import class_counts, median_frequency_weights, softmax_cross_entropy
from pixlab.metrics.membranes import membrane_scores
from pixlab.metrics.partition import segments
from pixlab.models.ciresan2012 import N4, STEP, WINDOW
from pixlab.models.unet import UNet, valid_size
from pixlab.net import Net
from pixlab.nn.overlap_tile import overlap_tile
from pixlab.nn.self_ensemble import self_ensembled
from pixlab.options import Options
from pixlab.run import Experiment

COUNTED = 100  # training slices, evenly spread, that classes are balanced by
# Table 1 of U-Net, on the secret test stack: Rand error, pixel error
PUBLISHED = {"unet": ("U-Net, test stack", 0.0382, 0.0611), "n4": ("IDSIA, test stack", 0.0504, 0.0613)}


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """Cell membranes in electron microscopy (U-Net, MICCAI 2015; Ciresan et al., NIPS 2012)."""

    source: str = "isbi2012"
    """Slices: rooms (their outlines), isbi2012, isbi2012:PATH."""
    net: Literal["unet", "n4"] = "unet"
    """Network."""
    width: float = 1.0
    """Channels relative to the published ones."""
    levels: int = 4
    """Times that the U-Net halves its maps."""
    window: int = 572
    """Rows and columns of the windows that are trained on; 95 of n4: one pixel, as the paper."""
    tile: int = 572
    """Rows and columns that are seen at once of a whole slice, at most."""
    ensemble: bool = False
    """Whether answers are means over the eight ways to lay a slice down."""
    border: float = 10.0
    """How much more than others the thinnest membranes between two cells count."""
    sigma: float = 5.0
    """Half the width in pixels of membranes that still count more."""
    deviation: float = 10.0
    """Standard deviation in pixels of the displacements that bend windows, at 3x3 nodes; 0: none."""
    grey: float = 0.1
    """Largest change of grey values in training, as a factor and as a shift."""
    optimiser: Literal["adam", "sgd"] = "sgd"
    """sgd: momentum 0.99 of unet, 0.9 of n4. adam. Either with cosine decay."""
    lr: float = 1e-3
    """Rate."""
    steps: int = 30_000
    """Steps of training."""
    malis_steps: int = 0
    """Further steps by MALIS."""
    malis_lr: float = 1e-4
    """Adam's rate in them."""
    batch: int = 1
    """Windows per step."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the network computes in; parameters, losses and scores are float32."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "steps", "levels")
        self.at_least(0, "lr", "border", "deviation", "grey", "malis_steps", "malis_lr")
        self.at_least(0.01, "width", "sigma")
        for size in (self.window, self.tile):
            if self.net == "unet":
                valid_size(size, self.levels)
            elif size != WINDOW and (size < WINDOW or (size - WINDOW + 1) % STEP):
                raise UserError(f"n4 takes windows of {WINDOW} or {STEP}*k + {WINDOW - 1} pixels, not of {size}")
        if self.tile == WINDOW:
            raise UserError(f"--tile {self.tile}: give at least {WINDOW - 1 + STEP}")
        if self.malis_steps and self.answer == 1:
            raise UserError(f"--malis-steps needs neighbours: give a --window above {WINDOW}")

    @property
    def margin(self) -> int:
        """Pixels on each side of a window that the network gives no answer for."""
        return (self.tile - valid_size(self.tile, self.levels)) // 2 if self.net == "unet" else WINDOW // 2

    @property
    def answer(self) -> int:
        """Rows and columns of a window's answer."""
        return self.window - 2 * self.margin


FEW = Config(width=0.25, window=316, tile=572, deviation=6, optimiser="adam", save_every=250)
CIRESAN = Config(net="n4", window=95, tile=350, border=0, deviation=0, grey=0, batch=100, lr=1e-2, steps=300_000)
CONFIGS = {
    "quick": Config(
        source="rooms", width=0.125, levels=3, window=188, tile=188, deviation=3, optimiser="adam", lr=3e-3, batch=4,
        steps=300, save_every=100, eval_every=150,
    ),
    "unet": Config(),
    "ciresan": CIRESAN,
    "unet_few": dataclasses.replace(FEW, lr=1e-3, steps=2000, eval_every=1000),
    "ciresan_few": dataclasses.replace(
        CIRESAN, width=0.5, batch=32, grey=0.1, optimiser="adam", lr=1e-3, steps=4000, save_every=250, eval_every=2000
    ),
    "unet_malis": Config(malis_steps=3000),
}  # fmt: skip
ABOUT = {
    "quick": "Minutes on a laptop: an eighth of the U-Net's channels, three levels, on the outlines of rooms.",
    "unet": "The U-Net as published: windows of 572 pixels, one at a time.",
    "ciresan": "N4, one of the four networks that Ciresan et al. average, on windows of one pixel's neighbourhood.",
    "unet_few": "A quarter of the U-Net's channels on smaller windows, for machines without a GPU.",
    "ciresan_few": "Half of N4's channels on fewer windows, for machines without a GPU.",
    "unet_malis": "The U-Net, then 3,000 steps by MALIS.",
}


def data(config: Config) -> Data:
    """Random windows to train on, whole slices to score."""
    try_open = lambda split: open_membranes(config.source, split).source  # noqa: E731
    weigh = functools.partial(weighted_frame, w0=config.border, sigma=config.sigma, class_weights=balance(config))
    sizes = dict(window=config.window, answer=config.answer, deviation=config.deviation, grey=config.grey)
    change = functools.partial(train_window, **sizes, cells=config.malis_steps > 0)
    train = Split(Kept(try_open("train"), weigh), whole_slice, change)
    return Data(config.batch, {"train": train, "test": Split(try_open("test"), whole_slice)}, config.workers)


def balance(config: Config) -> tuple[float, float]:
    """Weights of membrane and cell: by median frequency, alike where windows are drawn so."""
    return (1.0, 1.0) if config.answer == 1 else _balance(config.source)


@functools.cache
def _balance(source: str) -> tuple[float, float]:
    slices = open_membranes(source, "train").source
    some = range(0, len(slices), -(-len(slices) // COUNTED))
    counts = sum(class_counts(slices[i]["label"], classes=2, ignore=None) for i in some)
    return tuple(median_frequency_weights(counts).tolist())


def recipe(config: Config) -> Recipe:
    """The stages, the losses, the scores."""
    learns, answers = nets(config)
    step = 2**config.levels if config.net == "unet" else STEP

    def loss(params, carry, batch, key):
        logits, moved = learns(params, carry, _centred(batch["image"]), train=True, key=key)
        return softmax_cross_entropy(logits, batch["label"], batch["weight"]), Aux(moved)

    def malis(params, carry, batch, key):
        logits, moved = learns(params, carry, _centred(batch["image"]), train=True, key=key)
        return malis_loss(affinities(_interior(logits)), batch["cells"]), Aux(moved)

    def predict(params, carry, batch):
        def interior(image):
            return _interior(answers(params, carry, image)[0])

        def whole(image):
            return overlap_tile(interior, image, tile=config.tile, margin=config.margin, multiple=step)

        image = _centred(batch["image"])
        return {"interior": self_ensembled(whole, image) if config.ensemble else whole(image)}

    stages = [Stage(config.steps, {config.net: Objective((config.net,), loss, optimiser(config))})]
    if config.malis_steps:
        tx = optax.adam(optax.cosine_decay_schedule(config.malis_lr, config.malis_steps))
        stages.append(Stage(config.malis_steps, {"malis": Objective((config.net,), malis, tx)}))
    return Recipe(learns.init, tuple(stages), predict, metrics(config), render)


def nets(config: Config) -> tuple[Net, Net]:
    """The network as it learns and as it answers, with the same parameters."""
    shapes, dtype = ((1, config.window, config.window, 1),), jnp.dtype(config.dtype)
    if config.net == "unet":
        module = UNet(2, base=max(1, round(64 * config.width)), levels=config.levels, padding="VALID")
        return (Net("unet", module, shapes, dtype),) * 2
    dense = N4(padding="VALID", width=config.width)
    patches = N4(dense=False, width=config.width)
    return Net("n4", patches if config.answer == 1 else dense, shapes, dtype), Net("n4", dense, shapes, dtype)


def _centred(image: jax.Array) -> jax.Array:
    return (image - 0.5) / 0.2


def _interior(logits: jax.Array) -> jax.Array:
    return jax.nn.softmax(logits)[..., 1:]


def affinities(interior: jax.Array) -> jax.Array:
    """[b, h, w, 1] -> [b, h, w, 2]: the lower probability of each pixel and the one above it, and left of it."""
    above = jnp.roll(interior, 1, axis=1)
    before = jnp.roll(interior, 1, axis=2)
    return jnp.minimum(interior, jnp.concatenate([above, before], axis=-1))


def optimiser(config: Config) -> optax.GradientTransformation:
    """The paper's, or Adam."""
    rate = optax.cosine_decay_schedule(config.lr, config.steps)
    return optax.adam(rate) if config.optimiser == "adam" else optax.sgd(rate, 0.99 if config.net == "unet" else 0.9)


def metrics(config: Config) -> Mapping[str, Metric]:
    """Scores of the membranes."""
    return {"membrane": membrane_scores()}


def baselines(config: Config, data: Data) -> Mapping[str, Any]:
    """What needs no network: no membrane anywhere, and grey values, for membranes are dark."""
    return {
        "no membrane": lambda params, carry, batch: {"interior": jnp.ones_like(batch["image"])},
        "grey values": lambda params, carry, batch: {"interior": batch["image"]},
    }


def render(example: Example, prediction: Batch) -> dict[str, np.ndarray]:
    """Slice, true and predicted membranes, wrong pixels."""
    label = (prediction["interior"] > 0.5).astype(np.int32)
    rgb, known = np.repeat(example["image"], 3, axis=-1), MEMBRANES
    strip = pictures.label_strip(rgb, example["label"], label, known.names, ignore=None, palette=known.colours)
    return {"membrane": strip}


def published(config: Config) -> dict[str, dict[str, float]]:
    """The paper's row, of another stack."""
    if not config.source.startswith("isbi2012"):
        return {}
    name, rand, pixel = PUBLISHED[config.net]
    return {name: {"membrane/pixel_error": pixel, "membrane/isbi_rand_error": rand}}


def photo(config: Config, image: np.ndarray) -> Example:
    """Anyone's slice in grey, divided by 255, float32 [h, w, 1]."""
    return {"image": np.float32(in_grey(image)) / 255}


def export(config: Config, image: np.ndarray, prediction: Batch) -> dict[str, np.ndarray]:
    """What `python -m pixlab predict` writes: the probability of membrane, black 0 to white 1; the cells by number, the
    largest first, and in colours, membrane 0 and black."""
    interior = np.asarray(prediction["interior"][..., 0])
    parts = segments(interior > 0.5)
    sizes = np.bincount(parts.ravel())[1:]
    rank = np.zeros(len(sizes) + 1, np.int64)
    rank[1 + np.argsort(-sizes, kind="stable")] = np.arange(1, len(sizes) + 1)
    cells = np.where(rank > np.iinfo(np.uint16).max, 0, rank).astype(np.uint16)[parts]
    palette = np.concatenate([np.zeros((1, 3), np.uint8), distinct_colours(64)])
    colours = palette[np.where(cells > 0, 1 + (cells - 1) % 64, 0)]
    return {"membrane": np.round(255 * (1 - interior)).astype(np.uint8), "cells": cells, "cells_colour": colours}


experiment = Experiment(
    "experiments.membrane_isbi",
    CONFIGS,
    recipe,
    data,
    baselines=baselines,
    published=published,
    paper=lambda config: {"unet": "unet", "n4": "ciresan"}[config.net],
    about=ABOUT,
    photo=photo,
    export=export,
)
main = experiment.main

if __name__ == "__main__":
    main()
