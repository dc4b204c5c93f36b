"""RGB-D sources by name, and the splits that depth, normals and labels are trained on."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from pixlab.data import transforms
from pixlab.data.pipeline import Data, Example, Source, Split
from pixlab.errors import NoSplit, UserError

SOURCES = "rooms, nyu_depth_v2, nyu_labeled or rgbd_folder:PATH"
BLANK = "blank"  # a source of one grey frame with every map, for whoever needs a batch's shapes and no data
Size = tuple[int, int]


def open_source(name: str, split: str, *, normals: bool = False, classes: int = 40) -> Source:
    """The frames of `split` ("train" or "test") of a source; see `python -m pixlab data list`.

    Raises UserError for an unknown name, and with the command to give where the source is not prepared.
    """
    from pixlab.data import rgbd_sets

    name, _, path = name.partition(":")
    if name == BLANK:
        return [blank_frame()]
    if name == "rooms":
        return rgbd_sets.rooms(split)
    if name == "nyu_depth_v2":
        return rgbd_sets.nyu_depth_v2(split, normals=normals)
    if name == "nyu_labeled":
        return rgbd_sets.nyu_labeled(split, normals=normals, classes=classes, path=path)
    if name == "rgbd_folder" and path:
        return rgbd_sets.rgbd_folder(path, split, normals=normals)
    raise UserError(f"no data source '{name}{':' + path if path else ''}'; there are {SOURCES}")


def blank_frame() -> Example:
    """A frame of 480x640 as sources give it: grey, a wall two metres away, all of it of class 1."""
    normal = np.broadcast_to(np.float32([0, 0, -1]), (480, 640, 3))
    maps = {"depth": np.full((480, 640, 1), 2, np.float32), "label": np.ones((480, 640, 1), np.int32), "normal": normal}
    return {"image": np.full((480, 640, 3), 128, np.uint8), "intrinsics": np.float32([519, 519, 320, 240]), **maps}


def rgbd_data(
    source: str,
    *,
    frame: Size,
    crop: Size,
    truth: Size,
    batch: int,
    workers: int,
    maps: Sequence[str],
    classes: int = 40,
    zoom: float = 1.5,
) -> Data:
    """Splits "train" and "test" of an RGB-D source, augmented as in Eigen, Puhrsch & Fergus 2014.

    Frames are brought to the size `frame`; training crops `crop` out of the augmented frame. A test example has the
    central `crop` of the image and the whole frame's `maps` ("depth", "normal", "label") at the size `truth`, to
    score against. A folder with frames of one split only gives that split. All sizes are (height, width).
    """
    splits = {}
    for split in ("train", "test"):
        try:
            frames = open_source(source, split, normals="normal" in maps, classes=classes)
        except NoSplit:
            if split == "test" and not splits:
                raise
            continue
        splits[split] = Split(
            frames,
            functools.partial(test_example, frame=frame, crop=crop, truth=truth, maps=tuple(maps), classes=classes),
            functools.partial(train_example, frame=frame, crop=crop, maps=tuple(maps), zoom=zoom, classes=classes)
            if split == "train"
            else None,
        )
    return Data(batch=batch, splits=splits, workers=workers)


def train_example(
    raw: Example,
    rng: np.random.Generator,
    *,
    frame: Size,
    crop: Size,
    maps: Sequence[str],
    zoom: float,
    classes: int = 40,
) -> Example:
    """An augmented example of size `crop`, enlarged by up to `zoom`."""
    kept = _keep(raw, maps, classes)
    resized = transforms.resize(transforms.mask_extremes(kept) if "depth" in kept else kept, size=frame)
    return transforms.finish(transforms.augment(resized, rng, size=crop, scale=(1.0, zoom)))


def test_example(
    raw: Example, *, frame: Size, crop: Size, truth: Size, maps: Sequence[str], classes: int = 40
) -> Example:
    """The central crop of the image at network size, with the whole frame's maps at the size to score at."""
    raw = _keep(raw, maps, classes)
    image = transforms.centre(transforms.resize({"image": raw["image"]}, size=frame), size=crop)
    return transforms.finish(transforms.resize(raw, size=truth)) | {"image": transforms.finish(image)["image"]}


def photo_example(image: np.ndarray, *, crop: Size) -> Example:
    """Anyone's photo uint8 [h, w, 3], whole, at network size (a photo of another shape is squeezed)."""
    return {"image": transforms.finish(transforms.resize({"image": image}, size=crop))["image"]}


def _keep(raw: Example, maps: Sequence[str], classes: int) -> Example:
    missing = [name for name in maps if name not in raw]
    if missing:
        raise UserError(f"this source has no {' or '.join(missing)}; it has {', '.join(sorted(raw))}")
    if "label" in maps and (largest := raw["label"].max()) > classes:
        raise UserError(f"this source has a label {largest}, but there are {classes} classes: give more --classes")
    return {name: raw[name] for name in ("image", "intrinsics", *maps) if name in raw}
