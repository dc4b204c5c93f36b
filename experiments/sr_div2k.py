"""Super-resolution of colour photos by deep residual networks, from DIV2K's 800.

EDSR and MDSR: Lim, Son, Kim, Nah & Lee, "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPR
Workshops 2017 (arXiv 1707.02921). SRResNet: Ledig et al., CVPR 2017 (arXiv 1609.04802).

    python -m experiments.sr_div2k                      minutes on a laptop: a small EDSR, x2, on procedural rooms
    python -m experiments.sr_div2k edsr_baseline_x2
    python -m experiments.sr_div2k edsr_x4 --start runs/sr_div2k-edsr_x2
    python -m pixlab evaluate runs/sr_div2k-edsr_x2 --source set5

Random crops of 48x48 pixels of low resolution, turned and mirrored, and the mean absolute error; SRResNet has 24x24, as
they are, and the mean squared error. With `--start`, x3 and x4 begin with what the finished network for x2 has learnt.
Photos that are scored are shrunk to 8 bits as MATLAB does; DIV2K is scored by RGB, the other sets by the luminance of
the 8-bit answer. `--ensemble` predicts with the mean over eight flips and transpositions, the paper's EDSR+;
`experiments.sr_table RUN --ensemble` scores a run so without training it again. MDSR answers at the --scale that it was
given; that table has all three.

What differs from the papers: losses are of colours in [0, 1], not 0..255, which Adam hardly notices; batches of large
error are learnt from, which the first release skips. MDSR draws one enlargement per step, as its release does, but
Adam's momentum moves the others too. SRResNet learns from DIV2K, not from ImageNet, and its tests are cut and measured
as EDSR's, not by the paper's own program.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import optax

from experiments.sr_published import reported_as
from pixlab import superres_task
from pixlab.core import Aux, Objective, Recipe, Stage
from pixlab.data.pipeline import Data
from pixlab.data.superres import Crop
from pixlab.errors import UserError
from pixlab.losses.reconstruction import l1, l2
from pixlab.models.edsr import EDSR
from pixlab.models.mdsr import MDSR
from pixlab.models.srresnet import SRResNet
from pixlab.net import Net
from pixlab.nn.self_ensemble import self_ensembled
from pixlab.run import Experiment, started
from pixlab.superres_task import SuperresOptions

SCALES = (2, 3, 4)  # MDSR's


@dataclasses.dataclass(frozen=True)
class Config(SuperresOptions):
    """Super-resolution of colour photos by residual networks."""

    source: str = "div2k"
    test: str = "div2k"
    scale: int = 2
    batch: int = 16
    """Crops per step."""
    net: Literal["edsr", "mdsr", "srresnet"] = "edsr"
    """Network; mdsr learns x2, x3 and x4 at once and is scored at --scale."""
    blocks: int = 16
    """Residual blocks."""
    width: int = 64
    """Feature maps."""
    residual_scale: float = 1.0
    """What EDSR multiplies each block's residual by."""
    patch: int = 48
    """Rows and columns of crops, in pixels of low resolution."""
    steps: int = 300_000
    """Steps of training."""
    lr: float = 1e-4
    """Adam's rate."""
    halve: int = 200_000
    """Steps after which the rate is halved, again and again; 0: never."""
    start: str = ""
    """Folder of a finished run whose parameters to start from, where they fit."""
    ensemble: bool = False
    """Predict with the mean over eight flips and transpositions (EDSR+)."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "blocks", "width", "steps")
        self.at_least(8, "patch")
        self.at_least(0, "lr", "halve", "residual_scale")
        if self.net == "mdsr":
            self.one_of("scale", SCALES)
        if self.net != "edsr" and self.residual_scale != 1:
            raise UserError(f"--residual-scale is EDSR's; --net {self.net} has none")


BASELINE, FULL = Config(), Config(blocks=32, width=256, residual_scale=0.1)
CONFIGS = {
    "quick": Config(
        source="rooms", test="rooms", blocks=4, width=24, patch=24, batch=8, lr=1e-3, steps=1200, halve=400,
        save_every=300,
    ),
    **{f"edsr_baseline_x{scale}": dataclasses.replace(BASELINE, scale=scale) for scale in SCALES},
    **{f"edsr_x{scale}": dataclasses.replace(FULL, scale=scale) for scale in SCALES},
    "mdsr": Config(net="mdsr", blocks=80, steps=650_000),
    "mdsr_baseline": Config(net="mdsr", steps=650_000),
    "srresnet": Config(net="srresnet", scale=4, patch=24, steps=1_000_000, halve=0, test="set5"),
    "few": Config(
        source="t91", test="set5", batch=4, patch=32, lr=2e-4, steps=6000, halve=2000, save_every=500, eval_every=3000
    ),
}  # fmt: skip
ABOUT = {
    "quick": "Minutes on a laptop: a small EDSR, x2, on pictures of procedural rooms.",
    **{f"edsr_baseline_x{scale}": f"EDSR's baseline of 16 blocks, x{scale}." for scale in SCALES},
    **{
        f"edsr_x{scale}": f"EDSR of 32 wide blocks, x{scale}{', to begin by --start' * (scale > 2)}."
        for scale in SCALES
    },
    "mdsr": "MDSR of 80 blocks for x2, x3 and x4; --scale says which is scored.",
    "mdsr_baseline": "MDSR of 16 blocks.",
    "srresnet": "SRResNet, x4: SRGAN's generator without its adversary.",
    "few": "EDSR's baseline, x2, from T91 for as long as a machine without a GPU can.",
}


def network(config: Config, scale: int) -> Net:
    """The network that answers at `scale`; MDSR's parameters are those of all scales."""
    module = {
        "edsr": lambda: EDSR(scale, config.blocks, config.width, config.residual_scale),
        "mdsr": lambda: MDSR(SCALES, config.blocks, config.width, scale),
        "srresnet": lambda: SRResNet(scale, config.blocks, config.width),
    }[config.net]()
    return Net(config.net, module, ((1, config.patch, config.patch, 3),), jnp.dtype(config.dtype))


def recipe(config: Config) -> Recipe:
    """The stage, the loss, the scores."""
    net, error = network(config, config.scale), l2 if config.net == "srresnet" else l1

    def loss(params, carry, batch, key):
        out, moved = net(params, carry, batch["image"], train=True, key=key)
        return error(out, batch["high"]), Aux(moved)

    def loss_of_one_scale(params, carry, batch, key):
        def at(scale):
            out, _ = network(config, scale)(params, carry, batch[f"image_x{scale}"], train=True, key=key)
            return error(out, batch[f"high_x{scale}"])

        drawn = jax.random.randint(key, (), 0, len(SCALES))
        return jax.lax.switch(drawn, [lambda scale=scale: at(scale) for scale in SCALES]), Aux()

    def predict(params, carry, batch):
        if "image" not in batch:
            raise UserError("MDSR's training crops are of three scales; score whole photos: --source, or --split test")
        apply = lambda image: net(params, carry, image)[0]  # noqa: E731
        return {"high": self_ensembled(apply, batch["image"]) if config.ensemble else apply(batch["image"])}

    rate = optax.exponential_decay(config.lr, config.halve, 0.5, staircase=True) if config.halve else config.lr
    learnt = loss_of_one_scale if config.net == "mdsr" else loss
    stage = Stage(config.steps, {config.net: Objective((config.net,), learnt, optax.adam(rate))})
    scores = superres_task.metrics(config, "colour")
    return Recipe(net.init, (stage,), predict, scores, superres_task.render, started(config.start))


def data(config: Config) -> Data:
    """Random crops to train on, and whole photos to score."""
    crop = Crop(config.patch, turns=config.net != "srresnet", flips=config.net != "srresnet")
    return superres_task.data(config, "colour", crop, SCALES if config.net == "mdsr" else ())


def reported(config: Config) -> dict[str, dict[str, float]]:
    """What the papers report on these photos."""
    (column,) = superres_task.metrics(config, "colour")
    names = {"edsr": ("EDSR baseline", "EDSR"), "mdsr": ("MDSR",), "srresnet": ("SRResNet",)}[config.net]
    return reported_as(column, names, config.test, config.scale)


def tiles(config: Config):
    """See superres_task.tiles: two pixels for each block and what comes before and after them."""
    around = {"edsr": 5, "mdsr": 13, "srresnet": 10}[config.net]
    return superres_task.tiles(config, 2 * config.blocks + around, config.width)


experiment = Experiment(
    "experiments.sr_div2k",
    CONFIGS,
    recipe,
    data,
    baselines=superres_task.bicubic,
    published=reported,
    paper=lambda config: config.net if config.net != "edsr" else f"edsr_x{min(config.scale, 4)}",
    about=ABOUT,
    photo=superres_task.colour_photo,
    export=superres_task.colour_export,
    tiles=tiles,
)
main = experiment.main

if __name__ == "__main__":
    main()
