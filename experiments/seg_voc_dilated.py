"""Semantic labels of photos by dilated convolutions that aggregate context, on PASCAL VOC.

Yu & Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions", ICLR 2016 (arXiv 1511.07122): a front end made
of VGG-16 without its last pools, then a context module, Basic or Large, that starts as the identity.

    python -m experiments.seg_voc_dilated                  minutes on a laptop, on procedural rooms
    python -m experiments.seg_voc_dilated front            (SBD goes with VOC: python -m pixlab data list)
    python -m experiments.seg_voc_dilated large --start runs/seg_voc_dilated-front

The front end learns from windows of 500x500 of reflected pictures, whose inner 128x128 pixels give 16x16 labels; the
context module then from whole reflected pictures, with the front end held still. Cell i lies on pixel 8 i, whose label
it learns.

What differs from the paper: there is no COCO to learn from first; the context module is padded with zeros layer by
layer, and its number of steps is ours.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
import optax

from pixlab import seg_task
from pixlab.core import Aux, Objective, Recipe, Stage
from pixlab.errors import UserError
from pixlab.losses.segmentation import strided_labels
from pixlab.models.context import Context
from pixlab.models.dilated_frontend import MARGIN, STRIDE, FrontEnd, reflected_part
from pixlab.net import Net, init_all
from pixlab.optim import Rule, sgd_by_layer
from pixlab.pretrained import trunks
from pixlab.run import Experiment, started
from pixlab.seg_task import SegOptions

# VOC 2012, mean IU in per cent; on val the front end had learnt from COCO first
PUBLISHED = {
    "none": {"front end, on test": 67.6, "front end, also learnt on COCO": 69.8},
    "basic": {"front end and Basic, also learnt on COCO": 71.3},
    "large": {"front end and Large, also learnt on COCO": 72.1},
}


@dataclasses.dataclass(frozen=True)
class Config(SegOptions):
    """Semantic labels by dilated convolutions (Yu & Koltun 2016)."""

    context: Literal["none", "basic", "large"] = "none"
    """The context module after the front end."""
    width: float = 1.0
    """Channels of the front end relative to the published ones."""
    weights: str = ""
    """Published VGG-16 that the front end starts from: a file or Hugging Face id; empty: random."""
    start: str = ""
    """Run folder of this experiment whose front end training starts from."""
    front_steps: int = 60_000
    """Steps of the front end; 0: none, as --start has one."""
    context_steps: int = 0
    """Steps of the context module after it, the front end held still."""
    optimiser: Literal["adam", "sgd"] = "sgd"
    """sgd: one rate, biases at twice that without decay. adam: with cosine decay."""
    lr: float = 1e-3
    """Rate of the front end."""
    context_lr: float = 1e-3
    """Rate of the context module."""
    momentum: float = 0.9
    """Of SGD."""
    decay: float = 5e-4
    """Weight decay of SGD."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(0, "front_steps", "context_steps", "lr", "context_lr", "momentum", "decay")
        self.at_least(1 / 64, "width")
        self.one_of("margin", (0, MARGIN))
        if self.front_steps + self.context_steps == 0 or (self.context == "none") != (self.context_steps == 0):
            raise UserError("give --front-steps, or --context basic or large with --context-steps, or both")
        if self.margin and min(self.crop) <= 2 * MARGIN:
            raise UserError(f"--margin {MARGIN}: give a --crop larger than {2 * MARGIN}")


VOC = dict(source="voc2012", train_split="trainaug", test_split="val", keep=True, size=(504, 504))
WHOLE = Config(
    **VOC, crop=(504 + 2 * MARGIN, 504 + 2 * MARGIN), margin=MARGIN, batch=60, front_steps=0, context_steps=60_000,
    start="runs/seg_voc_dilated-front",
)  # fmt: skip
CONFIGS = {
    "quick": Config(
        source="rooms", size=(96, 128), crop=(96, 128), batch=8, width=1 / 16, context="basic", front_steps=200,
        context_steps=60, optimiser="adam", save_every=130, eval_every=130,
    ),
    "front": Config(**VOC, crop=(500, 500), margin=MARGIN, batch=14, weights="timm/vgg16.tv_in1k"),
    "basic": dataclasses.replace(WHOLE, context="basic"),
    "large": dataclasses.replace(WHOLE, context="large"),
}  # fmt: skip
ABOUT = {
    "quick": "Minutes on a laptop: a sixteenth of the front end's channels, then Basic, on procedural rooms.",
    "front": "The front end alone.",
    "basic": "The Basic context module on a front end that is trained: --start RUN.",
    "large": "The Large context module on a front end that is trained: --start RUN.",
}


def recipe(config: Config) -> Recipe:
    """The front end's stage, that of the context module, the loss, the scores."""
    classes = seg_task.classes(config).count
    module, dtype = functools.partial(FrontEnd, classes, width=config.width), jnp.dtype(config.dtype)
    front = Net("front", module(), ((1, *config.crop, 3),), dtype)
    crops = Net("front", module(margin=0), ((1, *config.crop, 3),), dtype)  # whose margin the data bring
    nets = [front]
    if config.context != "none":
        nets.append(Net("context", Context(config.context == "large"), ((1, 8, 8, classes),), dtype))

    def learnt(params, carry, batch, **mode):
        inner = slice(config.margin, -config.margin or None)
        scores, _ = (crops if config.margin else front)(params, carry, batch["image"], **mode)
        return scores, {"label": batch["label"][:, inner, inner]}

    def front_loss(params, carry, batch, key):
        return at_cells(config, *learnt(params, carry, batch, train=True, key=key)), Aux()

    def context_loss(params, carry, batch, key):
        scores, labels = learnt(params, carry, batch)
        return at_cells(config, nets[1](params, carry, scores, train=True, key=key)[0], labels), Aux()

    def predict(params, carry, batch, nets=nets):
        image = batch["image"]
        if "seen" in batch:  # the picture is a part of the window
            x, _ = crops(params, carry, reflected_part(image, batch["seen"]))
        else:
            x, _ = front(params, carry, image)
        for net in nets[1:]:
            x, _ = net(params, carry, x)
        return {"logits": seg_task.enlarged(x, image.shape[1:3], stride=STRIDE)}

    def begun(params):
        if config.weights:
            fit = dict(mean=FrontEnd.mean, std=FrontEnd.std, layers=[("fc6", "fc7")])
            params = params | {"front": trunks.vgg16(config.weights, params["front"], **fit)}
        return started(config.start)(params)

    stages = []
    if config.front_steps:
        objective = Objective(("front",), front_loss, optimiser(config, config.lr, config.front_steps))
        stages.append(Stage(config.front_steps, {"front": objective}, predict=functools.partial(predict, nets=[front])))
    if config.context_steps:
        objective = Objective(("context",), context_loss, optimiser(config, config.context_lr, config.context_steps))
        stages.append(Stage(config.context_steps, {"context": objective}))
    metrics, render = seg_task.metrics(config), functools.partial(seg_task.render, config)
    return Recipe(init_all(*nets), tuple(stages), predict, metrics, render, begun)


def at_cells(config: Config, logits: jax.Array, batch) -> jax.Array:
    """The cross-entropy at the first pixel of each 8x8, which is what the release learns."""
    return seg_task.cross_entropy(config, logits, {"label": strided_labels(batch["label"], STRIDE)})


def optimiser(config: Config, lr: float, steps: int) -> optax.GradientTransformation:
    """The release's SGD, or Adam."""
    if config.optimiser == "adam":
        return optax.adam(optax.cosine_decay_schedule(lr, steps))
    return sgd_by_layer([Rule("bias$", 2.0), Rule("", 1.0, config.decay)], lr=lr, momentum=config.momentum)


def published(config: Config) -> dict[str, dict[str, float]]:
    """The paper's scores of the same networks."""
    rows = PUBLISHED[config.context] if (config.source, config.test_split) == ("voc2012", "val") else {}
    return {name: {"label/mean_iu": score / 100} for name, score in rows.items()}


experiment = Experiment(
    "experiments.seg_voc_dilated",
    CONFIGS,
    recipe,
    seg_task.data,
    baselines=seg_task.most_frequent,
    published=published,
    paper=lambda config: "front" if config.context == "none" else config.context,
    about=ABOUT,
    photo=seg_task.photo,
    export=seg_task.export,
)
main = experiment.main

if __name__ == "__main__":
    main()
