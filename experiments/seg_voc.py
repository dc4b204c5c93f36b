"""Semantic labels of photos by fully convolutional networks, on PASCAL VOC.

Long, Shelhamer & Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015 (arXiv 1411.4038), and
Shelhamer, Long & Darrell, TPAMI 2017 (arXiv 1605.06211), whose release gives the rates: FCN-32s, then 16s, then 8s,
each from the one before; FCN-8s all at once; FCN-AlexNet. Trained on SBD, scored on the 736 pictures of seg11valid.

    python -m experiments.seg_voc                          minutes on a laptop, on procedural rooms
    python -m experiments.seg_voc fcn8s                    the paper's (SBD goes with VOC: python -m pixlab data list)
    python -m experiments.seg_voc fcn8s --weights vgg16.pth

The stages of fcn8s are those of one run: the parameters are FCN-8s's from the start, whose finer scores stay zero until
their stage. The loss is the sum over the pixels of a picture, which is why the rates are so small.

What differs from the release: pictures lie in a window of 500x500, black and ignored beyond their edge, mirrored at
random; every picture comes once before any comes again. All deconvolutions are fixed as there; CVPR's text learns those
in between.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import jax.numpy as jnp
import optax

from pixlab import seg_task
from pixlab.core import Aux, Objective, Recipe, Stage
from pixlab.errors import UserError
from pixlab.models.fcn import FCN
from pixlab.models.fcn_alexnet import FCNAlexNet
from pixlab.net import Net
from pixlab.nn.normalise import CAFFE_STD
from pixlab.optim import Rule, sgd_by_layer
from pixlab.pretrained import trunks
from pixlab.run import Experiment
from pixlab.seg_task import SegOptions

NET = "fcn"
COLUMNS = tuple(f"label/{name}" for name in ("pixel_accuracy", "mean_accuracy", "mean_iu", "frequency_weighted_iu"))
# seg11valid, in per cent: COLUMNS of the CVPR paper, mean IU of the release's networks
PUBLISHED = {
    "fcn32s_fixed": ("FCN-32s-fixed", (83.0, 59.7, 45.4, 72.0), None),
    "fcn32s": ("FCN-32s", (89.1, 73.3, 59.4, 81.4), 63.6),
    "fcn16s": ("FCN-16s", (90.0, 75.7, 62.4, 83.0), 65.0),
    "fcn8s": ("FCN-8s", (90.3, 75.9, 62.7, 83.2), 65.5),
    "fcn8s_at_once": ("FCN-8s at once", None, 65.4),
    "alexnet": ("FCN-AlexNet", None, 48.0),
}


@dataclasses.dataclass(frozen=True)
class Config(SegOptions):
    """Semantic labels by fully convolutional networks (CVPR 2015)."""

    net: Literal["vgg16", "alexnet"] = "vgg16"
    """What the network is made of."""
    strides: tuple[int, ...] = (32, 16, 8)
    """A stage of training for each: 32 | 32 16 | 32 16 8 | 8; alexnet has 32 alone."""
    at_once: bool = False
    """The 8s that learns in one go: pool4 and pool3 are scaled down."""
    fixed: bool = False
    """Only the score layers learn."""
    width: float = 1.0
    """Channels relative to the published ones."""
    padded: bool = False
    """fc6 pads its input, in place of the margin of 100 zeros around the picture: less work for small ones."""
    weights: str = "timm/vgg16.tv_in1k"
    """Published weights, also those of fc6 and fc7: a file, also of a HED, or Hugging Face id; empty: random."""
    steps: int = 100_000
    """Steps of each stage."""
    optimiser: Literal["adam", "sgd"] = "sgd"
    """sgd: at one rate, biases at twice that without decay. adam: with cosine decay."""
    lr: float = 1e-10
    """Rate of the first stage."""
    finer: float = 0.01
    """Rate of each further stage relative to that of the one before."""
    momentum: float = 0.99
    """Of SGD."""
    decay: float = 5e-4
    """Weight decay of SGD."""
    loss: Literal["sum", "pixels"] = "sum"
    """Whether the cross-entropy is summed over the pixels or their mean."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.one_of("strides", ((32,),) if self.net == "alexnet" else ((32,), (32, 16), (32, 16, 8), (8,)))
        self.at_least(1, "steps")
        self.at_least(0, "lr", "finer", "momentum", "decay")
        self.at_least(1 / 64, "width")
        if self.at_once and self.strides != (8,):
            raise UserError("--at-once is for one stage: give --strides 8 with it")
        if self.net == "alexnet" and self.padded:
            raise UserError("--padded is for --net vgg16")


RELEASE = Config(
    source="voc2012", train_split="sbd", test_split="seg11valid", keep=True, size=(500, 500), crop=(500, 500), batch=1
)
CONFIGS = {
    "quick": Config(
        source="rooms", size=(96, 128), crop=(96, 128), batch=8, width=0.125, padded=True, weights="", steps=150,
        optimiser="adam", lr=1e-3, finer=0.5, loss="pixels", save_every=150, eval_every=150,
    ),
    "fcn32s": dataclasses.replace(RELEASE, strides=(32,)),
    "fcn32s_fixed": dataclasses.replace(RELEASE, strides=(32,), fixed=True),
    "fcn16s": dataclasses.replace(RELEASE, strides=(32, 16)),
    "fcn8s": RELEASE,
    "fcn8s_at_once": dataclasses.replace(RELEASE, strides=(8,), at_once=True, steps=300_000),
    "alexnet": dataclasses.replace(
        RELEASE, net="alexnet", strides=(32,), weights="alexnet.pth", batch=20, lr=1e-4, momentum=0.9, loss="pixels"
    ),
}  # fmt: skip
ABOUT = {
    "quick": "Minutes on a laptop: the three stages of FCN-8s with an eighth of the channels, on procedural rooms.",
    "fcn32s": "FCN-32s.",
    "fcn32s_fixed": "FCN-32s whose score layer alone learns.",
    "fcn16s": "FCN-32s, then FCN-16s.",
    "fcn8s": "FCN-32s, then 16s, then 8s: the paper's.",
    "fcn8s_at_once": "FCN-8s in one go.",
    "alexnet": "FCN-AlexNet; --weights is PyTorch's alexnet.pth.",
}


def networks(config: Config) -> dict[int, Net]:
    """The network at each stride, of which all have the same parameters but for what the finest adds."""
    classes, shape = seg_task.classes(config).count, (1, *config.crop, 3)
    how = dict(at_once=config.at_once, fixed=config.fixed, width=config.width, padded=config.padded)
    modules = {stride: FCN(classes, stride, **how) for stride in config.strides}
    if config.net == "alexnet":
        modules = {32: FCNAlexNet(classes, width=config.width)}
    return {stride: Net(NET, module, (shape,), jnp.dtype(config.dtype)) for stride, module in modules.items()}


def recipe(config: Config) -> Recipe:
    """A stage for each stride, the loss, the scores."""
    nets = networks(config)

    def loss(params, carry, batch, key, net):
        logits, moved = net(params, carry, batch["image"], train=True, key=key)
        return seg_task.cross_entropy(config, logits, batch, normalisation=config.loss), Aux(moved)

    def predict(params, carry, batch, net):
        return {"logits": net(params, carry, batch["image"])[0]}

    def started(params):
        return {NET: with_weights(config, params[NET])} if config.weights else params

    stages = []
    for index, (stride, net) in enumerate(nets.items()):
        tx = optimiser(config, config.lr * config.finer**index)
        objective = Objective((NET,), functools.partial(loss, net=net), tx)
        stages.append(Stage(config.steps, {f"fcn{stride}s": objective}, predict=functools.partial(predict, net=net)))
    metrics, render = seg_task.metrics(config), functools.partial(seg_task.render, config)
    return Recipe(nets[min(nets)].init, tuple(stages), stages[-1].predict, metrics, render, started)


def optimiser(config: Config, lr: float) -> optax.GradientTransformation:
    """The release's SGD, or Adam."""
    if config.optimiser == "adam":
        return optax.adam(optax.cosine_decay_schedule(lr, config.steps))
    held = [Rule("/(trunk|fc6|fc7)/", 0.0)] if config.fixed else []
    rules = [*held, Rule("bias$", 2.0), Rule("", 1.0, config.decay)]
    return sgd_by_layer(rules, lr=lr, momentum=config.momentum)


def with_weights(config: Config, params):
    """The parameters with the published ones of trunk, fc6 and fc7."""
    layers = [("fc6", "fc7")]
    if config.net == "alexnet":
        return trunks.alexnet(config.weights, params, layers=layers)
    return trunks.vgg16(config.weights, params, mean=FCN.mean, std=CAFFE_STD, layers=layers)


def row(config: Config) -> str:
    """The named config whose network this is; "" if there is none."""
    rows = {name: CONFIGS[name] for name in PUBLISHED}
    return seg_task.row_of(config, rows, "net", "strides", "at_once", "fixed")


def published(config: Config) -> dict[str, dict[str, float]]:
    """What paper and release report of this network."""
    if (config.source, config.test_split) != ("voc2012", "seg11valid") or not (known := row(config)):
        return {}
    name, paper, release = PUBLISHED[known]
    rows = {f"{name}, CVPR": dict(zip(COLUMNS, paper, strict=True))} if paper else {}
    rows |= {f"{name}, release": {"label/mean_iu": release}} if release else {}
    return {name: {column: score / 100 for column, score in scores.items()} for name, scores in rows.items()}


experiment = Experiment(
    "experiments.seg_voc",
    CONFIGS,
    recipe,
    seg_task.data,
    baselines=seg_task.most_frequent,
    published=published,
    paper=row,
    about=ABOUT,
    photo=seg_task.photo,
    export=seg_task.export,
)
main = experiment.main

if __name__ == "__main__":
    main()
