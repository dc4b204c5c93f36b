"""Semantic labels of photos by networks whose convolutions have holes, on PASCAL VOC: DeepLab.

Chen, Papandreou, Kokkinos, Murphy & Yuille, ICLR 2015 (arXiv 1412.7062), and "DeepLab: Semantic Image Segmentation with
Deep Convolutional Nets, Atrous Convolution, and Fully Connected CRFs", TPAMI 2018 (arXiv 1606.00915): VGG-16 with a
large field of view or an atrous spatial pyramid (ASPP), and ResNet-101 with ASPP that sees pictures at three sizes.

    python -m experiments.seg_voc_deeplab                  minutes on a laptop, on procedural rooms
    python -m experiments.seg_voc_deeplab aspp_l           (SBD goes with VOC: python -m pixlab data list)
    python -m experiments.seg_crf runs/seg_voc_deeplab-aspp_l      the CRF after it

Labels are learnt at an eighth of the size, from every eighth pixel; scores are enlarged bilinearly.

What differs from the papers: ResNet-101 starts from ImageNet's weights, where the published rows had COCO's too; its
normalisations are frozen, as in the release; pictures lie in windows, of 513x513 to be scored, black and ignored beyond
their edge, to learn from as well; which rows and columns of VGG-16's fc6 are kept is ours (0, 3 and 6).
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
from pixlab.core import Aux, Objective, Recipe, Stage
from pixlab.errors import UserError
from pixlab.models.deeplab import ASPP_L, ASPP_S, LARGE_FOV, STRIDE, DeepLab, multi_scale
from pixlab.models.deeplab_resnet import DeepLabResNet
from pixlab.models.resnet import RESNET101
from pixlab.net import Net
from pixlab.optim import Rule, sgd_by_layer
from pixlab.pretrained import trunks
from pixlab.run import Experiment
from pixlab.seg_task import SegOptions

NET = "deeplab"
BLOCKS = {"resnet14": (1, 1, 1, 1), "resnet101": RESNET101}
# VOC 2012 val, mean IU in per cent: without and with the CRF
PUBLISHED = {
    "large_fov_v1": ("LargeFOV, v1", 62.25, 67.64),
    "large_fov": ("LargeFOV", 65.76, 69.84),
    "aspp_s": ("ASPP-S", 66.98, 69.73),
    "aspp_l": ("ASPP-L", 68.96, 71.57),
    "resnet101": ("ResNet-101, ASPP, also learnt on COCO", 76.35, 77.69),
}


@dataclasses.dataclass(frozen=True)
class Config(SegOptions):
    """Semantic labels by convolutions with holes (DeepLab, TPAMI 2018)."""

    net: Literal["vgg16", "resnet14", "resnet101"] = "vgg16"
    """What the network is made of; resnet14 is for small trials."""
    rates: tuple[int, ...] = LARGE_FOV
    """Dilations of the branches that give scores."""
    scales: tuple[float, ...] = (1.0,)
    """Sizes at which the network sees a picture; of their scores the largest counts."""
    width: float = 1.0
    """Channels relative to the published ones."""
    weights: str = "timm/vgg16.tv_in1k"
    """Published weights of the trunk, of VGG-16 also some of fc6 and fc7: a file or Hugging Face id; empty: random,
    which a ResNet does not learn from, as its batch normalisation stays as published."""
    optimiser: Literal["adam", "sgd"] = "sgd"
    """sgd: momentum 0.9, the last layer at ten times the rate, biases at twice. adam: with cosine decay."""
    policy: Literal["poly", "step"] = "poly"
    """Rate of SGD: poly falls as (1 - step / steps)^0.9, step to a tenth every 2000 steps."""
    lr: float = 1e-3
    """Rate at the start."""
    decay: float = 5e-4
    """Weight decay of SGD, not of biases."""
    steps: int = 20_000
    """Steps of training."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "steps", "rates")
        self.at_least(0, "lr", "decay")
        self.at_least(0.1, "scales")
        if not self.scales or not self.rates or len(set(self.rates)) < len(self.rates):
            raise UserError("--scales and --rates need a number each at least, and --rates none twice")
        self.at_least(1 / 64, "width")
        if any(n % STRIDE != 1 for n in (*self.size, *self.crop)):
            raise UserError(f"--size {self.size} --crop {self.crop}: give multiples of {STRIDE} and one more, as 321")


VOC = Config(
    source="voc2012", train_split="trainaug", test_split="val", keep=True, size=(513, 513), crop=(321, 321), batch=10
)
CONFIGS = {
    "quick": Config(
        source="rooms", size=(97, 129), crop=(97, 129), batch=8, width=0.125, rates=ASPP_S, scales=(0.5, 1.0),
        weights="", optimiser="adam", lr=1e-3, steps=300, save_every=150, eval_every=150,
    ),
    "large_fov_v1": dataclasses.replace(VOC, batch=20, policy="step", steps=6000),
    "large_fov": VOC,
    "aspp_s": dataclasses.replace(VOC, rates=ASPP_S),
    "aspp_l": dataclasses.replace(VOC, rates=ASPP_L),
    "resnet101": dataclasses.replace(
        VOC, net="resnet101", weights="timm/resnet101.tv_in1k", rates=ASPP_L, scales=(0.5, 0.75, 1.0), shrink=0.5,
        zoom=1.5, lr=2.5e-4,
    ),
}  # fmt: skip
ABOUT = {
    "quick": "Minutes on a laptop: ASPP at two sizes with an eighth of VGG-16's channels, on procedural rooms.",
    "large_fov_v1": "VGG-16 with a large field of view as in the first paper: the rate falls in steps.",
    "large_fov": "VGG-16 with a large field of view as in the second: the rate falls evenly.",
    "aspp_s": "VGG-16 with four dilations up to 12.",
    "aspp_l": "VGG-16 with four dilations up to 24.",
    "resnet101": "ResNet-101 with four dilations up to 24, at three sizes, enlarged and shrunk at random.",
}


def recipe(config: Config) -> Recipe:
    """The stage, the losses of all sizes and of the fused scores, the scores."""
    how = dict(classes=seg_task.classes(config).count, rates=config.rates, width=config.width)
    module = DeepLab(**how) if config.net == "vgg16" else DeepLabResNet(**how, blocks=BLOCKS[config.net])
    net = Net(NET, module, ((1, *config.crop, 3),), jnp.dtype(config.dtype))

    def scores(params, carry, image, **mode):
        return multi_scale(lambda x: net(params, carry, x, **mode)[0], image, scales=config.scales)

    def loss(params, carry, batch, key):
        fused, single = scores(params, carry, batch["image"], train=True, key=key)
        maps = [*single, fused] if len(single) > 1 else single
        return sum(at_scores(config, logits, batch) for logits in maps), Aux()

    def predict(params, carry, batch):
        fused, _ = scores(params, carry, batch["image"])
        return {"logits": seg_task.enlarged(fused, batch["image"].shape[1:3], stride=STRIDE)}

    def started(params):
        return {NET: with_weights(config, params[NET])} if config.weights else params

    stage = Stage(config.steps, {NET: Objective((NET,), loss, optimiser(config))})
    render = functools.partial(seg_task.render, config)
    return Recipe(net.init, (stage,), predict, seg_task.metrics(config), render, started)


def at_scores(config: Config, logits: jax.Array, batch) -> jax.Array:
    """The cross-entropy of scores of any size, corners aligned with the labels, which are taken at the nearest pixel:
    every eighth of 321 for 41 scores."""
    label = batch["label"]
    rows, columns = (
        np.rint(np.linspace(0, n - 1, m)).astype(int) for n, m in zip(label.shape[1:3], logits.shape[1:3], strict=True)
    )
    return seg_task.cross_entropy(config, logits, {"label": label[:, rows][:, :, columns]})


def optimiser(config: Config) -> optax.GradientTransformation:
    """The papers' SGD with a rate for each kind of layer, or Adam."""
    if config.optimiser == "adam":
        return optax.adam(optax.cosine_decay_schedule(config.lr, config.steps))
    rate = optax.polynomial_schedule(config.lr, 0.0, 0.9, config.steps)
    if config.policy == "step":
        rate = optax.exponential_decay(config.lr, 2000, 0.1, staircase=True)
    last = "/fc8_" if config.net == "vgg16" else "/rate"
    rules = [Rule("/bn", 0.0)] if config.net in BLOCKS else []
    rules += [Rule(f"{last}.*bias$", 20.0), Rule(last, 10.0, config.decay)]
    rules += [Rule("bias$", 2.0), Rule("", 1.0, config.decay)]
    return sgd_by_layer(rules, lr=rate, momentum=0.9)


def with_weights(config: Config, params):
    """The parameters with the published ones of the trunk."""
    if config.net in BLOCKS:
        return trunks.frozen_resnet(config.weights, params)
    layers = [(f"fc6_{rate}", f"fc7_{rate}") for rate in config.rates]
    return trunks.vgg16(config.weights, params, mean=DeepLab.mean, std=DeepLab.std, layers=layers)


def row(config: Config) -> str:
    """The named config whose network this is; "" if there is none."""
    return seg_task.row_of(config, {name: CONFIGS[name] for name in PUBLISHED}, "net", "rates", "scales", "policy")


def published(config: Config) -> dict[str, dict[str, float]]:
    """The papers' scores of this network, without and with the CRF."""
    if (config.source, config.test_split) != ("voc2012", "val") or not (known := row(config)):
        return {}
    name, alone, crf = PUBLISHED[known]
    return {name: {"label/mean_iu": alone / 100}, f"{name}, CRF": {"label/mean_iu": crf / 100}}


experiment = Experiment(
    "experiments.seg_voc_deeplab",
    CONFIGS,
    recipe,
    seg_task.data,
    baselines=seg_task.most_frequent,
    published=published,
    paper=lambda config: row(config) or "aspp_l",
    about=ABOUT,
    photo=seg_task.photo,
    export=seg_task.export,
)
main = experiment.main

if __name__ == "__main__":
    main()
