"""Membranes of nerve cells in electron microscopy, on the slices of ISBI 2012.

Ronneberger, Fischer & Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015 (arXiv
1505.04597), and the network N4 of Ciresan, Giusti, Gambardella & Schmidhuber, "Deep Neural Networks Segment Neuronal
Membranes in Electron Microscopy Images", NIPS 2012.

    python -m experiments.membrane_isbi                    minutes on a laptop, on the outlines of procedural rooms
    python -m experiments.membrane_isbi unet               the paper's (python -m pixlab data prepare isbi2012)
    python -m experiments.membrane_isbi ciresan
    python -m experiments.membrane_isbi unet_few --source isbi2012:PATH

The U-Net learns from one large window at a time, bent at random, in which the thin membranes between two cells count
more; N4 from the middle pixels of windows of 95x95, as often of membrane as of cell. Both answer for whole slices of
any size tile by tile, mirrored at the border. With `malis_steps` they learn on by MALIS (Turaga et al., NIPS 2009): an
affinity is the lower of two neighbours' probabilities to be cell.

What differs from the papers: the labels of the challenge's test stack are secret, so that the last 6 of its 30 labelled
slices are scored here, and the other 24 are trained on; the warping error is not among the scores. Windows are turned
by quarters and mirrored, not turned by any angle. The U-Net's loss is divided by the sum of its weights, classes are
balanced by median frequency, and rate and number of steps are not in the paper; its average over seven turned slices is
over eight here, and only with `ensemble`. N4 has ReLUs, sees plain windows (nothing is blurred towards their rim), and
is one network, not the average of four whose outputs are calibrated; its rate, batch and steps are ours. `quick` and
the two for machines without a GPU learn by Adam; `ciresan_few` learns the 64x64 pixels in the middle of larger windows
at once, classes weighted.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import optax

from pixlab import membrane_task
from pixlab.core import Aux, Objective, Recipe, Stage
from pixlab.data.pipeline import Data
from pixlab.errors import UserError
from pixlab.losses.malis import lower_of_two, malis_loss
from pixlab.losses.segmentation import softmax_cross_entropy
from pixlab.membrane_task import MembraneOptions
from pixlab.models import ciresan2012, unet
from pixlab.net import Net
from pixlab.run import Experiment

# U-Net's table of the challenge, on the secret test stack: Rand error, pixel error
PUBLISHED = {"unet": ("U-Net, test stack", 0.0382, 0.0611), "n4": ("IDSIA, test stack", 0.0504, 0.0613)}


@dataclasses.dataclass(frozen=True)
class Config(MembraneOptions):
    """Cell membranes in electron microscopy (U-Net, MICCAI 2015; Ciresan et al., NIPS 2012)."""

    net: Literal["unet", "n4"] = "unet"
    """Network."""
    width: float = 1.0
    """Channels relative to the published ones."""
    levels: int = 4
    """How many times the U-Net halves its maps."""
    optimiser: Literal["adam", "sgd"] = "sgd"
    """sgd: with the paper's momentum. Either with cosine decay."""
    momentum: float = 0.99
    """Of SGD."""
    lr: float = 1e-3
    """Rate."""
    steps: int = 30_000
    """Steps of training."""
    malis_steps: int = 0
    """Further steps, by MALIS."""
    malis_lr: float = 1e-4
    """Adam's rate in them."""
    batch: int = 1
    """Windows per step."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "steps", "levels")
        self.at_least(0, "lr", "momentum", "malis_steps", "malis_lr")
        self.at_least(0.01, "width")
        answer, rows = self.answer, self.valid(self.tile)
        if rows < self.step:
            raise UserError(f"--tile {self.tile}: has {rows} rows of answers; give one with {self.step} or more")
        if self.malis_steps and answer == 1:
            raise UserError(f"--malis-steps {self.malis_steps}: pixels need neighbours, give a larger --window")

    def valid(self, size: int) -> int:
        """Rows of the answer to as many rows. Raises UserError where they do not fit the network."""
        return unet.valid_size(size, self.levels) if self.net == "unet" else ciresan2012.valid_size(size)

    @property
    def answer(self) -> int:
        """Rows and columns of a window's answer."""
        return self.valid(self.window)

    @property
    def margin(self) -> int:
        """Pixels on each side of a window that the network gives no answer for."""
        return (self.window - self.answer) // 2

    @property
    def step(self) -> int:
        """Pixels that tiles are apart by a multiple of."""
        return 2**self.levels if self.net == "unet" else ciresan2012.STEP


CIRESAN = Config(
    net="n4", window=95, tile=350, border=0, deviation=0, grey=0, batch=100, momentum=0.9, lr=1e-2, steps=300_000
)
CONFIGS = {
    "quick": Config(
        source="rooms", width=0.125, levels=3, window=156, tile=188, deviation=3, optimiser="adam", lr=3e-3, batch=4,
        steps=300, save_every=100, eval_every=150,
    ),
    "unet": Config(),
    "unet_malis": Config(malis_steps=3000),
    "ciresan": CIRESAN,
    "unet_few": Config(
        width=0.25, window=380, deviation=7, optimiser="adam", steps=5500, save_every=250, eval_every=2750
    ),
    "ciresan_few": dataclasses.replace(
        CIRESAN, width=0.5, window=158, batch=2, grey=0.1, optimiser="adam", lr=1e-3, steps=4500, save_every=250,
        eval_every=2250,
    ),
}  # fmt: skip
ABOUT = {
    "quick": "Minutes on a laptop: an eighth of the U-Net's channels, three levels, on the outlines of rooms.",
    "unet": "The U-Net as published: windows of 572 pixels, one at a time.",
    "unet_malis": "The U-Net, then 3,000 steps by MALIS.",
    "ciresan": "N4, one of the four networks that Ciresan et al. average, on windows around single pixels.",
    "unet_few": "A quarter of the U-Net's channels on smaller windows, for machines without a GPU.",
    "ciresan_few": "Half of N4's channels on windows of 64x64 pixels at once, for machines without a GPU.",
}


def data(config: Config) -> Data:
    """Windows to train on, whole slices to score."""
    return membrane_task.data(config, answer=config.answer, cells=config.malis_steps > 0)


def recipe(config: Config) -> Recipe:
    """The stages, the losses, the scores."""
    learns, answers = nets(config)

    def loss(params, carry, batch, key):
        logits, moved = learns(params, carry, centred(batch["image"]), train=True, key=key)
        return softmax_cross_entropy(logits, batch["label"], batch["weight"]), Aux(moved)

    def malis(params, carry, batch, key):
        logits, moved = learns(params, carry, centred(batch["image"]), train=True, key=key)
        return malis_loss(lower_of_two(jax.nn.softmax(logits)[..., 1:]), batch["cells"]), Aux(moved)

    def predict(params, carry, batch):
        def interior(image):
            return jax.nn.softmax(answers(params, carry, centred(image))[0])[..., 1:]

        return membrane_task.whole(config, interior, batch["image"], margin=config.margin, step=config.step)

    stages = [Stage(config.steps, {config.net: Objective((config.net,), loss, optimiser(config))})]
    if config.malis_steps:
        tx = optax.adam(optax.cosine_decay_schedule(config.malis_lr, config.malis_steps))
        stages.append(Stage(config.malis_steps, {"malis": Objective((config.net,), malis, tx)}))
    return Recipe(learns.init, tuple(stages), predict, membrane_task.metrics(), membrane_task.render)


def nets(config: Config) -> tuple[Net, Net]:
    """The network as it learns and as it answers, with the same parameters."""
    shapes, dtype = ((1, config.window, config.window, 1),), jnp.dtype(config.dtype)
    if config.net == "unet":
        module = unet.UNet(2, base=max(1, round(64 * config.width)), levels=config.levels, padding="VALID")
        return Net("unet", module, shapes, dtype), Net("unet", module, shapes, dtype)
    dense = ciresan2012.N4(padding="VALID", width=config.width)
    learns = ciresan2012.N4(dense=False, width=config.width) if config.answer == 1 else dense
    return Net("n4", learns, shapes, dtype), Net("n4", dense, shapes, dtype)


def centred(image: jax.Array) -> jax.Array:
    """Grey values in [0, 1] to about zero mean and unit variance."""
    return (image - 0.5) / 0.2


def optimiser(config: Config) -> optax.GradientTransformation:
    """The paper's, or Adam."""
    rate = optax.cosine_decay_schedule(config.lr, config.steps)
    return optax.adam(rate) if config.optimiser == "adam" else optax.sgd(rate, config.momentum)


def published(config: Config) -> dict[str, dict[str, float]]:
    """The network's row in U-Net's table, of another stack."""
    if config.source != "isbi2012":  # isbi2012:PATH may be slices of anything
        return {}
    name, rand, pixel = PUBLISHED[config.net]
    return {name: {"membrane/isbi_pixel_error": pixel, "membrane/isbi_rand_error": rand}}


experiment = Experiment(
    "experiments.membrane_isbi",
    CONFIGS,
    recipe,
    data,
    baselines=membrane_task.untrained,
    published=published,
    paper=lambda config: {"unet": "unet", "n4": "ciresan"}[config.net],
    about=ABOUT,
    photo=membrane_task.photo,
    export=membrane_task.export,
)
main = experiment.main

if __name__ == "__main__":
    main()
