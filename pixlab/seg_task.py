"""What experiments that give every pixel of a picture a class share: options, data, loss, scores, what is drawn and
written."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from pixlab import baselines, maps, pictures
from pixlab.core import Batch, Metric
from pixlab.data import rgbd
from pixlab.data.label_classes import CAMVID, Classes
from pixlab.data.label_examples import train_example, whole_example
from pixlab.data.label_sets import classes_of, open_labels
from pixlab.data.pipeline import Data, Example, Split
from pixlab.errors import NoSplit, UserError
from pixlab.losses.segmentation import class_counts, label_valid, median_frequency_weights, softmax_cross_entropy
from pixlab.metrics.boundary_f1 import boundary_f1
from pixlab.metrics.segmentation import segmentation_metrics
from pixlab.options import Options
from pixlab.tiles import Tiles

GRID = 32  # pixels that the lowest maps of networks lie apart, or a multiple

# of SegNet's release for CamVid; its "median frequency" is not that of the training set's labels, which gives sign
# symbols half as much
SEGNET = (0.2595, 0.1826, 4.5640, 0.1417, 0.9051, 0.3826, 9.6446, 1.8418, 0.6823, 6.2478, 7.3614)


@dataclasses.dataclass(frozen=True)
class SegOptions(Options):
    """Options of the data, whatever the network."""

    source: str = "camvid"
    """Labelled pictures: rooms, camvid, oxford_iiit_pet, voc2012, camvid:PATH, label_folder:PATH ..."""
    size: tuple[int, int] = (360, 480)
    """Rows and columns that pictures are brought to; they are seen whole and scored at this size."""
    crop: tuple[int, int] = (360, 480)
    """Rows and columns of the windows that are trained on."""
    zoom: float = 1.0
    """Largest enlargement in training."""
    class_weights: Literal["none", "median_frequency", "segnet"] = "none"
    """Whether rare classes count more: by median frequency, or by the numbers of SegNet's release for CamVid."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the networks compute in; parameters, losses and scores are float32."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "size", "crop", "zoom")
        if any(crop > size for crop, size in zip(self.crop, self.size, strict=True)):
            raise UserError(f"--crop {self.crop} is larger than --size {self.size}: give a smaller crop")
        if self.class_weights == "segnet" and classes(self) != CAMVID:
            raise UserError("--class-weights segnet are those of CamVid's classes; take median_frequency")

    def blank(self, name: str) -> SegOptions:
        """See Options.blank; the classes stay those of the source."""
        return dataclasses.replace(self, source=f"{name}:{self.source.partition(':')[0]}")


def classes(config: SegOptions) -> Classes:
    """The classes of the source."""
    return classes_of(config.source)


def data(config: SegOptions) -> Data:
    """Random windows to train on, mirrored half of the time, and whole pictures to score."""
    splits = {}
    for name in ("train", "test"):
        try:
            frames = open_labels(config.source, name).source
        except NoSplit:
            if name == "test" and not splits:
                raise
            continue
        change = functools.partial(
            train_example, classes=classes(config), crop=config.crop, size=config.size, scale=(1.0, config.zoom)
        )
        whole = functools.partial(whole_example, size=config.size)
        splits[name] = Split(frames, whole, change if name == "train" else None)
    return Data(batch=config.batch, splits=splits, workers=config.workers)


def cross_entropy(config: SegOptions, logits: jax.Array, batch: Batch) -> jax.Array:
    """Mean over the labelled pixels of the weighted cross-entropy, in nats."""
    known = classes(config)
    valid = label_valid(batch["label"], classes=known.count, ignore=known.ignore)
    return softmax_cross_entropy(logits, batch["label"], valid, class_weights=weights(config))


def weights(config: SegOptions) -> np.ndarray | None:
    """Class weights, None if all count the same."""
    match config.class_weights:
        case "segnet":
            return np.array(SEGNET)
        case "median_frequency":
            return _median_frequency(config.source, config.size)
    return None


@functools.cache
def _median_frequency(source: str, size: tuple[int, int]) -> np.ndarray:
    frames, known = open_labels(source, "train")
    labels = (whole_example(frames[i], size=size)["label"] for i in range(len(frames)))
    counts = sum(class_counts(x, classes=known.count, ignore=known.ignore) for x in labels)
    if not counts[0].any():
        raise UserError(f"{source}: its training labels have no pixel of a class; correct them or --class-weights none")
    return median_frequency_weights(counts)


def metrics(config: SegOptions) -> Mapping[str, Metric]:
    """Scores of the labels, and of their outlines."""
    known = classes(config)
    return {
        "label": segmentation_metrics(known.count, ignore=known.ignore),
        "outline": boundary_f1(known.count, ignore=known.ignore),
    }


def most_frequent(config: SegOptions, data: Data) -> Mapping[str, Any]:
    """What needs no network: the training set's most frequent class, everywhere and in each row."""
    known = classes(config)
    found = baselines.means(data, classes=known.count, ignore=known.ignore)
    return {"most frequent class": found["mean"], "most frequent class of each row": found["mean per row"]}


def render(config: SegOptions, example: Example, prediction: Batch) -> dict[str, np.ndarray]:
    """Picture, true and predicted labels, wrong pixels, and a legend."""
    known, label = classes(config), np.argmax(prediction["logits"], axis=-1)[..., None]
    strip = pictures.label_strip(
        example["image"], example["label"], label, known.names, ignore=known.ignore, palette=known.colours
    )
    return {"label": strip}


def photo(config: SegOptions, image: np.ndarray) -> Example:
    """The whole photo, uint8 RGB [h, w, 3], at `seen_size`, divided by 255, float32."""
    return rgbd.photo_example(image, crop=seen_size(config, image.shape[:2]))


def seen_size(config: SegOptions, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns that a photo of `size` is brought to, with its aspect: the shorter side is as in `config.size`.

    So things are as large as in training, and a photo with the aspect of `config.size` is seen as it would be scored. A
    side that may take several windows is a multiple of GRID, and at most 16 times the other one.
    """
    short = min(config.size)
    sides = (min(round(n * short / min(size)), 16 * short) for n in size)
    return tuple(n if n <= 2 * max(config.size) else round(n / GRID) * GRID for n in sides)


def tiles(config: SegOptions, reach: int) -> Tiles:
    """Windows of what a network sees of a photo, for networks whose answer depends on `reach` pixels on each side.

    They are at least twice as long as `config.size`, so that only panoramas, longer than about 2.5 times their height,
    need more than one, and begin at multiples of GRID. The halo covers `reach`, so an edge between windows changes
    nothing; a smaller one would change labels near it.
    """
    halo = -(-reach // GRID) * GRID
    return Tiles(-(-max(2 * max(config.size), 4 * halo) // GRID) * GRID, halo, of="input")


def export(config: SegOptions, image: np.ndarray, prediction: Batch) -> dict[str, Any]:
    """What `python -m pixlab predict` writes, at the photo's size: class numbers, their colours, these over the photo,
    and which is which."""
    known, label = classes(config), jnp.argmax(prediction["logits"], axis=-1)[..., None]
    files = maps.label_files(image, np.asarray(label), classes=known.count, ignore=known.ignore, palette=known.colours)
    overlay = pictures.label_overlay(
        image, files["label"][..., None], known.names, ignore=known.ignore, palette=known.colours
    )
    legend = {
        name: {"label": number, "colour": "#{:02x}{:02x}{:02x}".format(*colour)}
        for number, (name, colour) in enumerate(zip(known.names, known.colours.tolist(), strict=True))
        if number != known.ignore
    }
    return files | {"overlay": overlay, "legend": legend}
