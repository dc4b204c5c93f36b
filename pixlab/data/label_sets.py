"""Sources of pictures with a class for every pixel, by name, each with its classes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from pixlab.data import label_classes
from pixlab.data.label_classes import Classes
from pixlab.data.label_folder import LabelFolder, read_classes
from pixlab.data.pipeline import Example, Source
from pixlab.data.rgbd import BLANK
from pixlab.errors import NoSplit, UserError

PREPARED = {  # by `python -m pixlab data prepare`
    "camvid": label_classes.CAMVID,
    "voc2012": label_classes.VOC,
    "siftflow": label_classes.SIFTFLOW,
    "oxford_iiit_pet": label_classes.PETS,
    "cityscapes": label_classes.CITYSCAPES,
    "scene_parse150": label_classes.SCENE_PARSE,
}
OUTLINE = "_outline"  # what a set is called with when its outlines are a class and not ignored
KNOWN = PREPARED | {f"oxford_iiit_pet{OUTLINE}": label_classes.PETS_OUTLINE}
SOURCES = f"rooms, {', '.join(KNOWN)}, camvid:PATH and label_folder:PATH"


class LabelSet(NamedTuple):
    """Frames with "image" uint8 [h, w, 3] and "label" int32 [h, w, 1], and what the labels mean."""

    source: Source
    classes: Classes


def open_labels(name: str, split: str, known: Classes | None = None) -> LabelSet:
    """The frames of `split` of one of SOURCES: "train", "test" and, of most, "val" and "all"; of voc2012 also
    "trainval", "trainaug" (with SBD, 10,582), "sbd" (SBD's train, 8,498) and "seg11valid" (736, none of them in it).

    "test" is what is scored: of sets whose test labels are secret, the pictures of val. camvid:PATH is a folder as
    `LabelFolder` takes it with the 11 classes of CamVid, such as SegNet's. `known`: the classes of a label_folder:PATH
    that has no classes.txt, for which its labels are read otherwise. Raises UserError for an unknown name and where
    files are absent or damaged, with the command to give where a set is not prepared; NoSplit for a split that the set
    lacks.
    """
    kind, _, path = name.partition(":")
    if kind == BLANK:
        return LabelSet([blank_frame()], classes_of(name))
    if name == "rooms":
        return LabelSet(RoomsLabels(split), classes_of(name))
    if kind == "camvid" and path:
        own = read_classes(Path(path).expanduser())
        if own and own.names[: label_classes.CAMVID.count] != label_classes.CAMVID.names:
            raise UserError(f"{name}: its classes.txt has other classes than CamVid; give label_folder:{path}")
        return LabelSet(LabelFolder(path, split, classes=classes_of(name)), classes_of(name))
    if kind == "label_folder" and path:
        folder = LabelFolder(path, split, classes=read_classes(Path(path).expanduser()) or known)
        return LabelSet(folder, folder.classes)
    if name in KNOWN:
        from pixlab.data import label_prepared

        return LabelSet(label_prepared.open_set(name.removesuffix(OUTLINE), split, KNOWN[name]), KNOWN[name])
    raise UserError(f"no labelled pictures '{name}'; there are {SOURCES}")


def classes_of(name: str, known: Classes | None = None) -> Classes:
    """What the labels of one of SOURCES mean; only of label_folder:PATH the files must be there, see `open_labels`."""
    kind, _, path = name.partition(":")
    if kind == BLANK:
        return KNOWN.get(path, label_classes.ROOMS)
    if name == "rooms":
        return label_classes.ROOMS
    if name in KNOWN or kind == "camvid":
        return KNOWN[kind]
    return open_labels(name, "all", known).classes


def blank_frame() -> Example:
    """A grey picture of 480x640, all of it of class 1."""
    return {"image": np.full((480, 640, 3), 128, np.uint8), "label": np.ones((480, 640, 1), np.int32)}


class RoomsLabels:
    """Pictures and labels of the built-in rooms, made on first use."""

    def __init__(self, split: str):
        from pixlab.data import rgbd_sets

        if split not in ("train", "test"):
            raise NoSplit(f"rooms: no split '{split}'; it has train and test")
        self._rooms = rgbd_sets.rooms(split)
        self.record_name, self.remedy = self._rooms.record_name, self._rooms.remedy

    def __len__(self) -> int:
        return len(self._rooms)

    def __getitem__(self, index: int) -> Example:
        frame = self._rooms[index]
        return {name: frame[name] for name in ("image", "label")}
