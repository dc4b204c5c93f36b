"""Semantic labels of road scenes by encoders and decoders, on CamVid.

Badrinarayanan, Kendall & Cipolla, "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation",
TPAMI 2017 (arXiv 1511.00561): SegNet, and the decoders of its table 1 on SegNet-Basic's encoder. Beside it the padded
U-Net of Ronneberger, Fischer & Brox, MICCAI 2015.

    python -m experiments.seg_camvid                       minutes on a laptop, on procedural rooms
    python -m experiments.seg_camvid segnet_basic          of table 1 (python -m pixlab data prepare camvid)
    python -m experiments.seg_camvid few --source camvid:PATH

What differs from the paper: pictures are mirrored at random; the statistics that batch normalisation tests with are
averaged over about one pass over them; the best step is not chosen by validation, the last one is scored. The
cross-entropy is a mean over labelled pixels. Outlines count as in pixlab/metrics/boundary_f1.py, a little higher than
by the authors' script. Those of table 1 weigh classes as the authors' release does, whose numbers are not quite
CamVid's median frequencies; the input is normalised and convolutions have biases as there
(pixlab/models/segnet_basic.py, which also says what is ours in the decoders). `quick`, the three for machines without a
GPU and the U-Nets learn by Adam; `quick` and `few` keep running statistics.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
import optax

from pixlab import seg_task
from pixlab.batch_statistics import average_statistics
from pixlab.core import Aux, Objective, Recipe, Stage
from pixlab.errors import UserError
from pixlab.models.fcn import FCN
from pixlab.models.segnet import SegNet
from pixlab.models.segnet_basic import FCNBasic, SegNetBasic
from pixlab.models.unet import UNet
from pixlab.net import Net
from pixlab.nn.normalise import CAFFE_STD
from pixlab.optim import Rule, scale_by_layer, sgd_by_layer
from pixlab.pretrained import trunks
from pixlab.run import Experiment
from pixlab.seg_task import SegOptions

NETS = {  # classes, config -> module
    "segnet": lambda classes, c: SegNet(classes, c.width),
    "segnet_basic": lambda classes, c: SegNetBasic(classes, round(64 * c.width)),
    "segnet_basic_add": lambda classes, c: SegNetBasic(classes, round(64 * c.width), add=True),
    "segnet_basic_single": lambda classes, c: SegNetBasic(classes, round(64 * c.width), single=True),
    "fcn_basic": lambda classes, c: FCNBasic(classes, round(64 * c.width)),
    "fcn_basic_no_add": lambda classes, c: FCNBasic(classes, round(64 * c.width), add=False),
    "fcn_basic_wide": lambda classes, c: FCNBasic(classes, round(64 * c.width), reduce=False),
    "bilinear": lambda classes, c: FCNBasic(classes, round(64 * c.width), add=False, enlarge="fixed"),
    "fcn8s": lambda classes, c: fcn8s(classes, c),
    "fcn8s_learnt": lambda classes, c: fcn8s(classes, c, learn=True),
    "unet": lambda classes, c: UNet(classes, base=round(64 * c.width)),
}
NAMES = Literal[
    "segnet", "segnet_basic", "segnet_basic_add", "segnet_basic_single", "fcn_basic", "fcn_basic_no_add",
    "fcn_basic_wide", "bilinear", "fcn8s", "fcn8s_learnt", "unet",
]  # fmt: skip

# pixels on each side of its own that a score depends on
REACH = dict.fromkeys(NETS, 105) | {"segnet": 211, "fcn8s": 245, "fcn8s_learnt": 245, "unet": 107}

# Table 1, with median frequency balancing: global and class accuracy, mean IU, BF, in per cent
PUBLISHED = {
    "bilinear": ("Bilinear-Interpolation", 77.9, 61.1, 43.3, 20.83),
    "segnet_basic": ("SegNet-Basic", 82.7, 62.0, 47.7, 35.78),
    "segnet_basic_add": ("SegNet-Basic-EncoderAddition", 83.4, 63.6, 48.5, 35.92),
    "segnet_basic_single": ("SegNet-Basic-SingleChannelDecoder", 81.2, 60.7, 46.1, 31.62),
    "fcn_basic": ("FCN-Basic", 81.7, 62.4, 47.3, 38.11),
    "fcn_basic_no_add": ("FCN-Basic-NoAddition", 80.5, 58.6, 44.1, 31.96),
    "fcn_basic_wide": ("FCN-Basic-NoDimReduction", 84.1, 63.4, 50.1, 37.37),
}
LARGE = {  # the large benchmark: networks of the paper's comparison that learnt from 3,433 road scenes of four sets
    "segnet": ("SegNet, 40,000 steps on 3,433 pictures", 88.81, 59.93, 50.02, 35.78),
    "fcn8s": ("FCN, on 3,433 pictures", 83.27, 59.56, 49.83, 27.99),
    "fcn8s_learnt": ("FCN with learnt deconvolutions, on 3,433 pictures", 83.14, 64.21, 51.96, 33.18),
}
NATURAL = ("SegNet-Basic, natural frequency", 84.0, 54.6, 46.3, 36.67)


@dataclasses.dataclass(frozen=True)
class Config(SegOptions):
    """Semantic labels by encoders and decoders (SegNet, TPAMI 2017)."""

    net: NAMES = "segnet_basic"
    """Network."""
    width: float = 1.0
    """Channels relative to the published ones."""
    units: int = 4096
    """Channels of FCN's fc6 and fc7, times --width."""
    padded: bool = False
    """FCN's fc6 pads its input, in place of the margin of 100 zeros around the picture: less work for small ones."""
    weights: str = ""
    """Published VGG-16 that FCN's trunk starts from: a file, also of a HED, or Hugging Face id."""
    score_rate: float = 1.0
    """FCN's score layers learn at this times the rate."""
    optimiser: Literal["adam", "sgd"] = "sgd"
    """sgd: momentum 0.9 at one rate. adam: with cosine decay."""
    lr: float = 0.1
    """Rate."""
    decay: float = 5e-4
    """Weight decay of SGD."""
    steps: int = 10_000
    """Steps of training."""
    average: int = 0
    """Steps after it, over whose batches the statistics to test with are averaged; 0: running ones."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "steps", "units")
        self.at_least(0, "lr", "decay", "score_rate", "average")
        self.at_least(0.01, "width")
        if self.weights and not self.net.startswith("fcn8s"):
            raise UserError("--weights starts FCN's trunk: take it with --net fcn8s or fcn8s_learnt")


TABLE = Config(batch=12, class_weights="segnet", average=31, save_every=500)
FEW = Config(
    size=(240, 320), crop=(120, 160), zoom=1.5, batch=8, width=0.5, optimiser="adam", lr=2e-3,
    steps=2000, save_every=250, eval_every=1000,
)  # fmt: skip
LONG = Config(batch=5, lr=1e-3, steps=40_000)  # of the large benchmark
CONFIGS = {
    "quick": Config(
        source="rooms", size=(96, 128), crop=(96, 128), batch=8, width=0.25, optimiser="adam", lr=3e-3, steps=400,
        save_every=200, eval_every=200,
    ),
    "few": FEW,
    **{name: dataclasses.replace(TABLE, net=name) for name in PUBLISHED},
    "natural": dataclasses.replace(TABLE, class_weights="none"),
    "segnet": Config(net="segnet", batch=4, lr=1e-3, class_weights="segnet", steps=40_000, average=92),
    "fcn8s": dataclasses.replace(LONG, net="fcn8s", weights="timm/vgg16.tv_in1k"),
    "fcn8s_learnt": dataclasses.replace(LONG, net="fcn8s_learnt", weights="timm/vgg16.tv_in1k"),
    "fcn8s_few": Config(
        net="fcn8s", size=(180, 240), crop=(120, 160), zoom=1.5, batch=4, units=512, padded=True,
        optimiser="adam", lr=5e-5, score_rate=20, steps=480, save_every=50, eval_every=240,
    ),
    "unet_few": dataclasses.replace(FEW, net="unet", width=0.25, steps=4000),
    "unet": Config(net="unet", batch=4, width=0.5, class_weights="segnet", optimiser="adam", lr=3e-4, steps=20_000),
}  # fmt: skip
ABOUT = {
    "quick": "Minutes on a laptop: a quarter of SegNet-Basic's channels, on procedural rooms.",
    "few": "Half of SegNet-Basic's channels at half the size, for machines without a GPU.",
    **{name: f"{published[0]} of table 1." for name, published in PUBLISHED.items()},
    "natural": "SegNet-Basic with all classes weighted alike.",
    "segnet": "SegNet as its release trains it.",
    "fcn8s": "FCN-8s, all at once, as the paper compares with it; the trunk starts from published weights.",
    "fcn8s_learnt": "The same with deconvolutions that learn.",
    "fcn8s_few": "FCN-8s at half the size with an eighth of fc6 and fc7: --weights FILE; for machines without a GPU.",
    "unet_few": "The padded U-Net with a quarter of the channels, twice as long as `few`.",
    "unet": "The padded U-Net with half of the published channels.",
}


def recipe(config: Config) -> Recipe:
    """The stage, the loss, the scores."""
    module: nn.Module = NETS[config.net](seg_task.classes(config).count, config)
    net = Net(config.net, module, ((1, *config.crop, 3),), jnp.dtype(config.dtype))

    def loss(params, carry, batch, key):
        logits, moved = net(params, carry, batch["image"], train=True, key=key)
        return seg_task.cross_entropy(config, logits, batch), Aux(moved)

    def predict(params, carry, batch):
        return {"logits": net(params, carry, batch["image"])[0]}

    def started(params):
        if not config.weights:
            return params
        fit = dict(mean=module.mean, std=CAFFE_STD, layers=[("fc6", "fc7")])
        return params | {config.net: trunks.vgg16(config.weights, params[config.net], **fit)}

    stage = Stage(config.steps, {config.net: Objective((config.net,), loss, optimiser(config))})
    render = functools.partial(seg_task.render, config)
    made = Recipe(net.init, (stage,), predict, seg_task.metrics(config), render, started)
    return average_statistics(made, config.average)


def fcn8s(classes: int, config: Config, learn: bool = False) -> nn.Module:
    """FCN-8s that learns all at once; Adam, whose steps are as large for small maps, needs no factors on the pools."""
    sizes = dict(width=config.width, units=config.units, padded=config.padded)
    return FCN(classes, 8, at_once=config.optimiser == "sgd", learn=learn, **sizes)


def optimiser(config: Config) -> optax.GradientTransformation:
    """The releases' SGD, biases at twice the rate without decay, or Adam."""
    scores = scale_by_layer({"^score_|^upscore": config.score_rate})
    if config.optimiser == "adam":
        return optax.chain(optax.adam(optax.cosine_decay_schedule(config.lr, config.steps)), scores)
    norms = [Rule("_bn/bias$", 1.0)] if config.net == "segnet" else [Rule("_bn/", 1.0, config.decay)]
    rules = [*norms, Rule("bias$", 2.0), Rule("", 1.0, config.decay)]
    return optax.chain(sgd_by_layer(rules, lr=config.lr, momentum=0.9), scores)


def tiles(config: Config):
    """See seg_task.tiles."""
    return seg_task.tiles(config, REACH[config.net])


def published(config: Config) -> dict[str, dict[str, float]]:
    """The paper's row of this network."""
    known = PUBLISHED | LARGE
    if config.source.partition(":")[0] != "camvid" or config.net not in known:
        return {}
    natural = config.net == "segnet_basic" and config.class_weights == "none"
    name, *scores = NATURAL if natural else known[config.net]
    columns = "label/pixel_accuracy", "label/mean_accuracy", "label/mean_iu", "outline/boundary_f1"
    return {name: {column: score / 100 for column, score in zip(columns, scores, strict=True)}}


experiment = Experiment(
    "experiments.seg_camvid",
    CONFIGS,
    recipe,
    seg_task.data,
    baselines=seg_task.most_frequent,
    published=published,
    paper=lambda config: config.net if config.net in CONFIGS else "",
    about=ABOUT,
    photo=seg_task.photo,
    export=seg_task.export,
    tiles=tiles,
)
main = experiment.main

if __name__ == "__main__":
    main()
