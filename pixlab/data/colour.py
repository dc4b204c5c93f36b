"""Photos as examples of colorization: lightness in, a and b out; and how often colours occur in them.

An example has "image", the lightness L - 50 of CIE Lab, float32 [h, w, 1] from -50 to 50, and "ab", its a and b. For
training "ab" is float32 [h / 4, w / 4, 2], cell (i, j) that of pixel (4i, 4j), not a mean; to score against, it is
whole. Photos are squeezed to a square first, as those are that the authors of "Colorful Image Colorization" trained on.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8
from scipy.spatial import cKDTree

from pixlab.data import transforms
from pixlab.data.photos import open_photos
from pixlab.data.pipeline import Data, Example, Readable, Source, Split
from pixlab.errors import NoSplit, UserError
from pixlab.nn.ab_bins import AB_BINS, BINS, GREY, LEAST, STRIDE, smoothed
from pixlab.nn.colour import rgb_to_lab
from pixlab.progress import Progress

STRONG = 50  # units of a and b from grey


def colour_data(source: str, *, side: int, crop: int, batch: int, workers: int) -> Data:
    """Splits "train" and "test": photos at `side` x `side`, in training mirrored at random and cropped to `crop`. A
    folder with photos of one split only gives that split."""
    splits = {}
    for split in ("train", "test"):
        try:
            photos = open_photos(source, split)
        except NoSplit:
            if split == "test" and not splits:
                raise
            continue
        augment = functools.partial(train_example, side=side, crop=crop) if split == "train" else None
        splits[split] = Split(photos, functools.partial(test_example, side=side), augment)
    return Data(batch=batch, splits=splits, workers=workers)


def train_example(record: dict[str, Any], rng: np.random.Generator, *, side: int, crop: int) -> Example:
    """A random crop of the squeezed photo, mirrored in half of the cases. Sizes are multiples of 4."""
    top, left, mirror = rng.integers(side - crop + 1), rng.integers(side - crop + 1), rng.integers(2)
    image = squeezed(record["image"], side)[top : top + crop, left : left + crop]
    lab = to_lab(image[:, ::-1] if mirror else image)
    return {"image": lab[..., :1] - 50, "ab": np.ascontiguousarray(lab[::STRIDE, ::STRIDE, 1:])}


def test_example(record: dict[str, Any], *, side: int) -> Example:
    """The whole squeezed photo, with a and b of every pixel."""
    lab = to_lab(squeezed(record["image"], side))
    return {"image": lab[..., :1] - 50, "ab": np.ascontiguousarray(lab[..., 1:])}


def squeezed(image: UInt8[np.ndarray, "h w 3"], side: int) -> UInt8[np.ndarray, "n n 3"]:
    """The whole photo as a square: by area where it shrinks, bilinear where it grows."""
    return transforms.resize({"image": image}, size=(side, side))["image"]


def to_lab(image: UInt8[np.ndarray, "h w 3"]) -> np.ndarray:
    """CIE Lab of 8-bit sRGB, float32 [h, w, 3]."""
    return rgb_to_lab(image.astype(np.float32) / np.float32(255))


def count_bins(ab: np.ndarray) -> Float64[np.ndarray, " 313"]:
    """How many of the colours [..., 2] fall into each bin."""
    return np.bincount(_tree().query(ab.reshape(-1, 2))[1], minlength=BINS).astype(np.float64)


@functools.cache
def _tree() -> cKDTree:
    return cKDTree(AB_BINS)


def colour_counts(photos: Source, *, side: int, most: int = 0, progress: bool = False) -> Float64[np.ndarray, " 313"]:
    """How many cells of the photos, squeezed and not augmented, fall into each bin: every fourth pixel of every fourth
    row, as in training. Of at most `most` photos, evenly spread; 0: of all. With `progress`, standard error says how
    far it is. Raises UserError where all are grey."""
    readable, step = Readable(photos), -(-len(photos) // most) if most else 1
    counts, chosen, coloured = np.zeros(BINS), range(0, len(photos), step), False
    with contextlib.closing(Progress(len(chosen), unit="photo", counted="photos", active=progress)) as told:
        for done, index in enumerate(chosen, 1):
            ab = to_lab(squeezed(readable[index]["image"], side)[::STRIDE, ::STRIDE])[..., 1:]
            counts, coloured = counts + count_bins(ab), coloured or bool((np.abs(ab) > GREY).any())
            told.update(done, "counting colours", None, 1)
    if not coloured:
        raise UserError("the photos have no colours to learn from: all are grey; give another --source")
    return counts


def read_prior(path: str) -> Float64[np.ndarray, " 313"]:
    """The probabilities of the bins, LEAST or more, that experiments.color_prior wrote. Raises UserError for another
    file and for one of which `doubt` says something."""
    remedy = "write it by python -m experiments.color_prior"
    try:
        with open(path, "rb") as file:
            prior = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; {remedy}") from None
    except Exception:  # of a damaged file NumPy raises EOFError, BadZipFile, ValueError ...
        raise UserError(f"{path}: not a NumPy file; {remedy}") from None
    if not isinstance(prior, np.ndarray) or prior.shape != (BINS,) or prior.dtype.kind not in "fiu":
        raise UserError(f"{path}: not {BINS} probabilities; {remedy}")
    prior = prior.astype(np.float64)
    if not (prior >= 0).all() or abs(prior.sum() - 1) > 1e-3:
        raise UserError(f"{path}: not {BINS} probabilities; {remedy}")
    if wrong := doubt(prior):
        raise UserError(f"{path}: {wrong}; {remedy}")
    prior = np.maximum(prior, LEAST)
    return prior / prior.sum()


def doubt(prior: np.ndarray) -> str:
    """What is wrong with a prior whose most frequent colour is a strong one, "" of any other. Such files go around,
    counted on images of a wrong range; where it is counted here, the pictures may be no photos."""
    a, b = AB_BINS[prior.argmax()]
    strong = np.hypot(a, b) > STRONG
    return f"most frequent is a {a:g}, b {b:g}, a colour that no photos are full of" if strong else ""


def colour_prior(source: str, *, side: int, most: int = 0, progress: bool = False) -> Float64[np.ndarray, " 313"]:
    """Smoothed probabilities of the bins in the training split of a source; see `colour_counts`."""
    return smoothed(colour_counts(open_photos(source, "train"), side=side, most=most, progress=progress))
