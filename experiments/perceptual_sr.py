"""Super-resolution by what a classifier sees in a picture, instead of by its pixels.

Johnson, Alahi & Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV 2016 (arXiv
1603.08155), section 4.2. Their style transfer is experiments/perceptual_style.py.

    python -m experiments.perceptual_sr                                         minutes on a laptop: the pixels' loss
    python -m experiments.perceptual_sr x4 --weights timm/vgg16.tv_in1k         the paper's
    python -m experiments.perceptual_sr x4_pixel                                the same network, by its pixels

A feed-forward network learns to make pictures whose features after VGG-16's second block (relu2_2) are those of the
truth. Its PSNR is lower than that of the same network trained on pixels; edges are sharper.

What differs from the paper: photos are made small by bicubic interpolation as for the other experiments, without the
Gaussian blur before; answers are not matched to the small photo's histogram afterwards; scores are of 8-bit luminance
as EDSR's; VGG-16's weights are PyTorch's, not Caffe's. MS-COCO's photos are to be given as `--source photos:PATH`; the
default is DIV2K's.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax.numpy as jnp
import optax

from pixlab import superres_task
from pixlab.core import Aux, Objective, Recipe, Stage
from pixlab.data.pipeline import Data
from pixlab.data.superres import Crop
from pixlab.errors import UserError
from pixlab.losses.perceptual import feature_loss
from pixlab.losses.reconstruction import l2
from pixlab.models.johnson import SuperResolutionNet
from pixlab.models.vgg import VGGFeatures
from pixlab.net import Net, init_all
from pixlab.pretrained.files import read_weights
from pixlab.pretrained.imagenet import vgg_features
from pixlab.run import Experiment
from pixlab.superres_task import SuperresOptions

LAYER = "relu2_2"


@dataclasses.dataclass(frozen=True)
class Config(SuperresOptions):
    """Super-resolution with a perceptual loss."""

    source: str = "div2k"
    test: str = "set5"
    scale: int = 4
    batch: int = 4
    """Crops per step."""
    patch: int = 72
    """Rows and columns of crops, in pixels of low resolution."""
    blocks: int = 4
    """Residual blocks."""
    width: int = 64
    """Feature maps."""
    loss: Literal["features", "pixels"] = "features"
    """Which mean squared error: of VGG-16's features or of the colours."""
    weights: str = ""
    """ImageNet weights of VGG-16: a local file or a Hugging Face id."""
    steps: int = 200_000
    """Steps of training."""
    lr: float = 1e-3
    """Adam's rate."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "blocks", "width", "steps")
        self.at_least(8, "patch")
        self.at_least(0, "lr")
        self.one_of("scale", (4, 8))
        if (self.loss == "features") != bool(self.weights):
            raise UserError("VGG-16's weights and --loss features belong together: --weights FILE, or --loss pixels")


PAPER = Config(weights="timm/vgg16.tv_in1k")
CONFIGS = {
    "quick": Config(
        source="rooms", test="rooms", loss="pixels", batch=8, patch=16, blocks=2, width=16, steps=600, save_every=200
    ),
    "x4": PAPER,
    "x8": dataclasses.replace(PAPER, scale=8, patch=36),
    "x4_pixel": dataclasses.replace(PAPER, loss="pixels", weights=""),
    "x8_pixel": dataclasses.replace(PAPER, scale=8, patch=36, loss="pixels", weights=""),
}
ABOUT = {
    "quick": "Minutes on a laptop: a small network on pictures of procedural rooms, by its pixels.",
    "x4": "The paper's x4, by features.",
    "x8": "The paper's x8, by features.",
    "x4_pixel": "The paper's x4, by pixels.",
    "x8_pixel": "The paper's x8, by pixels.",
}


def networks(config: Config) -> dict[str, Net]:
    """What enlarges and, for features, VGG-16, which is never trained."""
    low, high = (1, config.patch, config.patch, 3), (1, *[config.patch * config.scale] * 2, 3)
    kind = jnp.dtype(config.dtype)
    module = SuperResolutionNet(config.scale, config.blocks, config.width)
    nets = {"enlarge": Net("enlarge", module, (low,), kind)}
    if config.loss == "features":
        nets["vgg"] = Net("vgg", VGGFeatures(16, (LAYER,)), (high,), kind)
    return nets


def recipe(config: Config) -> Recipe:
    """The stage, the loss, the scores."""
    nets = networks(config)

    def loss(params, carry, batch, key):
        made, moved = nets["enlarge"](params, carry, batch["image"], train=True, key=key)
        if config.loss == "pixels":
            return l2(made, batch["high"]), Aux(moved)
        seen = [nets["vgg"](params, carry, x)[0][LAYER] for x in (made, batch["high"])]
        return feature_loss(*seen), Aux(moved)

    def predict(params, carry, batch):
        return {"high": nets["enlarge"](params, carry, batch["image"])[0]}

    def pretrained(params):
        return params | {"vgg": vgg_features(read_weights(config.weights), nets["vgg"].module)}

    stage = Stage(config.steps, {config.loss: Objective(("enlarge",), loss, optax.adam(config.lr))})
    start = pretrained if "vgg" in nets else lambda params: params
    scores = superres_task.metrics(config, "colour")
    return Recipe(init_all(*nets.values()), (stage,), predict, scores, superres_task.render, start)


def data(config: Config) -> Data:
    """Random crops to train on, and whole photos to score."""
    return superres_task.data(config, "colour", Crop(config.patch))


def tiles(config: Config):
    """See superres_task.tiles: two pixels for each block and what comes before and after them."""
    return superres_task.tiles(config, 2 * config.blocks + 9, config.width)


experiment = Experiment(
    "experiments.perceptual_sr",
    CONFIGS,
    recipe,
    data,
    baselines=superres_task.bicubic,
    paper="x4",
    about=ABOUT,
    photo=superres_task.colour_photo,
    export=superres_task.colour_export,
    tiles=tiles,
)
main = experiment.main

if __name__ == "__main__":
    main()
