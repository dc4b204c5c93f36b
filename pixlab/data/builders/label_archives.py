"""Where the pictures and labels of public data sets lie in their official archives.

For each set a function of its files gives, for each split, items: a name, and what reads the picture's bytes and the
label as the bytes of a grey PNG. Raises UserError where files are missing.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from pixlab.data.boundary_sets import packed, read_boundaries
from pixlab.data.builders.archives import Files
from pixlab.data.images import encode_png, read_label_png
from pixlab.data.membranes import LABELS, VOLUME, read_stacks
from pixlab.errors import UserError


class Item(NamedTuple):
    """A picture and its label, yet to be read."""

    name: str
    image: Callable[[], bytes]
    label: Callable[[], bytes]


Splits = dict[str, list[Item]]


def camvid(files: Files) -> Splits:
    """SegNet's: train/ with trainannot/ and so on, labels 0 to 10 and 11, void."""
    root = _root(files, "trainannot/")
    return {
        split: _beside(files, f"{root}{split}/", f"{root}{split}annot/", lambda stem: f"{stem}.png")
        for split in ("train", "val", "test")
    }


def voc2012(files: Files) -> Splits:
    """VOC's train and val; with SBD's archive, `sbd`, what it calls train, and `aug`, what VOC's splits lack of it.

    So train+aug are the 10,582 pictures that most papers train on, where labels of VOC go before those of SBD. With
    seg11valid.txt of FCN's repository, `seg11valid`: pictures of VOC that are not in SBD's train.
    Everingham et al., IJCV 2010; Hariharan et al., ICCV 2011 (SBD); Shelhamer, Long & Darrell, TPAMI 2017.
    """
    root = _root(files, "SegmentationClass/")

    def own(name: str) -> Item:
        return _item(files, name, f"{root}JPEGImages/{name}.jpg", f"{root}SegmentationClass/{name}.png")

    lists = {split: files.lines(f"{root}ImageSets/Segmentation/{split}.txt") for split in ("train", "val")}
    splits = {split: [own(name) for name in names] for split, names in lists.items()}
    if (sbd := files.root("dataset/cls/")) is not None:
        theirs = functools.partial(_sbd, files, f"{sbd}dataset/")
        train, val = (files.lines(f"{sbd}dataset/{split}.txt") for split in ("train", "val"))
        known = {*lists["train"], *lists["val"]}
        splits["aug"] = [theirs(name) for name in [*train, *val] if name not in known]
        splits["sbd"] = [theirs(name) for name in train]
    if names := [name for name in files.names if f"/{name}".endswith("/seg11valid.txt")]:
        splits["seg11valid"] = [own(name) for name in files.lines(names[0])]
    return splits


def siftflow(files: Files) -> Splits:
    """Pictures and the 33 semantic classes by the lists trainval.txt and test.txt of FCN's repository."""
    root, middle = _root(files, "SemanticLabels/"), "spatial_envelope_256x256_static_8outdoorcategories/"
    splits = {}
    for split, file in (("train", "trainval.txt"), ("test", "test.txt")):
        names = [name for name in files.names if f"/{name}".endswith(f"/{file}")]
        if not names:
            raise UserError(f"{files.place}: has no {file}; put those of FCN's data/sift-flow there")
        for stem in files.lines(names[0]):
            label = functools.partial(_matlab, files, f"{root}SemanticLabels/{middle}{stem}.mat", ("S",), -1)
            item = Item(stem, functools.partial(files.read, f"{root}Images/{middle}{stem}.jpg"), label)
            splits.setdefault(split, []).append(item)
    return splits


def oxford_iiit_pet(files: Files) -> Splits:
    """The outlines of pets: 1 pet, 2 background, 3 not classified; the official lists are train and test."""
    images, notes = _root(files, "images/"), _root(files, "trimaps/")
    splits = {}
    for split, file in (("train", "trainval.txt"), ("test", "test.txt")):
        stems = [line.split()[0] for line in files.lines(f"{notes}{file}")]
        splits[split] = [_item(files, s, f"{images}images/{s}.jpg", f"{notes}trimaps/{s}.png") for s in stems]
    return splits


def cityscapes(files: Files) -> Splits:
    """Fine labels by their ids; the labels of test are secret."""
    images, labels = _root(files, "leftImg8bit/"), _root(files, "gtFine/")
    ends = {
        split: re.compile(rf"{re.escape(labels)}gtFine/{split}/(.+)_gtFine_labelIds\.png") for split in ("train", "val")
    }
    splits = {}
    for split, pattern in ends.items():
        stems = sorted(found[1] for name in files.names if (found := pattern.fullmatch(name)))
        splits[split] = [
            _item(
                files,
                PurePosixPath(stem).name,
                f"{images}leftImg8bit/{split}/{stem}_leftImg8bit.png",
                f"{labels}gtFine/{split}/{stem}_gtFine_labelIds.png",
            )
            for stem in stems
        ]
    return splits


def scene_parse150(files: Files) -> Splits:
    """ADE20K's benchmark: labels 1 to 150, 0 other; its validation pictures are val."""
    root = _root(files, "annotations/training/")
    return {
        split: _beside(
            files, f"{root}images/{folder}/", f"{root}annotations/{folder}/", lambda stem: f"{stem}.png", ".jpg"
        )
        for split, folder in (("train", "training"), ("val", "validation"))
    }


def bsds500(files: Files) -> Splits:
    """BSDS500: bit k of a 16-bit label is the boundary of annotator k."""
    root = _root(files, "groundTruth/train/")

    def truth(name: str) -> bytes:
        return encode_png(packed(read_boundaries(files.read(name), name)))

    splits = {}
    for split in ("train", "val", "test"):
        stems = [PurePosixPath(n).stem for n in files.within(f"{root}images/{split}/") if n.endswith(".jpg")]
        splits[split] = [
            Item(
                stem,
                functools.partial(files.read, f"{root}images/{split}/{stem}.jpg"),
                functools.partial(truth, f"{root}groundTruth/{split}/{stem}.mat"),
            )
            for stem in stems
        ]
    return splits


def isbi2012(files: Files) -> Splits:
    """The slices of the official stacks, their labels 0 membrane, 1 cell."""
    roots = {file: next((n for n in files.names if f"/{n}".endswith(f"/{file}")), file) for file in (VOLUME, LABELS)}
    slices, labels = read_stacks(files.read(roots[VOLUME]), files.read(roots[LABELS]), files.place)
    png = lambda values: functools.partial(encode_png, values)  # noqa: E731
    pages = enumerate(zip(slices, (labels > 0).astype(np.uint8), strict=True))
    return {"train": [Item(f"{number:02}", png(image), png(label)) for number, (image, label) in pages]}


def _root(files: Files, folder: str) -> str:
    """What precedes a folder that must be there."""
    root = files.root(folder)
    if root is None:
        raise UserError(f"{files.place}: has no folder {folder} with files; fetch all of the set")
    return root


def _item(files: Files, name: str, image: str, label: str) -> Item:
    def grey() -> bytes:
        return encode_png(read_label_png(files.read(label), name=label).astype(np.uint8))

    return Item(name, functools.partial(files.read, image), grey)


def _beside(files: Files, images: str, labels: str, label_of: Callable[[str], str], suffix: str = ".png") -> list[Item]:
    """The pictures of one folder with the labels of another."""
    stems = [PurePosixPath(name).stem for name in files.within(images) if name.endswith(suffix)]
    return [_item(files, stem, f"{images}{stem}{suffix}", labels + label_of(stem)) for stem in stems]


def _sbd(files: Files, root: str, name: str) -> Item:
    label = functools.partial(_matlab, files, f"{root}cls/{name}.mat", ("GTcls", "Segmentation"), 0)
    return Item(name, functools.partial(files.read, f"{root}img/{name}.jpg"), label)


def _matlab(files: Files, name: str, path: tuple[str, ...], add: int) -> bytes:
    """Labels of a .mat file plus `add`, which makes 255 of -1. Raises UserError for another file."""
    import scipy.io

    data = files.read(name)
    try:
        values = scipy.io.loadmat(io.BytesIO(data))
        for key in path:
            values = values[key]
            values = values[0, 0] if values.dtype == object or values.dtype.names else values
        return encode_png((np.asarray(values).astype(np.int32) + add).astype(np.uint8))
    except Exception as error:  # scipy raises many kinds
        raise UserError(f"{name}: has no labels {'.'.join(path)} ({error!r}); fetch the archive again") from error
