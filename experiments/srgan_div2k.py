"""Super-resolution that looks sharp, against a network that tells made pictures from real ones.

SRGAN: Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR 2017
(arXiv 1609.04802).

    python -m experiments.srgan_div2k                                             minutes on a laptop, to see it work
    python -m experiments.srgan_div2k vgg54 --weights timm/vgg19.tv_in1k          the paper's

Three stages: the generator, SRResNet, alone, by its mean squared error; then generator and discriminator in turn, one
step each, at one rate and at a tenth of it. The generator's loss is the distance from the truth in what a VGG-19
trained on ImageNet sees, plus 0.001 times what the discriminator thinks of it. Watch `probability_real` and
`probability_fake` of the discriminator in metrics.csv: both at a half means that it cannot tell.

PSNR falls against SRResNet's: the point of the paper. `python -m experiments.perceptual_scores` measures what rises.

What differs from the paper: DIV2K's 800 photos instead of ImageNet's; tests are cut and measured as EDSR's, not by the
paper's own program; the adversarial loss is a mean over the batch, not a sum; in a step the generator goes first, and
the discriminator sees the pictures that it made for that. VGG-19's weights are PyTorch's, whose features are of another
scale than those that the factor 1 / 12.75 was found for. `quick` compares colours, not features, since VGG's weights
are a download.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax.numpy as jnp
import optax

from experiments.sr_published import reported_as
from pixlab import superres_task
from pixlab.core import Aux, Objective, Recipe, Stage
from pixlab.data.pipeline import Data
from pixlab.data.superres import Crop
from pixlab.errors import UserError
from pixlab.losses.adversarial import discriminator_loss, generator_loss, statistics
from pixlab.losses.perceptual import vgg_loss
from pixlab.losses.reconstruction import l2
from pixlab.models.srgan import Discriminator
from pixlab.models.srresnet import SRResNet
from pixlab.models.vgg import VGGFeatures
from pixlab.net import Net, init_all
from pixlab.pretrained.files import read_weights
from pixlab.pretrained.imagenet import vgg_features
from pixlab.run import Experiment
from pixlab.superres_task import SuperresOptions

LAYERS = {"vgg22": "relu2_2", "vgg54": "relu5_4"}


@dataclasses.dataclass(frozen=True)
class Config(SuperresOptions):
    """Super-resolution by SRGAN."""

    source: str = "div2k"
    test: str = "set5"
    scale: int = 4
    batch: int = 16
    """Crops per step."""
    patch: int = 24
    """Rows and columns of crops, in pixels of low resolution."""
    blocks: int = 16
    """Residual blocks of the generator."""
    width: int = 64
    """Feature maps of the generator's, and of the discriminator's first, convolution."""
    content: Literal["vgg54", "vgg22", "mse"] = "vgg54"
    """What the generator has to match, beside fooling the discriminator."""
    adversarial: float = 1e-3
    """Weight of fooling the discriminator."""
    weights: str = ""
    """ImageNet weights of VGG-19: a local file or a Hugging Face id."""
    warm_steps: int = 1_000_000
    """Steps of the generator alone."""
    steps: int = 100_000
    """Steps against one another, and as many again at a tenth of the rate."""
    lr: float = 1e-4
    """Adam's rate."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "blocks", "width", "warm_steps", "steps")
        self.at_least(8, "patch")
        self.at_least(0, "lr", "adversarial")
        self.one_of("scale", (2, 4))
        if self.content != "mse" and not self.weights:
            raise UserError(f"--content {self.content} needs VGG-19's weights: --weights FILE, or timm/vgg19.tv_in1k")
        if self.content == "mse" and self.weights:
            raise UserError("--weights are for --content vgg54 or vgg22; with mse there is no VGG-19")


PAPER = Config(weights="timm/vgg19.tv_in1k")
CONFIGS = {
    "quick": Config(
        source="rooms", test="rooms", content="mse", batch=8, patch=12, blocks=2, width=16, lr=5e-4, warm_steps=600,
        steps=150, save_every=150,
    ),
    "vgg54": PAPER,
    "vgg22": dataclasses.replace(PAPER, content="vgg22"),
    "mse": dataclasses.replace(PAPER, content="mse", weights=""),
}  # fmt: skip
ABOUT = {
    "quick": "Minutes on a laptop: a small generator on pictures of procedural rooms, without VGG-19.",
    "vgg54": "The paper's SRGAN: what VGG-19's last convolution sees.",
    "vgg22": "SRGAN-VGG22: what its fourth convolution sees.",
    "mse": "SRGAN-MSE: colours, and the adversary.",
}


def networks(config: Config) -> dict[str, Net]:
    """Generator, discriminator and, where it is asked, VGG-19, which is never trained."""
    low, high = (1, config.patch, config.patch, 3), (1, *[config.patch * config.scale] * 2, 3)
    kind = jnp.dtype(config.dtype)
    nets = {
        "generator": Net("generator", SRResNet(config.scale, config.blocks, config.width), (low,), kind),
        "discriminator": Net("discriminator", Discriminator(config.width), (high,), kind),
    }
    if config.content != "mse":
        nets["vgg"] = Net("vgg", VGGFeatures(19, (LAYERS[config.content],)), (high,), kind)
    return nets


def recipe(config: Config) -> Recipe:
    """The stages, the losses, the scores."""
    nets = networks(config)
    generator, discriminator = nets["generator"], nets["discriminator"]

    def warm_loss(params, carry, batch, key):
        made, moved = generator(params, carry, batch["image"], train=True, key=key)
        return l2(made, batch["high"]), Aux(moved)

    def real_or_made(params, carry, batch, key):
        real, moved = discriminator(params, carry, batch["high"], train=True, key=key)
        fake, moved = discriminator(params, carry | moved, batch["made"], train=True, key=key)
        logs = {f"discriminator/{name}": value for name, value in statistics(real, fake).items()}
        return discriminator_loss(real, fake), Aux(moved, logs)

    def content(params, carry, made, truth):
        if config.content == "mse":
            return 4 * l2(made, truth)  # of pictures in [-1, 1], as the paper's
        layer = LAYERS[config.content]
        return vgg_loss(*(nets["vgg"](params, carry, x)[0][layer] for x in (made, truth)))

    def fooling(params, carry, batch, key):
        made, moved = generator(params, carry, batch["image"], train=True, key=key)
        fake, _ = discriminator(params, carry, made, train=True, key=key)
        parts = {"content": content(params, carry, made, batch["high"]), "adversarial": generator_loss(fake)}
        logs = {f"generator/{name}": value for name, value in parts.items()}
        return parts["content"] + config.adversarial * parts["adversarial"], Aux(moved, logs, {"made": made})

    def against(rate):
        adam = optax.adam(rate, b1=0.9)
        return {
            "generator": Objective(("generator",), fooling, adam),
            "discriminator": Objective(("discriminator",), real_or_made, adam),
        }

    def predict(params, carry, batch):
        return {"high": generator(params, carry, batch["image"])[0]}

    warm = {"warm-up": Objective(("generator",), warm_loss, optax.adam(config.lr, b1=0.9))}
    stages = (
        Stage(config.warm_steps, warm),
        Stage(config.steps, against(config.lr)),
        Stage(config.steps, against(config.lr / 10)),
    )
    scores = superres_task.metrics(config, "colour")
    return Recipe(init_all(*nets.values()), stages, predict, scores, superres_task.render, pretrained(config, nets))


def pretrained(config: Config, nets: dict[str, Net]):
    """A function of the random parameters: the same with VGG-19's published ones, if it is there."""

    def start(params):
        return params | {"vgg": vgg_features(read_weights(config.weights), nets["vgg"].module)}

    return start if "vgg" in nets else lambda params: params


def data(config: Config) -> Data:
    """Random crops to train on, and whole photos to score."""
    return superres_task.data(config, "colour", Crop(config.patch))


def reported(config: Config) -> dict[str, dict[str, float]]:
    """What the papers report on these photos."""
    (column,) = superres_task.metrics(config, "colour")
    return reported_as(column, ("SRResNet", "SRGAN"), config.test, config.scale)


def tiles(config: Config):
    """See superres_task.tiles: two pixels for each block and what comes before and after them."""
    return superres_task.tiles(config, 2 * config.blocks + 10, config.width)


experiment = Experiment(
    "experiments.srgan_div2k",
    CONFIGS,
    recipe,
    data,
    baselines=superres_task.bicubic,
    published=reported,
    paper="vgg54",
    about=ABOUT,
    photo=superres_task.colour_photo,
    export=superres_task.colour_export,
    tiles=tiles,
)
main = experiment.main

if __name__ == "__main__":
    main()
