"""Depth from one image with a U-Net: a plain baseline beside the systems made for depth.

The network of Ronneberger, Fischer & Brox, MICCAI 2015, padded so that the map has the image's size, with one output:
log-depth. One stage, one loss to choose: that of Eigen & Fergus 2015, the mean absolute error, or the reverse Huber
loss of Laina et al. 2016, all of log-depth. Nobody published this combination, so there are no figures beside it.

    python -m experiments.depth_nyu_unet                       minutes on a laptop, on procedural rooms
    python -m experiments.depth_nyu_unet quick --loss berhu    another loss
    python -m experiments.depth_nyu_unet nyu                   on NYU Depth v2 (python -m pixlab data list)

The network is convolutional and would take an image of any size, but a photo is brought to the size of training first:
what a thing's size in pixels says about its distance is learnt at that size.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax

from pixlab import maps, pictures, rgbd_task
from pixlab.core import Aux, Objective, Recipe, Stage
from pixlab.data.pipeline import Data
from pixlab.losses.depth import berhu_loss, eigen_fergus_loss, l1_loss, log_target
from pixlab.metrics.crops import Crop
from pixlab.metrics.depth import depth_metrics
from pixlab.models.unet import UNet
from pixlab.net import Net, init_all
from pixlab.rgbd_task import RgbdOptions
from pixlab.run import Experiment

MEAN_LOG_DEPTH = 0.82474  # on NYU Depth v2: where predictions start
LOSSES = {"eigen_fergus": eigen_fergus_loss, "l1": l1_loss, "berhu": berhu_loss}


@dataclasses.dataclass(frozen=True)
class Config(RgbdOptions):
    """Depth by a U-Net."""

    loss: Literal["eigen_fergus", "l1", "berhu"] = "eigen_fergus"
    """Loss on log-depth."""
    base: int = 64
    """Filters of the first level, doubled at each of the others."""
    levels: int = 4
    """How often the image is halved."""
    dropout: float = 0.5
    """Part of the features of the two smallest levels that a step of training leaves out."""
    crop: tuple[int, int] = (224, 304)
    steps: int = 60_000
    """Steps of training."""
    lr: float = 1e-4
    """Adam's rate, which decays to 0 along a cosine."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "base", "levels", "steps")
        self.at_least(0, "lr", "dropout")


CONFIGS = {
    "quick": Config(
        source="rooms", base=8, dropout=0.0, frame=(120, 160), crop=(112, 144), truth=(120, 160), zoom=1.0, batch=8,
        lr=1e-3, steps=500, save_every=200, eval_every=250,
    ),
    "nyu": Config(batch=16),
    "frames": Config(  # the labelled frames alone: what a machine without a GPU can train
        source="nyu_labeled", base=16, dropout=0.0, truth=(240, 320), zoom=1.1, batch=8, lr=5e-4,
        steps=500, save_every=100, eval_every=250, log_every=5,
    ),
    "l1": Config(batch=16, loss="l1"),
    "berhu": Config(batch=16, loss="berhu"),
}  # fmt: skip

ABOUT = {
    "quick": "Minutes on a laptop, on procedural rooms.",
    "nyu": "All of NYU Depth v2.",
    "frames": "The labelled frames alone: for machines without a GPU.",
    "l1": "All of NYU Depth v2, with the mean absolute error.",
    "berhu": "All of NYU Depth v2, with the reverse Huber loss.",
}


def recipe(config: Config) -> Recipe:
    """The one stage, the loss, the scores."""
    start = dict(bias=MEAN_LOG_DEPTH, out_init=nn.initializers.normal(0.01))  # at the mean, without the image's texture
    module = UNet(1, base=config.base, levels=config.levels, rate=config.dropout, **start)
    net = Net("unet", module, ((1, *config.crop, 3),), jnp.dtype(config.dtype))

    def log_depth(params, carry, image, **mode):
        small = image - 0.5  # nothing inside normalises: with unit variance the first log-depths would be far off
        return net(params, carry, small, **mode)[0]

    def loss(params, carry, batch, key):
        out = log_depth(params, carry, batch["image"], train=True, key=key)
        target = log_target(batch["depth"], batch["valid"])
        return LOSSES[config.loss](out, target, batch["valid"]), Aux()

    def predict(params, carry, batch):
        return {"depth": jnp.exp(log_depth(params, carry, batch["image"]))}

    def render(example, prediction):
        return pictures.strips(*rgbd_task.scored(config, part(config), example), prediction)

    tx = optax.adam(optax.cosine_decay_schedule(config.lr, config.steps))
    region = part(config).in_middle_of(config.frame)
    metrics = {"depth": depth_metrics(covers=region, crop=region)}
    stages = (Stage(config.steps, {"depth": Objective(("unet",), loss, tx)}),)
    return Recipe(init_all(net), stages, predict, metrics, render)


def part(config: Config) -> Crop:
    """The part of the input that the output covers: all of it."""
    return Crop(0, config.crop[0], 0, config.crop[1], *config.crop)


def data(config: Config) -> Data:
    """Frames with depth."""
    return rgbd_task.data(config, ("depth",))


def answers(config: Config, data: Data) -> dict:
    """What needs no network: the training set's mean."""
    return rgbd_task.means(config, part(config), data)


def export(config: Config, image: np.ndarray, prediction) -> dict[str, np.ndarray]:
    """What `python -m pixlab predict` writes, at the photo's size: depth in mm and in colour."""
    return maps.files(image, prediction)


experiment = Experiment(
    "experiments.depth_nyu_unet",
    CONFIGS,
    recipe,
    data,
    baselines=answers,
    about=ABOUT,
    photo=rgbd_task.photo,
    export=export,
)
main = experiment.main

if __name__ == "__main__":
    main()
