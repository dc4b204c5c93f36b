"""Sources of pictures whose boundaries several people have drawn, by name.

BSDS500: Arbelaez, Maire, Fowlkes & Malik, "Contour Detection and Hierarchical Image Segmentation", TPAMI 2011. Each
picture has four to nine annotators. Recall counts the boundaries of each, so that scores need them apart; training
takes what they agree on.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Integer, UInt8, UInt16

from pixlab.data.images import read_bytes, read_image, read_label_png
from pixlab.data.label_sets import RoomsLabels
from pixlab.data.photos import pictures_in
from pixlab.data.pipeline import Example, Source
from pixlab.data.rgbd import BLANK
from pixlab.errors import NoSplit, UserError

SOURCES = "rooms, bsds500 and boundary_folder:PATH"
TRUTH = "_gt"  # that marks boundaries beside their picture
MOST = 16  # annotators of a picture: bits of a mask
LAYOUTS = "images/SPLIT/NAME.jpg with groundTruth/SPLIT/NAME.mat, or SPLIT/NAME.jpg with SPLIT/NAME_gt.png"


def open_boundaries(name: str, split: str) -> Source:
    """The frames of `split` ("train", "val", "trainval" or "test") of one of SOURCES.

    A frame has "image" uint8 [h, w, 3] and "boundaries" uint8 [h, w, n]: 1 where each of its n annotators drew one.
    Raises UserError for an unknown name and where files are absent or damaged, NoSplit for a split that is not there.
    """
    kind, _, path = name.partition(":")
    if kind == BLANK:
        return [{"image": np.full((321, 481, 3), 128, np.uint8), "boundaries": np.ones((321, 481, 5), np.uint8)}]
    if name == "rooms":
        return RoomsBoundaries(split)
    if kind == "boundary_folder" and path:
        return BoundaryFolder(path, split)
    if name == "bsds500":
        from pixlab.data import label_prepared

        return label_prepared.open_bsds500(split)
    raise UserError(f"no boundaries '{name}'; there are {SOURCES}")


def agreed(boundaries: UInt8[np.ndarray, "h w n"], *, least: int = 3) -> dict[str, Float32[np.ndarray, "h w 1"]]:
    """ "edge", 1 where at least `least` of n annotators drew a boundary, and "valid", 0 where only fewer of them did.

    Where a picture has fewer annotators than `least`, all of them must agree.
    For Xie & Tu, "Holistically-Nested Edge Detection", ICCV 2015 (arXiv 1504.06375): their loss leaves out what is not
    valid.
    """
    votes = boundaries.sum(-1, keepdims=True, dtype=np.int32)
    edge = votes >= min(least, boundaries.shape[-1])
    return {"edge": edge.astype(np.float32), "valid": (edge | (votes == 0)).astype(np.float32)}


def packed(boundaries: UInt8[np.ndarray, "h w n"]) -> UInt16[np.ndarray, "h w"]:
    """The mask whose bit k is the boundary of annotator k. Raises UserError for more than 16 annotators."""
    if boundaries.shape[-1] > MOST:
        raise UserError(
            f"{boundaries.shape[-1]} annotators drew boundaries, but a mask has {MOST} bits; leave some out"
        )
    bits = np.left_shift(1, np.arange(boundaries.shape[-1]))
    return ((boundaries > 0) * bits[None, None]).sum(-1).astype(np.uint16)


def unpacked(mask: UInt16[np.ndarray, "h w"], annotators: int) -> UInt8[np.ndarray, "h w n"]:
    """What `packed` was given."""
    return (mask[..., None] >> np.arange(annotators, dtype=np.uint16)[None, None] & 1).astype(np.uint8)


def read_boundaries(data: bytes, name: str) -> UInt8[np.ndarray, "h w n"]:
    """The boundaries in an official .mat file, which messages call `name`. Raises UserError where it is another."""
    import scipy.io

    try:
        drawn = scipy.io.loadmat(io.BytesIO(data))["groundTruth"]
        return np.stack([one["Boundaries"][0, 0] > 0 for one in drawn.ravel()], axis=-1).astype(np.uint8)
    except Exception as error:  # scipy raises many kinds
        raise UserError(f"{name}: not boundaries as BSDS500 has them ({error!r}); fetch the file again") from error


def read_mask(source: Path | bytes, annotators: int | None, *, name: str | None = None) -> UInt8[np.ndarray, "h w n"]:
    """The boundaries of a PNG whose bit k is that of annotator k; None: as many as there are bits set.

    Raises UserError for a PNG of colours, and where another annotator than the first `annotators` drew something.
    """
    mask, name = read_label_png(source, name=name).astype(np.uint16), name or os.fspath(source)
    found = int(mask.max()).bit_length()
    if annotators is not None and found > annotators:
        raise UserError(f"{name}: annotator {found} drew boundaries, but it has {annotators}; correct index.csv")
    return unpacked(mask, annotators or max(found, 1))


def boundary_frame(image: np.ndarray, boundaries: np.ndarray, *, name: str, truth: str) -> Example:
    """The frame of a picture and its boundaries. Raises UserError, which names the files, for two sizes."""
    if image.shape[:2] != boundaries.shape[:2]:
        (h, w), (bh, bw) = image.shape[:2], boundaries.shape[:2]
        raise UserError(f"{name} is {w}x{h} but its boundaries {truth} are {bw}x{bh}; the two must have one size")
    return {"image": image, "boundaries": boundaries}


def outlines(label: Integer[np.ndarray, "h w 1"]) -> UInt8[np.ndarray, "h w 1"]:
    """1 at pixels whose label is not that of the one to the right or of the one below: lines of one pixel."""
    other = np.zeros(label.shape, bool)
    other[:-1] = label[:-1] != label[1:]
    other[:, :-1] |= label[:, :-1] != label[:, 1:]
    return other.astype(np.uint8)


class RoomsBoundaries:
    """Pictures of the built-in rooms with the outlines of their labels, as one annotator drew them."""

    def __init__(self, split: str):
        self._labels = RoomsLabels(split)
        self.record_name, self.remedy = self._labels.record_name, self._labels.remedy

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> Example:
        frame = self._labels[index]
        return {"image": frame["image"], "boundaries": outlines(frame["label"])}


class Drawn(NamedTuple):
    """The files of a picture and its boundaries."""

    image: Path
    truth: Path
    read: Callable[[], np.ndarray]


class BoundaryFolder:
    """Pictures and boundaries of one split of a folder, in natural order: see `open_boundaries` for the frames.

    Either `images/SPLIT/NAME.jpg` with `groundTruth/SPLIT/NAME.mat`, as BSDS500/data has them, or `SPLIT/NAME.jpg`
    with `SPLIT/NAME_gt.png`, 16 bits of which bit k is annotator k; then `index.csv` may say in its columns `set`,
    `id` and `annotators` how many there are. split: one of the folders, or "trainval" for train and val.
    Raises UserError on construction for files that are absent, NoSplit for a split that is, and on reading a frame
    for files that are damaged or differ in size.
    """

    def __init__(self, folder: str | os.PathLike, split: str = "train"):
        self.folder = Path(folder).expanduser()
        if not self.folder.is_dir():
            raise UserError(f"{self.folder}: no such folder; give the folder that has the pictures and boundaries")
        inner = (self.folder, self.folder / "data", self.folder / "BSDS500" / "data")
        official = next((at for at in inner if (at / "groundTruth").is_dir()), None)
        root = official / "images" if official else self.folder
        known = sorted(at.name for at in root.glob("*") if at.is_dir() and pictures_in(at))
        if not known:
            raise UserError(f"{self.folder}: no pictures with boundaries in it; it takes {LAYOUTS}")
        parts = ("train", "val") if split == "trainval" else (split,)
        if missing := [part for part in parts if part not in known]:
            raise NoSplit(f"{self.folder}: no split '{missing[0]}'; it has {', '.join(known)}")
        find = self._official if official else self._masks
        self._drawn = [one for part in parts for one in find(root / part)]

    def _official(self, place: Path) -> list[Drawn]:
        truth = place.parents[1] / "groundTruth" / place.name
        return [self._with(place / name, (truth / name).with_suffix(".mat")) for name in pictures_in(place)]

    def _masks(self, place: Path) -> list[Drawn]:
        counts = annotator_counts(self.folder / "index.csv", place.name)
        every = [place / name for name in pictures_in(place)]
        images = [path for path in every if not path.stem.endswith(TRUTH)]
        truths = [image.with_name(f"{image.stem}{TRUTH}.png") for image in images]
        for path in every:
            if path.stem.endswith(TRUTH) and path not in truths:
                raise UserError(f"{path}: has boundaries, but of no picture beside it; add that or take the file away")
        return [self._with(*both, counts.get(both[0].stem)) for both in zip(images, truths, strict=True)]

    def _with(self, image: Path, truth: Path, annotators: int | None = None) -> Drawn:
        if not truth.is_file():
            raise UserError(f"{image}: has no boundaries; add {truth}, or take the picture away")
        if truth.suffix == ".mat":
            return Drawn(image, truth, lambda: read_boundaries(read_bytes(truth), os.fspath(truth)))
        return Drawn(image, truth, lambda: read_mask(truth, annotators))

    def __len__(self) -> int:
        return len(self._drawn)

    def __getitem__(self, index: int) -> Example:
        one = self._drawn[index]
        return boundary_frame(read_image(one.image), one.read(), name=os.fspath(one.image), truth=os.fspath(one.truth))

    def record_name(self, index: int) -> str:
        """What to call a frame in messages."""
        return os.fspath(self._drawn[index].image)


def annotator_counts(file: Path, split: str) -> dict[str, int]:
    """How many annotators the pictures of a split have by index.csv, where there is one. Raises UserError."""
    if not file.exists():
        return {}
    try:
        rows = list(csv.DictReader(file.read_text(encoding="utf-8-sig").splitlines()))
        return {row["id"]: int(row["annotators"]) for row in rows if row["set"] == split}
    except (UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file}: must have columns set, id and annotators, a number ({error!r})") from None
