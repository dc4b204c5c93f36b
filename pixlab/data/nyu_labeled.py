"""The official labelled set of NYU Depth v2 (1449 Kinect frames) as a source of frames.

Silberman, Hoiem, Kohli & Fergus, "Indoor Segmentation and Support Inference from RGBD Images", ECCV 2012. Nothing is
downloaded here; put these files into one folder by hand:

* nyu_depth_v2_labeled.mat (2.8 GB), http://horatio.cs.nyu.edu/mit/silberman/nyu_depth_v2/nyu_depth_v2_labeled.mat
* splits.mat, the official 795 / 654 split, http://horatio.cs.nyu.edu/mit/silberman/indoor_seg_sup/splits.mat
* classMapping40.mat, 894 object names -> 40 classes (for 40, 13 or 4 classes), in the public repository
  github.com/ankurhanda/nyuv2-meta-data (which has splits.mat too)

The first is MATLAB 7.3, that is HDF5 whose axes h5py sees in reverse: images [N, 3, 640, 480].
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np

from pixlab.data.nyu_classes import FROM_40, map_classes
from pixlab.data.rgbd_folder import frame_normal
from pixlab.errors import UserError

LABELED, SPLITS, MAPPING = "nyu_depth_v2_labeled.mat", "splits.mat", "classMapping40.mat"
ALL_CLASSES = 894  # object names in the file itself
SPLIT_KEYS = {"train": "trainNdxs", "test": "testNdxs"}
WHERE = "see the head of pixlab/data/nyu_labeled.py for where to get it"

# The colour camera at 640x480. The toolbox counts pixels from 1; here the centre of the top-left pixel is (0, 0).
INTRINSICS = np.array([518.857901, 519.469611, 325.582449 - 1, 253.736166 - 1], np.float32)


class NyuLabeled:
    """The frames of one split of the labelled set, in the order of the official numbers.

    Each frame has "image" uint8 [480, 640, 3]; "depth" float32 [480, 640, 1] metres, in-painted by the authors, or the
    sensor's own with `raw_depth=True` (0 = no measurement); "intrinsics" float32 [4]; "label" int32 [480, 640, 1],
    0 = unlabelled, unless classes is None; and "normal" float32 [480, 640, 3] with `normals=True`, planes fitted to
    that depth (kept in the folder `cache` when that is given).
    folder: holds the files named at the head of this module. split: "train" (795), "test" (654) or "all".
    classes: 40, 13, 4, 894, or None for no labels.
    Raises UserError when a file is absent or is not what its name says, for other splits and numbers of classes, and
    on reading a damaged frame.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        split: str = "train",
        *,
        classes: int | None = 40,
        raw_depth: bool = False,
        normals: bool = False,
        cache: str | os.PathLike | None = None,
    ):
        self.folder = Path(folder).expanduser()
        self.file = self.folder / LABELED
        if classes not in (*FROM_40, ALL_CLASSES, None):
            raise UserError(f"classes is {classes} but NYU has 40, 13, 4 or {ALL_CLASSES} classes, or None")
        self.split, self.classes, self.normals = split, classes, normals
        self.depths = "rawDepths" if raw_depth else "depths"
        self.cache = None if cache is None else Path(cache).expanduser()
        self._forget()
        with _open(self.file) as data:
            count = _checked(self.file, data, self.depths, labels=classes is not None)
        self.numbers = _numbers(self.folder / SPLITS, split, count)
        self._table = None
        if classes in FROM_40:
            self._table = map_classes(_to_40(self.folder / MAPPING), FROM_40[classes])

    def _forget(self):
        self._data, self._process, self._lock = None, None, threading.Lock()

    def __getstate__(self):
        return {k: v for k, v in self.__dict__.items() if k not in ("_data", "_process", "_lock")}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._forget()

    def _file(self):
        """The open file; a process opens its own, because HDF5 handles do not survive a fork."""
        with self._lock:
            if self._process != os.getpid():
                self._data, self._process = _open(self.file), os.getpid()
            return self._data

    def __len__(self) -> int:
        return len(self.numbers)

    def record_name(self, index: int) -> str:
        """What error messages call frame `index`: its official number, from 1."""
        return f"{self.file}: frame {self.numbers[index]:04d}"

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        number = self.numbers[index]
        data = self._file()
        try:
            image, metres = data["images"][number - 1], data[self.depths][number - 1]
            label = None if self.classes is None else data["labels"][number - 1]
        except OSError as error:
            raise UserError(f"{self.record_name(index)}: cannot be read ({error}); download the file again") from error
        image = np.ascontiguousarray(image.transpose(2, 1, 0))
        depth = np.where(metres.T > 0, metres.T, 0).astype(np.float32)[..., None]  # a comparison with NaN is false
        frame = {"image": image, "depth": depth, "intrinsics": INTRINSICS.copy()}
        if label is not None:
            label = label.T if self._table is None else map_classes(label.T, self._table)
            frame["label"] = label.astype(np.int32)[..., None]
        if self.normals:
            frame["normal"] = frame_normal(depth, INTRINSICS, self.cache)
        return frame


def _open(file: Path):
    import h5py

    if not file.exists():
        raise UserError(f"{file}: no such file; {WHERE}")
    try:
        return h5py.File(file, "r")
    except OSError as error:
        raise UserError(f"{file}: not an HDF5 file or cut short ({error}); download it again, {WHERE}") from error


def _checked(file: Path, data, depths: str, *, labels: bool) -> int:
    """The number of frames, once the arrays that will be read are there and fit together."""
    needed = ["images", depths, *(["labels"] if labels else [])]
    missing = [name for name in needed if name not in data]
    if missing:
        raise UserError(f"{file}: has no '{missing[0]}', so it is not the labelled set; {WHERE}")
    count, channels, width, height = (*data["images"].shape, 0, 0, 0)[:4]
    wrong = [name for name in needed[1:] if data[name].shape != (count, width, height)]
    if channels != 3 or wrong:
        shapes = ", ".join(f"{name} {data[name].shape}" for name in needed)
        raise UserError(f"{file}: {shapes} do not fit together as N x 3 x W x H and N x W x H; {WHERE}")
    return count


def _mat(file: Path, key: str) -> np.ndarray:
    """One integer variable of a MATLAB file, flat."""
    import scipy.io

    if not file.exists():
        raise UserError(f"{file}: no such file; {WHERE}")
    try:
        return scipy.io.loadmat(file)[key].ravel().astype(np.int64)
    except Exception as error:  # SciPy's reader raises many kinds; KeyError when the variable is not there
        raise UserError(f"{file}: cannot be read, or has no '{key}' ({error}); download it again, {WHERE}") from error


def _numbers(file: Path, split: str, count: int) -> list[int]:
    """Official frame numbers, from 1, of a split."""
    if split == "all":
        return list(range(1, count + 1))
    if split not in SPLIT_KEYS:
        raise UserError(f"split is '{split}' but NYU's labelled set has train, test and all")
    numbers = sorted(_mat(file, SPLIT_KEYS[split]).tolist())
    if not numbers or numbers[0] < 1 or numbers[-1] > count:
        raise UserError(f"{file}: split '{split}' does not fit the {count} frames of {LABELED}; {WHERE}")
    return numbers


def _to_40(file: Path) -> np.ndarray:
    """The class of the 40 for each of the 894 object names, from 1."""
    table = _mat(file, "mapClass")
    if len(table) != ALL_CLASSES or table.min() < 1 or table.max() > 40:
        raise UserError(f"{file}: 'mapClass' must hold {ALL_CLASSES} numbers from 1 to 40; download it again, {WHERE}")
    return table
