"""Depth from one image on NYU Depth v2, in two scales.

Eigen, Puhrsch & Fergus, "Depth Map Prediction from a Single Image using a Multi-Scale Deep Network", NIPS 2014
(arXiv 1406.2283).

    python -m experiments.depth_nyu_eigen2014                minutes on a laptop, on procedural rooms
    python -m experiments.depth_nyu_eigen2014 coarse_fine    the paper's, on NYU Depth v2 (python -m pixlab data list)

A coarse network sees the whole image; then it is held and a fine one refines its map. Scale-invariant loss.

What differs from the paper: the coarse convolutions start at random, since no published ImageNet file fits their 96
filters. Scores are taken where the map lies; the paper further leaves out what Make3D does not predict.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax

from pixlab import maps, pictures, rgbd_task
from pixlab.core import Aux, Objective, Recipe, Stage
from pixlab.data.pipeline import Data
from pixlab.losses.depth import log_target, scale_invariant_loss
from pixlab.metrics.crops import Crop
from pixlab.metrics.depth import depth_metrics
from pixlab.models.eigen2014 import LOG_DEPTH_MEAN, Coarse, Fine, fine_size
from pixlab.models.eigen_fergus import at_outputs, output_positions
from pixlab.net import Net, init_all
from pixlab.optim import Rule, sgd_by_layer
from pixlab.rgbd_task import RgbdOptions
from pixlab.run import Experiment

COLUMNS = ("delta1", "delta2", "delta3", "abs_rel", "sq_rel", "rmse", "rmse_log", "sc_inv")
PUBLISHED = {  # table 1 of the paper: 654 test frames, trained on the raw set
    "mean": (0.418, 0.711, 0.874, 0.408, 0.581, 1.244, 0.430, 0.304),
    "coarse": (0.618, 0.891, 0.969, 0.228, 0.223, 0.871, 0.283, 0.221),
    "coarse + fine": (0.611, 0.887, 0.971, 0.215, 0.212, 0.907, 0.285, 0.219),
}


@dataclasses.dataclass(frozen=True)
class Config(RgbdOptions):
    """Depth in two scales (Eigen, Puhrsch & Fergus 2014)."""

    width: float = 1.0
    """Channels as a fraction of the paper's."""
    coarse_steps: int = 62_500
    """Steps of the coarse network (2M samples)."""
    fine_steps: int = 46_875
    """Steps of the fine network (1.5M samples); 0: the coarse network alone."""
    optimiser: Literal["sgd", "adam"] = "sgd"
    """sgd: the paper's rate for each kind of layer. adam: one rate with cosine decay, He initialisation."""
    lr: float = 1.0
    """Factor on the paper's rates, or Adam's rate."""
    lam: float = 0.5
    """How little a global scale counts: 0 as much as all else, 1 not at all."""
    pooling: Literal["image", "batch"] = "batch"
    """Scale-invariant term: per image as in the paper's formula, or pooled over the batch as in the release."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1 / 64, "width")
        self.at_least(0, "lr", "fine_steps")
        self.at_least(1, "coarse_steps")


CONFIGS = {
    "quick": Config(
        source="rooms", width=0.25, frame=(120, 160), crop=(114, 152), truth=(120, 160), zoom=1.0, batch=8,
        optimiser="adam", lr=1e-3, coarse_steps=500, fine_steps=200, save_every=200, eval_every=350,
    ),
    "coarse_fine": Config(),
    "coarse": Config(fine_steps=0),
    "frames": Config(  # the labelled frames alone, from random weights: what a machine without a GPU can train
        source="nyu_labeled", truth=(240, 320), zoom=1.1, batch=16, optimiser="adam", lr=2e-4,
        coarse_steps=400, fine_steps=100, save_every=100, eval_every=200, log_every=5,
    ),
}  # fmt: skip

ABOUT = {
    "quick": "Minutes on a laptop: a quarter of the width, on procedural rooms.",
    "coarse_fine": "The paper's.",
    "coarse": "The coarse network alone.",
    "frames": "The labelled frames alone, from random weights: for machines without a GPU.",
}


def networks(config: Config) -> dict[str, Net]:
    """The two scales as networks of their own, so that a stage can hold one still."""
    he = nn.initializers.he_normal() if config.optimiser == "adam" else None  # the paper's assumes an ImageNet trunk
    start = dict(width=config.width, mean_log_depth=LOG_DEPTH_MEAN, kernel_init=he)
    image, coarse = (1, *config.crop, 3), (1, *map(fine_size, config.crop), 1)
    nets = {"coarse": (Coarse(**start), (image,))}
    if config.fine_steps:
        nets["fine"] = Fine(**start), (image, coarse)
    return {name: Net(name, module, shapes, jnp.dtype(config.dtype)) for name, (module, shapes) in nets.items()}


def recipe(config: Config) -> Recipe:
    """The stages, the loss, the scores."""
    nets = networks(config)

    def coarse(params, carry, image, **mode):
        """Log-depth of the whole image, at a quarter of its size."""
        return nets["coarse"](params, carry, image, **mode)[0]

    def fine(params, carry, image, **mode):
        """The coarse map, refined."""
        return nets["fine"](params, carry, image, coarse(params, carry, image), **mode)[0]

    def loss_of(network, name):
        def loss(params, carry, batch, key):
            log_depth = network(params, carry, batch["image"], train=True, key=key)
            depth, valid = (at_outputs(batch[name], 2) for name in ("depth", "valid"))
            target = log_target(depth, valid)
            value = scale_invariant_loss(log_depth, target, valid, lam=config.lam, pooling=config.pooling)
            return value, Aux()

        return {name: Objective((name,), loss, optimiser(config, steps[name]))}

    def predict(params, carry, batch, last=fine if "fine" in nets else coarse):
        return {"depth": jnp.exp(last(params, carry, batch["image"]))}

    steps = {"coarse": config.coarse_steps, "fine": config.fine_steps}
    alone = functools.partial(predict, last=coarse)
    stages = [Stage(steps["coarse"], loss_of(coarse, "coarse"), predict=alone)]
    if "fine" in nets:
        stages.append(Stage(steps["fine"], loss_of(fine, "fine")))

    def render(example, prediction):
        return pictures.strips(*rgbd_task.scored(config, part(config), example), prediction)

    region = part(config).in_middle_of(config.frame)
    metrics = {"depth": depth_metrics(covers=region, crop=region)}
    return Recipe(init_all(*nets.values()), tuple(stages), predict, metrics, render)


def optimiser(config: Config, steps: int) -> optax.GradientTransformation:
    """The paper's SGD with a rate for each kind of layer, or Adam for networks that start at random."""
    if config.optimiser == "adam":
        return optax.adam(optax.cosine_decay_schedule(config.lr, steps))
    rules = [
        Rule("coarse/trunk", 0.001, decay=5e-4),
        Rule("coarse/fc", 0.1, decay=1e-4),
        Rule("fine/conv2", 0.01, decay=1e-4),
        Rule("fine/", 0.001, decay=1e-4),
    ]
    return sgd_by_layer(rules, lr=config.lr, momentum=0.9)


def part(config: Config) -> Crop:
    """The part of the input that the map stands for, in cells of 4x4; rows 10..230, columns 12..308 of the frame in the
    paper."""
    edges = [(int(at[0]) - 1, int(at[-1]) + 3) for at in (output_positions(n, 2) for n in config.crop)]
    return Crop(*edges[0], *edges[1], *config.crop)


def data(config: Config) -> Data:
    """Frames with depth."""
    return rgbd_task.data(config, ("depth",))


def answers(config: Config, data: Data) -> dict:
    """What needs no network: the training set's mean."""
    return rgbd_task.means(config, part(config), data)


def export(config: Config, image: np.ndarray, prediction) -> dict[str, np.ndarray]:
    """What `python -m pixlab predict` writes, at the photo's size: depth in mm and in colour."""
    return maps.files(image, prediction, covers=part(config))


def published(config: Config) -> dict[str, dict[str, float]]:
    """The paper's rows, beside runs on frames of NYU."""
    if config.source == "rooms":
        return {}
    names = [f"depth/{column}" for column in COLUMNS]
    return {row: dict(zip(names, values, strict=True)) for row, values in PUBLISHED.items()}


experiment = Experiment(
    "experiments.depth_nyu_eigen2014",
    CONFIGS,
    recipe,
    data,
    baselines=answers,
    published=published,
    paper="coarse_fine",
    about=ABOUT,
    photo=rgbd_task.photo,
    export=export,
)
main = experiment.main

if __name__ == "__main__":
    main()
