"""Where cats and dogs are in photos, by a U-Net, on the Oxford-IIIT pets: pet, background and the outline between.

The network is the padded form of Ronneberger, Fischer & Brox, "U-Net: Convolutional Networks for Biomedical Image
Segmentation", MICCAI 2015 (arXiv 1505.04597); the set is that of Parkhi, Vedaldi, Zisserman & Jawahar, CVPR 2012. No
paper reports this system: it is the smallest start with photos of your own.

    python -m experiments.seg_pet                          minutes on a laptop, on procedural rooms
    python -m experiments.seg_pet pet                      (python -m pixlab data prepare oxford_iiit_pet)
    python -m experiments.seg_pet few --source label_folder:PATH
"""

from __future__ import annotations

import dataclasses
import functools

import jax.numpy as jnp
import optax

from pixlab import seg_task
from pixlab.core import Aux, Objective, Recipe, Stage
from pixlab.models.unet import UNet
from pixlab.net import Net
from pixlab.run import Experiment
from pixlab.seg_task import SegOptions

NET = "unet"


@dataclasses.dataclass(frozen=True)
class Config(SegOptions):
    """Cats and dogs by a U-Net."""

    source: str = "oxford_iiit_pet_outline"
    """Labelled pictures: oxford_iiit_pet_outline, oxford_iiit_pet (outlines ignored), rooms, label_folder:PATH ..."""
    size: tuple[int, int] = (128, 128)
    """Rows and columns that pictures are brought to; they are seen whole and scored at this size."""
    crop: tuple[int, int] = (128, 128)
    """Rows and columns of the windows that are trained on."""
    batch: int = 64
    """Images per step."""
    base: int = 64
    """Channels at the first level; 64 is published."""
    lr: float = 1e-3
    """Adam's rate, which falls to nothing along a cosine."""
    steps: int = 6000
    """Steps of training."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "base", "steps")
        self.at_least(0, "lr")


CONFIGS = {
    "quick": Config(
        source="rooms", size=(96, 128), crop=(96, 128), batch=8, base=8, steps=400, save_every=200, eval_every=200
    ),
    "pet": Config(),
    "few": Config(batch=16, base=16, steps=1500, save_every=250, eval_every=750),
}
ABOUT = {
    "quick": "Minutes on a laptop: an eighth of the channels, on procedural rooms.",
    "pet": "The published channels, at 128x128.",
    "few": "A quarter of the channels, for machines without a GPU.",
}


def recipe(config: Config) -> Recipe:
    """The stage, the loss, the scores."""
    module = UNet(seg_task.classes(config).count, base=config.base)
    net = Net(NET, module, ((1, *config.crop, 3),), jnp.dtype(config.dtype))

    def loss(params, carry, batch, key):
        logits, _ = net(params, carry, batch["image"], train=True, key=key)
        return seg_task.cross_entropy(config, logits, batch), Aux()

    def predict(params, carry, batch):
        return {"logits": net(params, carry, batch["image"])[0]}

    tx = optax.adam(optax.cosine_decay_schedule(config.lr, config.steps))
    stage = Stage(config.steps, {NET: Objective((NET,), loss, tx)})
    metrics, render = seg_task.metrics(config), functools.partial(seg_task.render, config)
    return Recipe(net.init, (stage,), predict, metrics, render)


experiment = Experiment(
    "experiments.seg_pet",
    CONFIGS,
    recipe,
    seg_task.data,
    baselines=seg_task.most_frequent,
    paper="pet",
    about=ABOUT,
    photo=seg_task.photo,
    export=seg_task.export,
)
main = experiment.main

if __name__ == "__main__":
    main()
