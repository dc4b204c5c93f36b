"""What experiments that give every pixel of a picture a class share: options, data, loss, scores, what is drawn and
written."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from pixlab import baselines, maps, pictures
from pixlab.core import Batch, Metric
from pixlab.data import rgbd
from pixlab.data.label_classes import CAMVID, Classes
from pixlab.data.label_examples import fitted_example, fitted_size, train_example, whole_example
from pixlab.data.label_folder import named_classes
from pixlab.data.label_sets import classes_of, open_labels
from pixlab.data.pipeline import Data, Example, Split
from pixlab.errors import NoSplit, UserError
from pixlab.losses.segmentation import class_counts, label_valid, median_frequency_weights, softmax_cross_entropy
from pixlab.metrics.boundary_f1 import boundary_f1
from pixlab.metrics.segmentation import class_iu, segmentation_metrics
from pixlab.nn.upsample import interpolated
from pixlab.options import Options
from pixlab.tiles import Tiles

FOLDER = "label_folder"
MOST = 256  # classes, which are written as 8-bit pictures
GRID = 32  # pixels that the lowest maps of networks lie apart, or a multiple

# of SegNet's release for CamVid; its "median frequency" is not that of the training set's labels, which gives sign
# symbols half as much
SEGNET = (0.2595, 0.1826, 4.5640, 0.1417, 0.9051, 0.3826, 9.6446, 1.8418, 0.6823, 6.2478, 7.3614)


@dataclasses.dataclass(frozen=True)
class SegOptions(Options):
    """Options of the data, whatever the network."""

    source: str = "camvid"
    """Labelled pictures: rooms, camvid, oxford_iiit_pet, voc2012, camvid:PATH, label_folder:PATH ..."""
    train_split: str = "train"
    """The split that is trained on: of voc2012 also trainval, trainaug, sbd."""
    test_split: str = "test"
    """The split that is scored: of voc2012 also val, seg11valid."""
    size: tuple[int, int] = (360, 480)
    """Rows and columns that pictures are brought to; they are seen whole and scored at this size."""
    keep: bool = False
    """Pictures keep their own size: scored at the top left of --size, the rest ignored, smaller only to fit there."""
    crop: tuple[int, int] = (360, 480)
    """Rows and columns of the windows that are trained on."""
    shrink: float = 1.0
    """Smallest enlargement in training."""
    zoom: float = 1.0
    """Largest enlargement in training."""
    names: tuple[str, ...] = ()
    """Names of the classes of label_folder:PATH, one of which may be void; empty: as classes.txt has them at the start
    of training."""
    margin: int = 0
    """Pixels that pictures to train on are reflected by, at each side, before windows are cut."""
    class_weights: Literal["none", "median_frequency", "segnet"] = "none"
    """Whether rare classes count more: by median frequency, or by the numbers of SegNet's release for CamVid."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the networks compute in; parameters, losses and scores are float32."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "size", "crop", "zoom")
        self.at_least(0, "margin")
        if not 0 < self.shrink <= 1:
            raise UserError(f"--shrink {self.shrink}: give more than 0 and at most 1")
        if (
            not self.keep
            and not self.margin
            and any(crop > size for crop, size in zip(self.crop, self.size, strict=True))
        ):
            raise UserError(f"--crop {self.crop} is larger than --size {self.size}: give a smaller crop")
        if self.class_weights == "segnet" and classes(self) != CAMVID:
            raise UserError("--class-weights segnet are those of CamVid's classes; take median_frequency")

    def settled(self) -> SegOptions:
        """See Options.settled: the names of a folder's classes, which the run keeps whatever becomes of the folder."""
        if self.names or not self.source.startswith(f"{FOLDER}:"):
            return self
        if (found := classes(self)).count > MOST:
            raise UserError(f"{self.source}: {found.count} classes, but {MOST} at most; number labels without gaps")
        return dataclasses.replace(self, names=written(found))

    def on(self, source: str) -> SegOptions:
        """See Options.on; a folder that names no classes has this run's. Raises UserError for other classes."""
        found = classes_of(source, classes(self))
        same(classes(self), found, source)
        names = written(found) if source.startswith(f"{FOLDER}:") else ()
        return self if source == self.source else dataclasses.replace(self, source=source, names=names)

    def blank(self, name: str) -> SegOptions:
        """See Options.blank; the classes stay those of the source."""
        return dataclasses.replace(self, names=(), source=f"{name}:{self.source.partition(':')[0]}")


def classes(config: SegOptions) -> Classes:
    """The classes of the source, or those that a run on a folder began with."""
    return named_classes(config.names, "--names") if config.names else classes_of(config.source)


def written(known: Classes) -> tuple[str, ...]:
    """The names as classes.txt would have them."""
    return known.names + (("void",) if known.ignore == known.count else ())


def same(learnt: Classes, found: Classes, source: str) -> None:
    """Raise UserError unless the classes of `source` are those that a run has learnt."""
    for number, (one, other) in enumerate(itertools.zip_longest(learnt.names, found.names)):
        if one != other:
            has, knows = (f"'{name}'" if name else "nothing" for name in (other, one))
            raise UserError(f"{source}: class {number} is {has}, but for this run {knows}; take data with its classes")


def data(config: SegOptions) -> Data:
    """Random windows to train on, mirrored half of the time, and whole pictures to score."""
    splits, known = {}, classes(config)
    change = functools.partial(
        train_example,
        classes=known,
        crop=config.crop,
        size=None if config.keep else config.size,
        scale=(config.shrink, config.zoom),
        margin=config.margin,
    )
    whole = functools.partial(whole_example, size=config.size)
    if config.keep:
        whole = functools.partial(fitted_example, classes=known, size=config.size)
    for name, split in (("train", config.train_split), ("test", config.test_split)):
        try:
            frames, found = open_labels(config.source, split, known)
            same(known, found, config.source)
        except NoSplit:
            if split != name or (name == "test" and not splits):  # a split that is asked for must be there
                raise
            continue
        splits[name] = Split(frames, whole, change if name == "train" else None)
    return Data(batch=config.batch, splits=splits, workers=config.workers)


def cross_entropy(config: SegOptions, logits: jax.Array, batch: Batch, *, normalisation: str = "pixels") -> jax.Array:
    """Mean (or with "sum" the sum) over the labelled pixels of the weighted cross-entropy, in nats."""
    known = classes(config)
    valid = label_valid(batch["label"], classes=known.count, ignore=known.ignore)
    options = dict(class_weights=weights(config), normalisation=normalisation)
    return softmax_cross_entropy(logits, batch["label"], valid, **options)


def weights(config: SegOptions) -> np.ndarray | None:
    """Class weights, None if all count the same."""
    match config.class_weights:
        case "segnet":
            return np.array(SEGNET)
        case "median_frequency":
            size = None if config.keep else config.size  # as pictures are learnt from
            return _median_frequency(config.source, config.train_split, size, classes(config))
    return None


@functools.cache
def _median_frequency(source: str, split: str, size: tuple[int, int] | None, known: Classes) -> np.ndarray:
    frames, _ = open_labels(source, split, known)
    labels = (whole_example(frames[i], size=size)["label"] for i in range(len(frames)))
    counts = sum(class_counts(x, classes=known.count, ignore=known.ignore) for x in labels)
    if not counts[0].any():
        raise UserError(f"{source}: its training labels have no pixel of a class; correct them or --class-weights none")
    return median_frequency_weights(counts)


def metrics(config: SegOptions) -> Mapping[str, Metric]:
    """Scores of the labels, of each class ("iu"), and of outlines, unless pictures lie in a window that has no labels
    beyond them."""
    known = classes(config)
    outline = {} if config.keep else {"outline": boundary_f1(known.count, ignore=known.ignore)}
    labels = {"label": segmentation_metrics(known.count, ignore=known.ignore)}
    return labels | outline | {"iu": class_iu(known.names, ignore=known.ignore)}


def enlarged(
    scores: Float[jax.Array, "b h w c"], size: tuple[int, int], *, stride: int
) -> Float[jax.Array, "b h2 w2 c"]:
    """Scores bilinear at all pixels of `size`, cell i lying on the pixel stride * i; outside, the nearest."""
    return interpolated(scores, [stride * np.arange(n) for n in scores.shape[1:3]], size)


def row_of(config: SegOptions, configs: Mapping[str, SegOptions], *fields: str) -> str:
    """The first of `configs` that has the same `fields` as `config`; "" if none has."""
    rows = (name for name, known in configs.items() if all(getattr(known, x) == getattr(config, x) for x in fields))
    return next(rows, "")


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
    side that may take several windows is a multiple of GRID, and at most 16 times the other one. With `config.keep` a
    photo keeps its size, smaller only to fit in `config.size`, as it would be scored.
    """
    if config.keep:
        return fitted_size(size, config.size)
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
