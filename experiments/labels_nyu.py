"""Semantic labels from one image, with or without its depth and normals, on the labelled frames of NYU Depth v2.

Eigen & Fergus, "Predicting Depth, Surface Normals and Semantic Labels with a Common Multi-Scale Convolutional
Architecture", ICCV 2015 (arXiv 1411.4734), section 4.3: 40, 13 or 4 classes.

    python -m experiments.labels_nyu                             minutes on a laptop, on procedural rooms
    python -m experiments.labels_nyu classes40                   the paper's (python -m pixlab data list)
    python -m experiments.labels_nyu predicted --depth-run runs/depth_nyu-alexnet

Scale 1 sees the colours alone; scales 2 and 3 also see log-depth and normals, if `geometry` gives any: measured ones,
or what a trained run of experiments.depth_nyu predicts, whose networks are then held inside this run. Scales 1 and 2
are trained together, then held while scale 3 is trained. Class 0, unlabelled, is neither trained on nor scored.

What differs from the paper: it does not say how long it trained, so the steps, some 400 and 200 passes over the frames,
are a choice; the AlexNet trunk starts at random, since no published file fits its 96 filters; log-depth and normals get
32 filters each, a choice; "scale 1 only" gets a 5x5 linear convolution on its enlarged
features, which the paper does not describe; scores are taken where the output lies, as in experiments/depth_nyu.py.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments import depth_nyu
from pixlab import maps, pictures, rgbd_task
from pixlab.core import Aux, Metric, Recipe
from pixlab.data.nyu_classes import NAMES
from pixlab.data.pipeline import Data
from pixlab.data.rgbd import BLANK, open_source
from pixlab.data.rooms_labels import NAMES as ROOMS
from pixlab.errors import UserError
from pixlab.losses.segmentation import class_counts, label_valid, median_frequency_weights, softmax_cross_entropy
from pixlab.metrics.crops import inside, onto_frame
from pixlab.metrics.segmentation import class_iu, segmentation_metrics
from pixlab.models.eigen2014 import scaled
from pixlab.models.eigen_fergus import Scale1, at_outputs, enlarge, scale_size
from pixlab.models.eigen_fergus_labels import LabelsHead1, LabelsScale2, LabelsScale3
from pixlab.net import Net, init_all
from pixlab.run import Experiment, Run

GEOMETRY = "geometry"  # the entry of the parameters that holds the networks which predict depth and normals

# Pixel accuracies of the authors' talk on the paper, "contribution of scales", for an image with its measured depth and
# normals and for the image alone. Their trunk is AlexNet by the depth and normals columns of the same table.
PUBLISHED = {
    (1,): {(4, "true"): 0.715, (4, "none"): 0.715, (13, "true"): 0.581, (13, "none"): 0.581},
    (2,): {(4, "true"): 0.774, (4, "none"): 0.672, (13, "true"): 0.651, (13, "none"): 0.531},
    (1, 2): {(4, "true"): 0.801, (4, "none"): 0.744, (13, "true"): 0.698, (13, "none"): 0.632},
    (1, 2, 3): {(4, "true"): 0.806, (4, "none"): 0.753, (13, "true"): 0.705, (13, "none"): 0.640},
}


@dataclasses.dataclass(frozen=True)
class Config(depth_nyu.ScalesOptions):
    """Semantic labels in three scales (Eigen & Fergus 2015)."""

    source: str = "nyu_labeled"
    """Frames with labels: rooms, nyu_labeled or rgbd_folder:PATH."""
    classes: int = 40
    """Classes without "unlabelled": 40, 13 or 4 of NYU, 16 of rooms."""
    geometry: Literal["none", "true", "predicted"] = "true"
    """What the networks see beside the image: nothing, measured or predicted depth and normals."""
    depth_run: str = ""
    """Run folder of experiments.depth_nyu that predicts the geometry."""
    class_weights: Literal["none", "median_frequency"] = "none"
    """median_frequency: rare classes count more (Eigen & Fergus 2015, section 4.3)."""
    coarse_steps: int = 10_000
    fine_steps: int = 5_000

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "classes")


CONFIGS = {
    "quick": Config(
        source="rooms", classes=16, geometry="none", width=0.25, frame=(120, 160), crop=(114, 152), truth=(120, 160),
        zoom=1.0, batch=8, optimiser="adam", lr=1e-3, fine_lr=1e-3, windows=False, coarse_steps=500,
        fine_steps=200, save_every=200, eval_every=350,
    ),
    "classes40": Config(),
    "classes13": Config(classes=13),
    "classes4": Config(classes=4),
    "vgg16": Config(
        net="vgg16", weights="timm/vgg16.tv_in1k", batch=16, coarse_steps=20_000, fine_steps=10_000
    ),
    "predicted": Config(geometry="predicted", depth_run="runs/depth_nyu-alexnet"),
    "rgb": Config(geometry="none"),
    "scale1": Config(classes=4, scales=(1,), geometry="none"),
    "scale2": Config(classes=4, scales=(2,)),
    "scales12": Config(classes=4, scales=(1, 2)),
    "rgb_scale2": Config(classes=4, scales=(2,), geometry="none"),
    "rgb_scales12": Config(classes=4, scales=(1, 2), geometry="none"),
    "rgb_scales123": Config(classes=4, geometry="none"),
}  # fmt: skip
ABOUT = {
    "quick": "Minutes on a laptop: a quarter of the width, on procedural rooms, colours alone.",
    "classes40": "The paper's: 40 classes, with measured depth and normals.",
    "classes13": "13 classes.",
    "classes4": "4 classes.",
    "vgg16": "40 classes, with VGG-16 from ImageNet weights as scale 1.",
    "predicted": "40 classes, with depth and normals that a run of experiments.depth_nyu predicts.",
    "rgb": "40 classes from colours alone.",
    "scale1": "Ablation, 4 classes: scale 1 alone.",
    "scale2": "Ablation, 4 classes: scale 2 alone.",
    "scales12": "Ablation, 4 classes: scales 1 and 2.",
    "rgb_scale2": "Ablation, 4 classes from colours alone: scale 2 alone.",
    "rgb_scales12": "Ablation, 4 classes from colours alone: scales 1 and 2.",
    "rgb_scales123": "Ablation, 4 classes from colours alone: all scales.",
}


def networks(config: Config) -> dict[str, Net]:
    """The scales as networks of their own, so that a stage can hold one still."""
    he = nn.initializers.he_normal() if config.optimiser == "adam" else None  # the paper's assumes an ImageNet trunk
    start = dict(kernel_init=he, width=config.width)
    count = config.classes + 1  # with "unlabelled"
    image = (1, *config.crop, 3)
    features, quarter = ((1, *(scale_size(n, scale) for n in config.crop)) for scale in (1, 2))
    features = (*features, scaled(64, config.width)) if 1 in config.scales else None
    seen = [None, None] if config.geometry == "none" else [(1, *config.crop, 1), image]
    nets = {}
    if 1 in config.scales:
        nets["scale1"] = Scale1(config.net, relu=False, dropout=0.8, **start), [image]
    if config.scales == (1,):
        nets["head1"] = LabelsHead1(count), [image, features]
    if 2 in config.scales:
        nets["scale2"] = LabelsScale2(count, **start), [image, features, *seen]
    if 3 in config.scales:
        nets["scale3"] = LabelsScale3(count, **start), [image, (*quarter, count), *seen]
    return {name: Net(name, module, tuple(shapes), jnp.dtype(config.dtype)) for name, (module, shapes) in nets.items()}


def recipe(config: Config) -> Recipe:
    """The stages, the loss, the scores."""
    nets = networks(config)
    run = open_geometry(config) if config.geometry == "predicted" else None

    def seen(params, batch):
        """Depth and normals at the size of the image, as the networks take them."""
        if config.geometry == "none":
            return None, None
        if run is None:
            return batch["depth"], batch["normal"]
        theirs = jax.lax.stop_gradient(run.recipe.predict(params[GEOMETRY], {}, {"image": batch["image"]}))
        scale = 3 if 3 in run.config.scales else 2
        return tuple(enlarge(theirs[name], config.crop, scale) for name in ("depth", "normal"))

    def coarse(params, carry, image, geometry, **mode):
        """Scales 1 and 2: class scores at a quarter of the image's size."""
        features = nets["scale1"](params, carry, image, **mode)[0] if "scale1" in nets else None
        if "head1" in nets:
            return nets["head1"](params, carry, image, features, **mode)[0]["logits"]
        return nets["scale2"](params, carry, image, features, *geometry, **mode)[0]["logits"]

    def fine(params, carry, image, geometry, **mode):
        """Scale 3 on what scales 1 and 2 predict: the same at a half."""
        quarter = coarse(params, carry, image, geometry)
        return nets["scale3"](params, carry, image, quarter, *geometry, **mode)[0]["logits"]

    def coarse_at_fine(params, carry, image, geometry):
        return depth_nyu.onto_scale3(coarse(params, carry, image, geometry), config.crop)

    def cross_entropy(logits, label):
        valid = label_valid(label, classes=config.classes + 1)
        return softmax_cross_entropy(logits, label, valid, class_weights=weights(config))

    def coarse_loss(params, carry, batch, key):
        logits = coarse(params, carry, batch["image"], seen(params, batch), train=True, key=key)
        return cross_entropy(logits, at_outputs(batch["label"], 2)), Aux()

    def fine_loss(params, carry, batch, key):
        logits = fine(params, carry, batch["image"], seen(params, batch), train=True, key=key)
        both = logits, at_outputs(batch["label"], 3)
        return cross_entropy(*(depth_nyu.random_window(key, config.crop, both) if config.windows else both)), Aux()

    def predict(params, carry, batch, last=fine if "scale3" in nets else coarse_at_fine):
        given = rgbd_task.central(config, batch, ("depth", "normal")) if config.geometry == "true" else batch
        geometry = seen(params, given)
        return {"logits": last(params, carry, batch["image"], geometry)}

    def render(example, prediction):
        image, true = rgbd_task.scored(config, depth_nyu.part(config), example)
        label = np.argmax(prediction["logits"], axis=-1)[..., None]
        return {"label": pictures.label_strip(image, true["label"], label, class_names(config))}

    stages = depth_nyu.stages(config, nets, coarse_loss, fine_loss, functools.partial(predict, last=coarse_at_fine))
    init, given = with_geometry(init_all(*nets.values()), depth_nyu.pretrained(config), run)
    return Recipe(init, stages, predict, metrics(config), render, given)


def open_geometry(config: Config) -> Run:
    """The run that predicts depth and normals. Raises UserError where it does not fit this config."""
    if not config.depth_run:
        raise UserError("--geometry predicted needs --depth-run, the run folder of an experiments.depth_nyu run")
    if config.source == BLANK and not pathlib.Path(config.depth_run).exists():  # a plan needs its networks alone
        return Run(pathlib.Path(config.depth_run), depth_nyu.experiment, depth_nyu.CONFIGS["alexnet"])
    run = Run.open(config.depth_run)
    theirs = run.config
    if not isinstance(theirs, depth_nyu.Config) or set(theirs.tasks) != set(depth_nyu.CHANNELS):
        raise UserError(f"{config.depth_run}: give a run of experiments.depth_nyu that predicts depth and normals")
    if theirs.crop != config.crop:
        raise UserError(f"{config.depth_run}: takes images of {theirs.crop}, not {config.crop}; give it as --crop")
    return run


def with_geometry(init, pretrained, run: Run | None):
    """(`init`, `pretrained`) of a recipe that also start the networks of `run`, if there is one, as it trained them."""
    if run is None:
        return init, pretrained

    def both(key):
        params, carry = init(key)
        return params | {GEOMETRY: run.recipe.init(key)[0]}, carry

    def trained(params):
        return pretrained(params) | {GEOMETRY: jax.tree.map(jnp.asarray, run.finished_params())}

    return both, trained


def weights(config: Config) -> np.ndarray | None:
    """Class weights [classes + 1], 0 for "unlabelled"; None if all count the same."""
    return _median_frequency(config.source, config.classes) if config.class_weights == "median_frequency" else None


@functools.cache
def _median_frequency(source: str, classes: int) -> np.ndarray:
    frames = open_source(source, "train", classes=classes)
    counts = (class_counts(frames[i]["label"], classes=classes + 1) for i in range(len(frames)))
    return median_frequency_weights(sum(counts))


def metrics(config: Config) -> dict[str, Metric]:
    """Scores of the pixels that the output covers, each by the nearest prediction: of all classes, and of each."""
    region = depth_nyu.part(config).in_middle_of(config.frame)

    def covered(scores: Metric) -> Metric:
        def stats(prediction, example):
            height, width = example["label"].shape[:2]
            label = jnp.argmax(prediction["logits"], axis=-1, keepdims=True).astype(jnp.float32)
            whole = onto_frame(label, height, width, covers=region).astype(jnp.int32)
            return scores.stats({"label": whole}, example | {"covered": inside(region, height, width)})

        return scores._replace(stats=stats)

    whole = segmentation_metrics(config.classes + 1, valid="covered")
    return {"label": covered(whole), "iu": covered(class_iu(class_names(config), valid="covered"))}


def data(config: Config) -> Data:
    """Frames augmented as in Eigen, Puhrsch & Fergus 2014, with what the networks see. Raises UserError for a wrong
    number of classes."""
    if config.source == "rooms" and config.classes != len(ROOMS) - 1:
        raise UserError(f"rooms has {len(ROOMS) - 1} classes, not {config.classes}: give --classes {len(ROOMS) - 1}")
    seen = ("depth", "normal") if config.geometry == "true" else ()
    return rgbd_task.data(config, ("label", *seen), classes=config.classes)


def answers(config: Config, data: Data) -> dict:
    """What needs no network: the training set's most frequent class."""
    return rgbd_task.means(config, depth_nyu.part(config), data, classes=config.classes + 1)


def class_names(config: Config) -> tuple[str, ...]:
    """The classes by number, "unlabelled" first."""
    if config.source == "rooms":
        return ROOMS
    return ("unlabelled", *NAMES.get(config.classes, [f"class {i + 1}" for i in range(config.classes)]))


def photo(config: Config, image: np.ndarray) -> dict[str, np.ndarray]:
    """The whole photo, uint8 RGB [h, w, 3], as experiments.depth_nyu takes it: resized, divided by 255, float32.

    Raises UserError where the network wants measured depth.
    """
    if config.geometry == "true":
        raise UserError("this run reads measured depth, which photos lack: train with --geometry none or predicted")
    return rgbd_task.photo(config, image)


def export(config: Config, image: np.ndarray, prediction) -> dict[str, np.ndarray]:
    """What `python -m pixlab predict` writes, at the photo's size: class numbers, and in colour."""
    label = np.argmax(prediction["logits"], axis=-1)[..., None]
    return maps.label_files(image, label, classes=config.classes + 1, covers=depth_nyu.part(config))


def published(config: Config) -> dict[str, dict[str, float]]:
    """The pixel accuracies of the same classes from the same inputs, scale by scale."""
    if config.source != "nyu_labeled":
        return {}
    key = config.classes, config.geometry
    rows = {f"scale {'+'.join(map(str, scales))}": row[key] for scales, row in PUBLISHED.items() if key in row}
    return {name: {"label/pixel_accuracy": accuracy} for name, accuracy in rows.items()}


experiment = Experiment(
    "experiments.labels_nyu",
    CONFIGS,
    recipe,
    data,
    baselines=answers,
    published=published,
    paper="classes40",
    about=ABOUT,
    photo=photo,
    export=export,
)
main = experiment.main

if __name__ == "__main__":
    main()
