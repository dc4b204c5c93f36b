"""Depth from one image with a U-Net: a plain baseline beside the systems made for depth.

The network of Ronneberger, Fischer & Brox, MICCAI 2015, padded so that the map has the image's size, with one output:
log-depth. One stage, one loss to choose: that of Eigen & Fergus 2015, the mean absolute error, or the reverse Huber
loss of Laina et al. 2016, all of log-depth. Nobody published this combination, so there are no figures beside it.

    python -m experiments.depth_nyu_unet                       minutes on a laptop, on procedural rooms
    python -m experiments.depth_nyu_unet quick --loss berhu    another loss
    python -m experiments.depth_nyu_unet nyu                   on NYU Depth v2 (python -m pixlab data list)

The network is convolutional: a trained run takes images of any size from a third of 2^levels pixels up.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax.numpy as jnp
import numpy as np
import optax

from pixlab import baselines, maps, pictures
from pixlab.core import Aux, Objective, Recipe, Stage
from pixlab.data.pipeline import Data
from pixlab.data.rgbd import photo_example, rgbd_data
from pixlab.losses.depth import berhu_loss, eigen_fergus_loss, l1_loss, log_target
from pixlab.metrics.crops import Crop
from pixlab.metrics.depth import depth_metrics
from pixlab.models.unet import UNet
from pixlab.net import Net, init_all
from pixlab.run import Experiment
from pixlab.train import Options

MEAN_LOG_DEPTH = 0.82474  # on NYU Depth v2: where predictions start
LOSSES = {"eigen_fergus": eigen_fergus_loss, "l1": l1_loss, "berhu": berhu_loss}


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """Depth by a U-Net."""

    source: str = "nyu_depth_v2"
    """Frames: rooms, nyu_depth_v2, nyu_labeled or rgbd_folder:PATH."""
    loss: Literal["eigen_fergus", "l1", "berhu"] = "eigen_fergus"
    """Loss on log-depth."""
    base: int = 64
    """Filters of the first level, doubled at each of the others."""
    levels: int = 4
    """How often the image is halved."""
    frame: tuple[int, int] = (240, 320)
    """Rows and columns that frames are brought to."""
    crop: tuple[int, int] = (224, 304)
    """Rows and columns of the network's input in training."""
    truth: tuple[int, int] = (480, 640)
    """Rows and columns at which predictions are scored."""
    zoom: float = 1.5
    """Largest enlargement in augmentation (depth is divided by it)."""
    steps: int = 60_000
    """Steps of training."""
    lr: float = 1e-4
    """Adam's rate, which decays to 0 along a cosine."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the network computes in; parameters, losses and scores are float32."""


CONFIGS = {
    "quick": Config(
        source="rooms", base=8, frame=(120, 160), crop=(112, 144), truth=(120, 160), zoom=1.0, batch=8, lr=1e-3,
        steps=500, save_every=200, eval_every=250,
    ),
    "nyu": Config(batch=16),
    "l1": Config(batch=16, loss="l1"),
    "berhu": Config(batch=16, loss="berhu"),
}  # fmt: skip


def recipe(config: Config) -> Recipe:
    """The one stage, the loss, the scores."""
    module = UNet(1, base=config.base, levels=config.levels, bias=MEAN_LOG_DEPTH)
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

    tx = optax.adam(optax.cosine_decay_schedule(config.lr, config.steps))
    region = covered(config)
    metrics = {"depth": depth_metrics(covers=region, crop=region)}
    stages = (Stage(config.steps, {"depth": Objective(("unet",), loss, tx)}),)
    return Recipe(init_all(net), stages, predict, metrics, renderer(config))


def covered(config: Config) -> Crop:
    """The part of the frame that the output covers: the central crop, all of it."""
    top, left = ((frame - crop) // 2 for frame, crop in zip(config.frame, config.crop, strict=True))
    return Crop(top, top + config.crop[0], left, left + config.crop[1], *config.frame)


def data(config: Config) -> Data:
    """Frames augmented as in Eigen, Puhrsch & Fergus 2014."""
    sizes = dict(frame=config.frame, crop=config.crop, truth=config.truth)
    return rgbd_data(config.source, **sizes, batch=config.batch, workers=config.workers, maps=("depth",),
                     zoom=config.zoom)  # fmt: skip


def answers(config: Config, data: Data) -> dict:
    """What needs no network: the training set's mean."""
    rows, _ = covered(config).slices(*config.truth)
    return baselines.means(data, rows=rows)


def renderer(config: Config):
    """Strips of input, truth, prediction and error, of the part that the output covers."""
    rows, columns = covered(config).slices(*config.truth)

    def render(example, prediction) -> dict[str, np.ndarray]:
        true, valid = (example[name][rows, columns] for name in ("depth", "valid"))
        return {"depth": pictures.depth_strip(example["image"], true, valid, prediction["depth"])}

    return render


def photo(config: Config, image: np.ndarray) -> dict[str, np.ndarray]:
    """A photo at the size that the network was trained at, so that things are as large as it knows them."""
    return photo_example(image, crop=config.crop)


def export(config: Config, image: np.ndarray, prediction) -> dict[str, np.ndarray]:
    """What `python -m pixlab predict` writes, at the photo's size: depth in mm and in colour."""
    return maps.depth_files(image, prediction["depth"])


experiment = Experiment(
    "experiments.depth_nyu_unet", CONFIGS, recipe, data, baselines=answers, paper="nyu", photo=photo, export=export
)
main = experiment.main

if __name__ == "__main__":
    main()
