"""Depth and normals from one image on NYU Depth v2.

Eigen & Fergus, "Predicting Depth, Surface Normals and Semantic Labels with a Common Multi-Scale Convolutional
Architecture", ICCV 2015 (arXiv 1411.4734).

    python -m experiments.depth_nyu                  minutes on a laptop, on procedural rooms
    python -m experiments.depth_nyu alexnet          the paper's, on NYU Depth v2 (python -m pixlab data list)
    python -m experiments.depth_nyu vgg16            its better one, from published ImageNet weights

Scale 1 sees the whole image, scale 2 predicts at a quarter of its size, scale 3 refines to a half. Scales 1 and 2 are
trained together, then held while scale 3 is trained. Depth and normals share scale 1.

What differs from the paper: the 2015 paper does not say how long it trained, so the steps are the sample counts of
Eigen, Puhrsch & Fergus 2014, at the release's rates, whose schedule is commented out there; the AlexNet trunk starts at
random, since no published file fits its 96 filters; log-depth starts at the mean, not 0; scale 3 learns from one window
per batch, not per image; "scale 1 only" gets a 5x5 linear convolution on its enlarged features, which is not in the
paper. Maps lie where the network saw them, half a cell around each output, while the release stretches the last
scale over the rows and columns it is scored on; without scale 3 they are interpolated to its positions, so that all
configs are scored on the same pixels.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from pixlab import maps, pictures, rgbd_task
from pixlab.core import Aux, Objective, Recipe, Stage
from pixlab.data.pipeline import Data
from pixlab.errors import UserError
from pixlab.losses.depth import eigen_fergus_loss, log_target
from pixlab.losses.normals import normal_loss
from pixlab.metrics.crops import Crop
from pixlab.metrics.depth import depth_metrics
from pixlab.metrics.normals import normal_metrics
from pixlab.models.eigen2014 import scaled
from pixlab.models.eigen_fergus import (
    Head1,
    Scale1,
    Scale2,
    Scale3,
    at_outputs,
    enlarge,
    output_positions,
    scale_size,
)
from pixlab.net import Net, init_all
from pixlab.optim import Rule, sgd_by_layer
from pixlab.pretrained.files import read_weights
from pixlab.pretrained.imagenet import eigen_fergus
from pixlab.rgbd_task import RgbdOptions
from pixlab.run import Experiment

MEAN_LOG_DEPTH = 0.82474  # on NYU Depth v2: where predictions start
CHANNELS = {"depth": 1, "normal": 3}
MASKS = {"depth": "valid", "normal": "normal_valid"}

PUBLISHED = {  # table 1 of the paper: 654 test frames, trained on the raw set; normals with planes fitted to depth
    "AlexNet on NYU": {
        "depth/delta1": 0.697, "depth/delta2": 0.912, "depth/delta3": 0.977, "depth/abs_rel": 0.198,
        "depth/sq_rel": 0.180, "depth/rmse": 0.753, "depth/rmse_log": 0.255, "depth/sc_inv": 0.202,
        "normal/mean": 25.9, "normal/median": 18.2,
        "normal/within_11.25": 33.2, "normal/within_22.5": 57.5, "normal/within_30": 67.7,
    },
    "VGG on NYU": {
        "depth/delta1": 0.769, "depth/delta2": 0.950, "depth/delta3": 0.988, "depth/abs_rel": 0.158,
        "depth/sq_rel": 0.121, "depth/rmse": 0.641, "depth/rmse_log": 0.214, "depth/sc_inv": 0.171,
        "normal/mean": 22.2, "normal/median": 15.3,
        "normal/within_11.25": 38.6, "normal/within_22.5": 64.0, "normal/within_30": 73.9,
    },
}  # fmt: skip


ABLATION = {  # the authors' talk on the paper, "contributions of scales", with AlexNet
    scales: {"depth/abs_rel": depth, "normal/mean": normals}
    for scales, depth, normals in [((1,), 0.218, 29.7), ((2,), 0.290, 31.8), ((1, 2), 0.216, 26.1)]
}


@dataclasses.dataclass(frozen=True)
class ScalesOptions(RgbdOptions):
    """Options of the three scales, whatever they predict."""

    net: Literal["alexnet", "vgg16"] = "alexnet"
    """Convolutions of scale 1."""
    scales: tuple[int, ...] = (1, 2, 3)
    """Which scales there are: 1 | 2 | 1 2 | 1 2 3 (the paper's ablation)."""
    width: float = 1.0
    """Channels as a fraction of the paper's."""
    coarse_steps: int = 62_500
    """Steps of scales 1 and 2 together."""
    fine_steps: int = 46_875
    """Steps of scale 3."""
    optimiser: Literal["sgd", "adam"] = "sgd"
    """sgd: the release's rate for each kind of layer. adam: one rate with cosine decay, He initialisation."""
    lr: float = 1.0
    """Factor on the release's rates, or Adam's rate."""
    fine_lr: float = 1.0
    """The same for scale 3."""
    windows: bool = True
    """Scale 3 learns from random windows of its output, as in the release; no: from all of it, its border too."""
    weights: str = ""
    """ImageNet weights to start the trunk of vgg16 from: a local file or a Hugging Face id. Random if empty."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.one_of("scales", ((1,), (2,), (1, 2), (1, 2, 3)))
        self.at_least(1 / 64, "width")
        self.at_least(0, "lr", "fine_lr")
        self.at_least(1, "coarse_steps", "fine_steps")
        if self.weights and (self.net != "vgg16" or 1 not in self.scales):
            raise UserError("--weights start the trunk of scale 1 with --net vgg16, which this run does not have")


@dataclasses.dataclass(frozen=True)
class Config(ScalesOptions):
    """Depth and normals in three scales (Eigen & Fergus 2015)."""

    tasks: tuple[Literal["depth", "normal"], ...] = ("depth", "normal")
    """What is predicted; the tasks share scale 1."""
    normal_weight: float = 10.0
    """Weight of the normals' loss beside that of depth."""
    pooling: Literal["image", "batch"] = "batch"
    """Scale-invariant term: per image as in the paper's formula, or pooled over the batch as in the release."""
    gradient_norm: Literal["pixels", "pairs"] = "pairs"
    """Gradient term: per pixel as in the paper's formula, or per pair as in the release."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.one_of("tasks", (("depth",), ("normal",), ("depth", "normal"), ("normal", "depth")))
        self.at_least(0, "normal_weight")


CONFIGS = {
    "quick": Config(
        source="rooms", width=0.25, frame=(120, 160), crop=(114, 152), truth=(120, 160), zoom=1.0, batch=8,
        optimiser="adam", lr=1e-3, fine_lr=1e-3, normal_weight=1.0, windows=False, coarse_steps=760,
        fine_steps=220, save_every=200, eval_every=380,
    ),
    "alexnet": Config(),
    "vgg16": Config(
        net="vgg16", weights="timm/vgg16.tv_in1k", batch=16, coarse_steps=125_000, fine_steps=93_750
    ),
    "scale1": Config(scales=(1,)),
    "scale2": Config(scales=(2,)),
    "scales12": Config(scales=(1, 2)),
    "frames": Config(  # the labelled frames alone, from random weights: what a machine without a GPU can train
        source="nyu_labeled", truth=(240, 320), zoom=1.0, batch=8, optimiser="adam", lr=3e-4, fine_lr=1e-3,
        normal_weight=1.0, windows=False, coarse_steps=800, fine_steps=200, save_every=100, eval_every=400,
    ),
}  # fmt: skip

ABOUT = {
    "quick": "Minutes on a laptop: a quarter of the width, on procedural rooms.",
    "alexnet": "The paper's, with AlexNet as scale 1.",
    "vgg16": "The paper's, with VGG-16 from ImageNet weights as scale 1.",
    "scale1": "Ablation: scale 1 alone.",
    "scale2": "Ablation: scale 2 alone.",
    "scales12": "Ablation: scales 1 and 2.",
    "frames": "The labelled frames alone, from random weights: for machines without a GPU.",
}


def networks(config: Config) -> dict[str, Net]:
    """The scales as networks of their own, so that a stage can hold one still."""
    he = nn.initializers.he_normal() if config.optimiser == "adam" else None  # the paper's assumes an ImageNet trunk
    start = dict(kernel_init=he, width=config.width)
    tasks = dict(depth="depth" in config.tasks, normals="normal" in config.tasks)
    image = (1, *config.crop, 3)
    rows_columns = {scale: tuple(scale_size(n, scale) for n in config.crop) for scale in (1, 2)}
    features = (1, *rows_columns[1], scaled(64, config.width))
    quarter = [(1, *rows_columns[2], c) if task in config.tasks else None for task, c in CHANNELS.items()]
    nets = {}
    if 1 in config.scales:
        nets["scale1"] = Scale1(config.net, **start), [image]
    if config.scales == (1,):
        nets["head1"] = Head1(**tasks, mean_log_depth=MEAN_LOG_DEPTH), [image, features]
    if 2 in config.scales:
        inputs = [image, features] if 1 in config.scales else [image]
        nets["scale2"] = Scale2(**tasks, mean_log_depth=MEAN_LOG_DEPTH, **start), inputs
    if 3 in config.scales:
        nets["scale3"] = Scale3(mean_log_depth=MEAN_LOG_DEPTH, **start), [image, *quarter]
    return {name: Net(name, module, tuple(shapes), jnp.dtype(config.dtype)) for name, (module, shapes) in nets.items()}


def recipe(config: Config) -> Recipe:
    """The stages, the losses, the scores."""
    nets = networks(config)
    trained_first = tuple(name for name in nets if name != "scale3")

    def coarse(params, carry, image, **mode):
        """Scales 1 and 2: log-depth and normals at a quarter of the image's size."""
        features = [nets["scale1"](params, carry, image, **mode)[0]] if "scale1" in nets else []
        return nets[trained_first[-1]](params, carry, image, *features, **mode)[0]

    def fine(params, carry, image, **mode):
        """Scale 3 on what scales 1 and 2 predict: the same at a half."""
        quarter = coarse(params, carry, image)
        return nets["scale3"](params, carry, image, quarter.get("log_depth"), quarter.get("normal"), **mode)[0]

    def truth(batch, scale):
        """The true maps where the outputs of `scale` lie."""
        return {name: at_outputs(batch[name], scale) for task in config.tasks for name in (task, MASKS[task])}

    def losses(out, true):
        """Each task's loss, weighted."""
        each = {}
        if "depth" in config.tasks:
            target = log_target(true["depth"], true["valid"])
            norms = dict(pooling=config.pooling, gradient_norm=config.gradient_norm)
            each["depth"] = eigen_fergus_loss(out["log_depth"], target, true["valid"], **norms)
        if "normal" in config.tasks:
            each["normal"] = config.normal_weight * normal_loss(out["normal"], true["normal"], true["normal_valid"])
        return each

    def coarse_loss(params, carry, batch, key):
        each = losses(coarse(params, carry, batch["image"], train=True, key=key), truth(batch, 2))
        return sum(each.values()), Aux(logs={f"coarse/{task}": value for task, value in each.items()})

    def fine_loss(params, carry, batch, key):
        both = fine(params, carry, batch["image"], train=True, key=key), truth(batch, 3)
        each = losses(*(random_window(key, config.crop, both) if config.windows else both))
        return sum(each.values()), Aux(logs={f"fine/{task}": value for task, value in each.items()})

    def coarse_at_fine(params, carry, image):
        return {name: onto_scale3(x, config.crop) for name, x in coarse(params, carry, image).items()}

    def predict(params, carry, batch, last=fine if "scale3" in nets else coarse_at_fine):
        out = last(params, carry, batch["image"])
        depth = {"depth": jnp.exp(out["log_depth"])} if "depth" in config.tasks else {}
        return depth | {name: value for name, value in out.items() if name == "normal"}

    def render(example, prediction):
        return pictures.strips(*rgbd_task.scored(config, part(config), example), prediction)

    where = dict(covers=part(config).in_middle_of(config.frame), crop=scored_part(config).in_middle_of(config.frame))
    scores = {"depth": depth_metrics, "normal": normal_metrics}
    metrics = {task: scores[task](**where) for task in config.tasks}
    trained = stages(config, nets, coarse_loss, fine_loss, functools.partial(predict, last=coarse_at_fine))
    return Recipe(init_all(*nets.values()), trained, predict, metrics, render, pretrained(config))


def stages(config: ScalesOptions, nets: dict[str, Net], coarse_loss, fine_loss, predict) -> tuple[Stage, ...]:
    """Scales 1 and 2 jointly, which `predict` speaks for meanwhile, then scale 3 alone."""
    first = tuple(name for name in nets if name != "scale3")
    coarse = Objective(first, coarse_loss, optimiser(config, config.lr, config.coarse_steps))
    fine = Objective(("scale3",), fine_loss, optimiser(config, config.fine_lr, config.fine_steps))
    both = Stage(config.coarse_steps, {"coarse": coarse}, predict=predict), Stage(config.fine_steps, {"fine": fine})
    return both if "scale3" in nets else both[:1]


def random_window(key, crop: tuple[int, int], maps):
    """All `maps` [b, h3, w3, c] at the same window of scale 3's output, of the size of scale 2's: what scale 3 sees."""
    size, whole = ([scale_size(n, scale) for n in crop] for scale in (2, 3))
    top, left = jax.random.randint(key, (2,), 0, jnp.asarray(whole) - jnp.asarray(size) + 1)
    return jax.tree.map(lambda x: jax.lax.dynamic_slice(x, (0, top, left, 0), (x.shape[0], *size, x.shape[3])), maps)


def pretrained(config: ScalesOptions):
    """A function of the random parameters: the same with the VGG-16 trunk of `config.weights`, if that is given."""

    def start(params):
        return params | {"scale1": eigen_fergus(read_weights(config.weights), params["scale1"])}

    return start if config.weights else lambda params: params


def onto_scale3(maps, crop: tuple[int, int]):
    """Maps of scale 2 where those of scale 3 lie."""
    return at_outputs(enlarge(maps, crop, 2), 3)


def optimiser(config: ScalesOptions, lr: float, steps: int) -> optax.GradientTransformation:
    """The paper's SGD with a rate for each kind of layer, or Adam for networks that start at random."""
    if config.optimiser == "adam":
        return optax.adam(optax.cosine_decay_schedule(lr, steps))
    rules = [
        Rule("trunk", 0.001, decay=5e-4),
        Rule("fc", 0.1, decay=1e-5),
        Rule("/first/|/conv1/|depth_bias|head1|scale2/.*/conv5|scale3/.*/conv4", 0.001, decay=1e-4),  # first and last
        Rule("conv", 0.01, decay=1e-4),
    ]
    return sgd_by_layer(rules, lr=lr, momentum=0.9)


def part(config: ScalesOptions) -> Crop:
    """The part of the input that the output covers: cells of 2x2 around scale 3's positions."""
    edges = [(int(at[0]) - 0.5, int(at[-1]) + 1.5) for at in (output_positions(n, 3) for n in config.crop)]
    return Crop(*edges[0], *edges[1], *config.crop)


def scored_part(config: ScalesOptions) -> Crop:
    """The part of the input that is scored; of a 240x320 frame rows 11..227, columns 13..305 in the release."""
    rows, columns = (output_positions(n, 3) for n in config.crop)
    return Crop(int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1]), *config.crop)


def data(config: Config) -> Data:
    """Frames with what is predicted."""
    return rgbd_task.data(config, config.tasks)


def answers(config: Config, data: Data) -> dict:
    """What needs no network: the training set's mean."""
    return rgbd_task.means(config, part(config), data)


def export(config: Config, image: np.ndarray, prediction) -> dict[str, np.ndarray]:
    """What `python -m pixlab predict` writes, at the photo's size: depth in mm, depth and normals in colour."""
    return maps.files(image, prediction, covers=part(config))


def published(config: Config) -> dict[str, dict[str, float]]:
    """The paper's rows of these scales, beside runs on real frames."""
    if config.source == "rooms":
        return {}
    return PUBLISHED if 3 in config.scales else {"AlexNet, these scales, on NYU": ABLATION[config.scales]}


experiment = Experiment(
    "experiments.depth_nyu",
    CONFIGS,
    recipe,
    data,
    baselines=answers,
    published=published,
    paper="alexnet",
    about=ABOUT,
    photo=rgbd_task.photo,
    export=export,
)
main = experiment.main

if __name__ == "__main__":
    main()
