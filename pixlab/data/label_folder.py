"""Anyone's folder of pictures with labels as a source.

A picture and its label are `NAME.jpg` (PNG, WebP ...) and `NAME_label.png` side by side, or files of one stem in the
folders images/ and labels/. A split is a folder: train/, val/ (or valid/, validation/) and test/ hold either layout,
or images/train/ goes with labels/train/, train/image/ with train/label/, or train/ with trainannot/, as SegNet's CamVid
has it. Without such folders train.txt, val.txt and test.txt list the names of a split, one a line; without any list the
last tenth of the pictures in the order of their names is `test` and the rest `train`.

Labels are PNG files whose values, or indices into their palette, are the classes from 0; 255 (65535 in 16 bits) is no
class. `classes.txt` names the classes, one a line from class 0 on; of a class called void, ignore, unlabelled or
unlabeled nothing is learnt or scored. Without classes.txt there are as many as the largest label says, for which all
labels are read.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from pixlab.data.images import png_header, read_bytes, read_image, read_label_png
from pixlab.data.label_classes import NOTHING, Classes
from pixlab.data.photos import pictures_in
from pixlab.data.pipeline import Example
from pixlab.data.split_lists import splits_of
from pixlab.errors import NoSplit, UserError

SPLITS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
SUFFIXES = ("_label", "_sem")  # that mark labels beside their pictures
VOIDS = ("void", "ignore", "unlabelled", "unlabeled")
LAYOUTS = "NAME.jpg beside NAME_label.png, or folders images/ and labels/, each maybe in folders train/, val/ and test/"


class Pair(NamedTuple):
    """The files of a picture and its label."""

    name: str
    image: Path
    label: Path


class LabelFolder:
    """The labelled pictures of one split of a folder; the module's text has the layouts.

    A frame has "image" uint8 [h, w, 3] and "label" int32 [h, w, 1]. split: "train", "val", "test" or "all"; a folder
    without test pictures gives those of val for "test". classes: what labels mean, where classes.txt is not to say it.
    Raises UserError on construction for a folder, list or classes.txt that is wrong and for a picture without a label
    or a label without a picture, NoSplit for a split that is not there; on reading a frame for a label that is damaged,
    in colours, of another size than its picture, or has values that are no classes.
    """

    def __init__(self, folder: str | os.PathLike, split: str = "train", *, classes: Classes | None = None):
        self.folder = Path(folder).expanduser()
        if not self.folder.is_dir():
            raise UserError(f"{self.folder}: no such folder; give the folder that holds the pictures and labels")
        parts = split_pairs(self.folder)
        self.pairs = chosen_split(parts, split, self.folder)
        self.classes = classes or read_classes(self.folder) or found_classes(chosen_split(parts, "all", self.folder))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Example:
        pair = self.pairs[index]
        image, label = read_image(pair.image), read_label(pair.label)
        return labelled(image, label, self.classes, name=os.fspath(pair.image), label_name=os.fspath(pair.label))

    def record_name(self, index: int) -> str:
        """What to call a frame in messages."""
        return os.fspath(self.pairs[index].image)


def read_label(source: Path | bytes, *, name: str | None = None) -> np.ndarray:
    """Classes int32 [h, w] of a label PNG, -1 where its value is the largest there is. Raises as `read_label_png`."""
    data, name = (read_bytes(source), os.fspath(source)) if isinstance(source, Path) else (source, name)
    label = read_label_png(data, name=name)
    return np.where(label == (2**16 - 1 if png_header(data, name).bits == 16 else NOTHING), -1, label)


def labelled(image: np.ndarray, label: np.ndarray, classes: Classes, *, name: str, label_name: str) -> Example:
    """The frame of image uint8 [h, w, 3] and label [h, w]: "label" int32 [h, w, 1] with `ignore` where it was -1.

    Raises UserError, which names the files, for two sizes and for a label that is no class.
    """
    if image.shape[:2] != label.shape:
        (h, w), (lh, lw) = image.shape[:2], label.shape
        raise UserError(f"{name} is {w}x{h} but its label {label_name} is {lw}x{lh}; the two must have one size")
    label = np.where(label == -1, classes.ignore, label)
    wrong = (label >= classes.count) & (label != classes.ignore)
    if wrong.any():
        found = f"{label_name}: has a label {label[wrong].max()}, but its {classes.count} classes are"
        raise UserError(f"{found} 0 to {classes.count - 1}, and {classes.ignore} is none; correct it or the classes")
    return {"image": image, "label": label.astype(np.int32)[..., None]}


def split_pairs(folder: Path) -> dict[str, list[Pair]]:
    """The pairs of each split of a folder, its splits as "train", "val" and "test". Raises UserError without any."""
    parts = {split: _places(folder, names) for split, names in SPLITS.items()}
    if any(parts.values()):
        return {split: found for split, place in parts.items() if place and (found := label_pairs(*place))}
    both = folder / "images", folder / "labels"
    rows = label_pairs(*(both if all(map(Path.is_dir, both)) else (folder, folder)))
    if not rows:
        raise UserError(f"{folder}: no pictures with labels in it; it takes {LAYOUTS}")
    where = splits_of(folder, [row.name for row in rows])
    of = {alias: split for split, aliases in SPLITS.items() for alias in aliases}
    every = [of.get(at) for at in where]
    return {split: part for split in SPLITS if (part := [r for r, at in zip(rows, every, strict=True) if at == split])}


def chosen_split(parts: dict[str, list], split: str, folder: Path) -> list:
    """The rows of a split: "all" has those of all, "test" those of "val" where none is for testing. Raises NoSplit."""
    if split == "all":
        return [row for part in parts.values() for row in part]
    if split == "test" and split not in parts:
        split = "val" if "val" in parts else split
    if split not in parts:
        raise NoSplit(f"{folder}: no split '{split}'; it has {', '.join([*parts, 'all'])}")
    return parts[split]


def _places(folder: Path, names: Sequence[str]) -> tuple[Path, Path] | None:
    """Where the pictures and the labels of a split are that has one of the names."""
    for name in names:
        inside = folder / name
        for places in (
            (folder / "images" / name, folder / "labels" / name),
            (inside / "images", inside / "labels"),
            (inside / "image", inside / "label"),
            (inside, folder / f"{name}annot"),
            (inside, inside),
        ):
            if all(map(Path.is_dir, places)):
                return places
    return None


def label_pairs(images: Path, labels: Path) -> list[Pair]:
    """The pictures and their labels in two folders, or in one, in natural order of the names.

    Raises UserError for a picture without a label, a label without a picture, and two pictures of one name.
    """
    found, pictured = {}, {}
    for name in pictures_in(labels):
        if images != labels or _stem(name) != _key(name):
            _add(found, labels, name, _key(name), "label")
    for name in pictures_in(images):
        if images != labels or _stem(name) == _key(name):
            _add(pictured, images, name, _stem(name), "picture")
    for name, path in pictured.items():
        if name not in found:
            wanted = f"{Path(name).name}_label.png beside it" if images == labels else labels / f"{name}.png"
            raise UserError(f"{path}: has no label; add {wanted}, or take the picture away")
    for name, path in found.items():
        if name not in pictured:
            raise UserError(f"{path}: is a label, but its picture is not in {images}; add it or take the label away")
    return [Pair(name, path, found[name]) for name, path in pictured.items()]


def _add(files: dict[str, Path], folder: Path, name: str, key: str, kind: str) -> None:
    if key in files:
        raise UserError(f"{folder}: {files[key].name} and {Path(name).name} are both the {kind} of {key}; keep one")
    files[key] = folder / name


def _stem(name: str) -> str:
    return os.fspath(PurePosixPath(name).with_suffix(""))


def _key(name: str) -> str:
    """The name of the picture that a file labels."""
    return functools.reduce(str.removesuffix, SUFFIXES, _stem(name))


def read_classes(folder: Path) -> Classes | None:
    """The classes that classes.txt of a folder names, if it has one. Raises UserError where it cannot be meant."""
    file = folder / "classes.txt"
    if not file.exists():
        return None
    try:
        lines = [line.strip() for line in read_bytes(file).decode("utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise UserError(f"{file}: not UTF-8 text; save it as UTF-8") from None
    while lines and not lines[-1]:
        lines.pop()
    return named_classes(lines, file)


def named_classes(lines: Sequence[str], where: object) -> Classes:
    """Classes by their names, class 0 first, of which one may be void. Raises UserError, which begins with `where`."""
    for number, name in enumerate(lines):
        if not name or name in lines[:number]:
            what = f"names {name} twice" if name else f"line {number + 1} is empty"
            raise UserError(f"{where}: {what}; it must name the classes, one a line, class 0 first")
    voids = [number for number, name in enumerate(lines) if name.lower() in VOIDS]
    if len(voids) > 1 or len(lines) == len(voids):
        raise UserError(f"{where}: has {len(lines)} lines, {len(voids)} of them void; name the classes and one void")
    ignore = voids[0] if voids else max(NOTHING, len(lines))
    return Classes(tuple(lines[:-1] if ignore == len(lines) - 1 else lines), ignore)


def found_classes(pairs: Sequence[Pair]) -> Classes:
    """As many classes as the largest label of the pairs has, by number. Raises UserError for fewer than two."""
    count = int(max(read_label(pair.label).max() for pair in pairs)) + 1
    if count < 2:
        has = "class 0 alone" if count else "no class"
        raise UserError(
            f"{pairs[0].label} and all other labels have {has}, and 255 is none; number two classes, such as 0 and 1"
        )
    return Classes(tuple(f"class {number}" for number in range(count)), max(NOTHING, count))
