"""Sources of electron-microscope slices whose cell membranes are labelled, by name.

ISBI 2012: Arganda-Carreras et al., "Crowdsourcing the creation of image segmentation algorithms for connectomics",
Frontiers in Neuroanatomy 2015; the stack is that of Cardona et al., PLoS Biology 2010. Of its labelled slices the last
fifth is for testing here, since the labels of its test stack are secret and neighbouring slices look alike.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from scipy.ndimage import maximum_filter, minimum_filter

from pixlab.data.images import read_bytes, read_image
from pixlab.data.label_classes import NOTHING, Classes
from pixlab.data.label_folder import chosen_split, labelled, read_label, split_pairs
from pixlab.data.label_sets import LabelSet, RoomsLabels
from pixlab.data.pipeline import Example
from pixlab.data.rgbd import BLANK
from pixlab.errors import UserError

MEMBRANES = Classes(("membrane", "cell"), NOTHING, ((0, 0, 0), (255, 255, 255)))
SOURCES = "rooms, isbi2012 and isbi2012:PATH"
VOLUME, LABELS = "train-volume.tif", "train-labels.tif"


def open_membranes(name: str, split: str) -> LabelSet:
    """The slices of `split` ("train", "test" or "all") of one of SOURCES, and their classes, membrane and cell.

    A frame has "image" uint8 [h, w, 1] and "label" int32 [h, w, 1]. PATH is a folder as `MembraneFolder` or
    `MembraneStack` takes it; "rooms" are no slices but `RoomsOutlines`, to try things out. Raises UserError for an
    unknown name and where files are absent or damaged.
    """
    kind, _, path = name.partition(":")
    if kind == BLANK:
        label = np.ones((512, 512, 1), np.int32)
        return LabelSet([{"image": np.full((512, 512, 1), 128, np.uint8), "label": label}], MEMBRANES)
    if name == "rooms":
        return LabelSet(RoomsOutlines(split), MEMBRANES)
    if kind == "isbi2012" and path:
        stack = (Path(path).expanduser() / VOLUME).exists()
        return LabelSet((MembraneStack if stack else MembraneFolder)(path, split), MEMBRANES)
    if name == "isbi2012":
        from pixlab.data import label_prepared

        return LabelSet(label_prepared.open_isbi2012(split), MEMBRANES)
    raise UserError(f"no slices '{name}'; there are {SOURCES}")


class RoomsOutlines:
    """The built-in rooms in grey, whose things are the cells, and whose outlines the membranes."""

    def __init__(self, split: str):
        self._rooms = RoomsLabels(split)
        self.record_name, self.remedy = self._rooms.record_name, self._rooms.remedy

    def __len__(self) -> int:
        return len(self._rooms)

    def __getitem__(self, index: int) -> Example:
        return room_frame(self._rooms[index])


def room_frame(frame: Example) -> Example:
    """A frame of `open_labels` in grey with label 0 where one of the eight pixels around has another label, else 1."""
    thing = frame["label"][..., 0]
    outline = maximum_filter(thing, 3, mode="nearest") != minimum_filter(thing, 3, mode="nearest")
    return {"image": in_grey(frame["image"]), "label": (~outline).astype(np.int32)[..., None]}


def in_grey(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 1"]:
    """The luma of a picture's red, green and blue by ITU-R BT.601; a grey picture stays as it is."""
    return np.round(image @ np.array([[0.299], [0.587], [0.114]])).astype(np.uint8)


def last_fifth(slices: list) -> dict[str, list]:
    """The slices as train and test."""
    tests = max(1, len(slices) // 5) if len(slices) > 1 else 0
    parts = {"train": slices[: len(slices) - tests], "test": slices[len(slices) - tests :]}
    return {name: part for name, part in parts.items() if part}


def slice_frame(image: np.ndarray, label: np.ndarray, *, name: str, label_name: str) -> Example:
    """The frame of a slice uint8 [h, w] or [h, w, 3] and its label [h, w]: 0 membrane; 1, or 255 (-1), cell.

    Raises UserError, which names the files, for colours, two sizes and other labels.
    """
    image = image.reshape(*image.shape[:2], -1)
    if (image != image[..., :1]).any():
        raise UserError(f"{name}: has colours; slices of a microscope must be grey")
    label = np.where(label == -1, 1, label)
    if label.max() > 1:
        raise UserError(f"{label_name}: has a label {label.max()}, but 0 is membrane and 1 or 255 cell; correct it")
    return labelled(image[..., :1], label, MEMBRANES, name=name, label_name=label_name)


class MembraneFolder:
    """Slices and labels of a folder, laid out as `LabelFolder` has it; where all are in train/, the last fifth is test.

    Labels are PNG files, 0 membrane and 1 or 255 cell. Raises UserError and NoSplit as `LabelFolder` does.
    """

    def __init__(self, folder: str | os.PathLike, split: str = "train"):
        self.folder = Path(folder).expanduser()
        if not self.folder.is_dir():
            raise UserError(f"{self.folder}: no such folder; give the folder that holds the slices and labels")
        parts = split_pairs(self.folder)
        if set(parts) == {"train"}:
            parts = last_fifth(parts["train"])
        self._pairs = chosen_split(parts, split, self.folder)

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Example:
        pair = self._pairs[index]
        names = {"name": os.fspath(pair.image), "label_name": os.fspath(pair.label)}
        return slice_frame(read_image(pair.image), read_label(pair.label), **names)

    def record_name(self, index: int) -> str:
        """What to call a slice in messages."""
        return os.fspath(self._pairs[index].image)


class MembraneStack:
    """The official stacks train-volume.tif and train-labels.tif of a folder: the last fifth of the slices is test.

    Raises UserError for stacks that are absent, damaged or do not go together, NoSplit for another split.
    """

    def __init__(self, folder: str | os.PathLike, split: str = "train"):
        self.folder = Path(folder).expanduser()
        self._slices, self._labels = read_stacks(
            *(read_bytes(self.folder / name) for name in (VOLUME, LABELS)), self.folder
        )
        self._numbers = chosen_split(last_fifth(list(range(len(self._slices)))), split, self.folder)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> Example:
        number = self._numbers[index]
        label = (self._labels[number] > 0).astype(np.int32)
        names = {"name": self.record_name(index), "label_name": f"{self.folder / LABELS}: slice {number}"}
        return slice_frame(self._slices[number], label, **names)

    def record_name(self, index: int) -> str:
        """What to call a slice in messages."""
        return f"{self.folder / VOLUME}: slice {self._numbers[index]}"


Stack = UInt8[np.ndarray, "n h w"]


def read_stacks(volume: bytes, labels: bytes, place: Path) -> tuple[Stack, Stack]:
    """The slices and their labels, 0 and 255, of the official files' bytes, which messages say are in `place`.

    Raises UserError where they are damaged or do not go together.
    """
    slices, truth = read_stack(volume, place / VOLUME), read_stack(labels, place / LABELS)
    if slices.shape != truth.shape:
        raise UserError(f"{place / VOLUME} is {_text(slices)} but {place / LABELS} is {_text(truth)}; fetch both again")
    if wrong := set(np.unique(truth).tolist()) - {0, 255}:
        raise UserError(f"{place / LABELS}: has labels {sorted(wrong)[:5]}, but they are 0 and 255; fetch it again")
    return slices, truth


def read_stack(data: bytes, path: Path) -> Stack:
    """The pages of a grey 8-bit TIFF file, which messages call `path`. Raises UserError for something else."""
    from PIL import Image, ImageSequence

    try:
        with Image.open(io.BytesIO(data)) as file:
            pages = [np.array(page) for page in ImageSequence.Iterator(file)]
        if any(page.dtype != np.uint8 or page.ndim != 2 for page in pages):
            raise ValueError("other pages than grey ones of 8 bits")
        return np.stack(pages)
    except Exception as error:  # Pillow's decoders raise many kinds
        reason = (str(error).splitlines() or [repr(error)])[0][:150]
        raise UserError(f"{path}: not a stack of slices ({reason}); fetch it again") from error


def _text(stack: np.ndarray) -> str:
    return "x".join(map(str, stack.shape))
