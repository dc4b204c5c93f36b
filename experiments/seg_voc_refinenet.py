"""Semantic labels of photos by refining coarse features with finer ones, on PASCAL VOC: RefineNet.

Lin, Milan, Shen & Reid, "RefineNet: Multi-Path Refinement Networks for High-Resolution Semantic Segmentation", CVPR
2017 (arXiv 1611.06612), as the authors' release trains it on VOC's own 1,464 pictures.

    python -m experiments.seg_voc_refinenet                minutes on a laptop, on procedural rooms
    python -m experiments.seg_voc_refinenet resnet50       (python -m pixlab data prepare voc2012)

The ResNet learns at a tenth of the rate; its batch normalisation stays as published. Scores have a quarter of the
picture's rows and columns; labels are brought to that size to learn from, scores to the picture's to predict.

What differs from the release: pictures are not enlarged by 1.2 before, windows are not drawn by class, and each is seen
once in testing, at one size; the rate falls after fixed numbers of steps, which are ours, where the release leaves that
to whoever trains; what is enlarged is so linearly, not by cubic interpolation; normalisation's scales and shifts are
held as well. To learn from and to be scored pictures lie in windows that are black beyond them.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pixlab import seg_task
from pixlab.core import Aux, Batch, Objective, Recipe, Stage
from pixlab.models.refinenet import RefineNet
from pixlab.models.resnet import RESNET50, RESNET101, RESNET152
from pixlab.net import Net
from pixlab.optim import Rule, sgd_by_layer
from pixlab.pretrained import trunks
from pixlab.run import Experiment
from pixlab.seg_task import SegOptions

NET = "refinenet"
BLOCKS = {"resnet14": (1, 1, 1, 1), "resnet50": RESNET50, "resnet101": RESNET101, "resnet152": RESNET152}
PUBLISHED = {"resnet50": 69.1}  # VOC 2012 val, mean IU in per cent that the release says to expect


@dataclasses.dataclass(frozen=True)
class Config(SegOptions):
    """Semantic labels by multi-path refinement (RefineNet, CVPR 2017)."""

    net: Literal["resnet14", "resnet50", "resnet101", "resnet152"] = "resnet50"
    """The ResNet that gives the features; resnet14 is for small trials."""
    width: float = 1.0
    """Channels relative to the published ones."""
    weights: str = ""
    """Published weights of the ResNet, whose normalisation then is held: a file or Hugging Face id; empty: random."""
    optimiser: Literal["adam", "sgd"] = "sgd"
    """sgd: momentum 0.9. adam: with cosine decay."""
    lr: float = 5e-4
    """Rate at the start."""
    trunk_rate: float = 0.1
    """The ResNet learns at this times the rate, with SGD."""
    decay: float = 5e-4
    """Weight decay of SGD."""
    drops: tuple[int, ...] = (90_000, 120_000)
    """Steps after which the rate falls to a tenth."""
    steps: int = 150_000
    """Steps of training."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "steps", "drops")
        self.at_least(0, "lr", "trunk_rate", "decay")
        self.at_least(1 / 64, "width")


CONFIGS = {
    "quick": Config(
        source="rooms", net="resnet14", size=(96, 128), crop=(96, 128), batch=8, width=0.125, optimiser="adam",
        lr=1e-3, steps=300, save_every=150, eval_every=150,
    ),
    "resnet50": Config(
        source="voc2012", test_split="val", keep=True, size=(500, 500), crop=(400, 400), shrink=0.7, zoom=1.3,
        batch=1, weights="timm/resnet50.tv_in1k",
    ),
}  # fmt: skip
ABOUT = {
    "quick": "Minutes on a laptop: four blocks with an eighth of the channels, on procedural rooms.",
    "resnet50": "ResNet-50, on VOC's own training pictures.",
}


def recipe(config: Config) -> Recipe:
    """The stage, the loss, the scores."""
    classes = seg_task.classes(config).count
    module = RefineNet(classes, BLOCKS[config.net], frozen=bool(config.weights), width=config.width)
    net = Net(NET, module, ((1, *config.crop, 3),), jnp.dtype(config.dtype))

    def loss(params, carry, batch, key):
        logits, moved = net(params, carry, batch["image"], train=True, key=key)
        return at_scores(config, logits, batch), Aux(moved)

    def predict(params, carry, batch):
        logits, size = net(params, carry, batch["image"])[0], batch["image"].shape[1:3]
        return {"logits": jax.image.resize(logits, (*logits.shape[:1], *size, classes), "bilinear")}

    def started(params):
        return params | {NET: trunks.frozen_resnet(config.weights, params[NET])} if config.weights else params

    stage = Stage(config.steps, {NET: Objective((NET,), loss, optimiser(config))})
    metrics, render = seg_task.metrics(config), functools.partial(seg_task.render, config)
    return Recipe(net.init, (stage,), predict, metrics, render, started)


def at_scores(config: Config, logits: jax.Array, batch: Batch) -> jax.Array:
    """The cross-entropy of scores of any size, each with the label at the pixel in its middle, or just beyond it: the
    third of the four rows and columns that a score of stride 4 lies on."""
    label = batch["label"]
    rows, columns = (
        ((np.arange(m) + 0.5) * n / m).astype(int) for n, m in zip(label.shape[1:3], logits.shape[1:3], strict=True)
    )
    return seg_task.cross_entropy(config, logits, {"label": label[:, rows][:, :, columns]})


def optimiser(config: Config) -> optax.GradientTransformation:
    """The release's SGD, or Adam."""
    if config.optimiser == "adam":
        return optax.adam(optax.cosine_decay_schedule(config.lr, config.steps))
    rate = optax.piecewise_constant_schedule(config.lr, dict.fromkeys(config.drops, 0.1))
    held = [Rule("/trunk/.*bn|/trunk/bn", 0.0)] if config.weights else []
    rules = [*held, Rule("/trunk/", config.trunk_rate, config.decay), Rule("", 1.0, config.decay)]
    return sgd_by_layer(rules, lr=rate, momentum=0.9)


def published(config: Config) -> dict[str, dict[str, float]]:
    """What the release says to expect of this network."""
    if (config.source, config.test_split) != ("voc2012", "val") or config.net not in PUBLISHED:
        return {}
    return {f"RefineNet, {config.net}": {"label/mean_iu": PUBLISHED[config.net] / 100}}


experiment = Experiment(
    "experiments.seg_voc_refinenet",
    CONFIGS,
    recipe,
    seg_task.data,
    baselines=seg_task.most_frequent,
    published=published,
    paper="resnet50",
    about=ABOUT,
    photo=seg_task.photo,
    export=seg_task.export,
)
main = experiment.main

if __name__ == "__main__":
    main()
