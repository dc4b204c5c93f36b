"""Examples of super-resolution out of photos, as the papers train and test on them."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from pixlab.data.degrade import Kind, enlarged, modcrop, piece, seen, truth
from pixlab.data.photos import MEMORY, Kept, apart, open_apart, split_names
from pixlab.data.pipeline import Data, Example, Source, Split
from pixlab.data.windows import Cut, Windows, turned, whole
from pixlab.errors import NoSplit, UserError
from pixlab.metrics.fidelity import WINDOW
from pixlab.nn.imresize import imresize


@dataclasses.dataclass(frozen=True)
class Crop:
    """How a random piece of a photo is taken."""

    size: int  # rows and columns, in pixels of low resolution
    turns: bool = False  # turned by 0, 90, 180 or 270 degrees at random
    flips: bool = False  # mirrored at random
    border: int = 0  # pixels of high resolution that the truth lacks on each side, for networks that do not pad
    memory: int = MEMORY  # bytes of photos that are kept, since decoding takes longest


def superres_data(
    source: str,
    test: str,
    *,
    scale: int,
    kind: Kind,
    train: Cut | Crop,
    batch: int,
    workers: int,
    scales: Sequence[int] = (),
) -> Data:
    """Split "train" of the photos `source` (none if it is empty), and "test" of the photos `test` at `scale`.

    Names are those of `pixlab.data.photos`; an empty `test` stands for the test photos of `source`. `train` cuts all
    windows of small sets (Cut), or takes random pieces of large ones (Crop). `scales` are those that are trained on,
    if not `scale` alone.

    An example has "image", what the network sees (see `pixlab.data.degrade`), and the truth "high", float32 in [0, 1];
    a test example, which is a whole photo cut to multiples of its scale, also "bicubic", what interpolation makes of
    it. Of a grey photo "high" has one channel. Raises UserError for photos that are not there, and for a set that would
    be scored on the photos that are trained on.
    """
    scales, test, splits = tuple(scales) or (scale,), test or source, {}
    apart(source, test)
    if "general100" in split_names(source) and "general100" in split_names(test):
        raise UserError("general100 has no photos of its own to test on; give another --test")
    tests = open_apart(test, "test", source)
    if source:
        try:
            photos = open_apart(source, "train", test)
        except NoSplit:
            if source != test:
                raise
        else:
            splits["train"] = train_split(photos, train, scales, kind)
    splits["test"] = Split(tests, functools.partial(scored_example, scale=scale, kind=kind), alone=True)
    return Data(batch=batch, splits=splits, workers=workers)


def train_split(photos: Source, train: Cut | Crop, scales: Sequence[int], kind: Kind) -> Split:
    """What is trained on; examples without augmentation are all windows, or the middles of photos."""
    if isinstance(train, Crop):
        change = functools.partial(train_example, scales=tuple(scales), kind=kind, crop=train)
        return Split(Kept(photos, train.memory), functools.partial(change, rng=None), change)
    change = functools.partial(turned, turns=train.turns, flips=train.flips) if train.turns or train.flips else None
    windows = Windows(photos, train, scales, kind)
    if windows.left_out:
        print(
            f"note: {windows.left_out} of {len(photos)} photos are smaller than a window and left out", file=sys.stderr
        )
    return Split(windows, whole, change)


def scored_example(photo: Example, *, scale: int, kind: Kind) -> Example:
    """`test_example`. Raises UserError for a photo that SSIM's windows do not fit into, within the border that is cut
    off."""
    example, least = test_example(photo, scale=scale, kind=kind), WINDOW + 2 * scale
    height, width = example["high"].shape[:2]
    if min(height, width) < least:
        raise UserError(
            f"a photo of {width}x{height} pixels is too small to score at x{scale}; take it out: it needs {least} rows "
            "and columns"
        )
    return example


def test_example(photo: Example, *, scale: int, kind: Kind) -> Example:
    """A whole photo, cut to multiples of `scale`: "image", "high" and "bicubic", which is as large as "high"."""
    high = modcrop(truth(photo, kind), scale)
    image = seen(high, scale, kind)
    example = {"image": image, "high": high / 255.0, "bicubic": enlarged(image, scale, kind)}
    if kind == "colour" and photo.get("grey", False):  # is compared as it is, not by a luminance of 16..235
        example["high"] = example["high"][..., :1]
    return {name: x.astype(np.float32) for name, x in example.items()}


def photo_example(image: UInt8[np.ndarray, "h w 3"], *, scale: int, kind: Kind) -> Example:
    """Anyone's photo, which is at low resolution: what the network sees of it."""
    low = truth({"image": image}, kind) / 255.0
    return {"image": (imresize(low, float(scale)) if kind == "enlarged" else low).astype(np.float32)}


def train_example(
    photo: Example, rng: np.random.Generator | None, *, scales: tuple[int, ...], kind: Kind, crop: Crop
) -> Example:
    """A random piece of a photo; the middle one, as it is, without `rng`.

    With several scales there is one for each, of places of their own: "image_x2", "high_x2", "image_x3" ...
    A photo that is smaller than the piece is continued by its mirror image.
    """
    example = {}
    for scale in scales:
        side = crop.size * scale
        height, width = (max(0, side - n) for n in photo["image"].shape[:2])
        image = np.pad(photo["image"], ((0, height), (0, width), (0, 0)), mode="symmetric")
        free = [n // scale - crop.size for n in image.shape[:2]]
        top, left = (n // 2 if rng is None else int(rng.integers(n + 1)) for n in free)
        low, high = piece(photo | {"image": image}, scale, kind, top=top, left=left, size=crop.size)
        inside = slice(crop.border, side - crop.border)
        pair = {"image": low.astype(np.float32), "high": high[inside, inside]}
        pair = whole(pair) if rng is None else turned(pair, rng, turns=crop.turns, flips=crop.flips)
        example |= pair if len(scales) == 1 else {f"{name}_x{scale}": x for name, x in pair.items()}
    return example
