"""From a source of people to examples: pictures of the network's size with the joints that are asked for."""

from __future__ import annotations

import dataclasses
import functools
import zlib
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from pixlab.data.people import open_people, select
from pixlab.data.pipeline import Data, Example, Split
from pixlab.data.pose import TORSO, Frame, example, observer_centric, torso, view, warp
from pixlab.errors import NoSplit


@dataclasses.dataclass(frozen=True)
class Looks:
    """How people are looked at."""

    joints: tuple[str, ...]  # those that are asked for
    size: tuple[int, int]  # rows and columns
    around: float = 0.0  # side of the square around the person, in torso heights; 0: the whole picture
    sides: Literal["observer", "person"] = "observer"  # whose left and right
    zoom: tuple[float, float] = (1.0, 1.0)  # smallest and largest enlargement in augmentation
    turn: float = 0.0  # degrees that augmentation turns at most
    torso_noise: float = 0.0  # standard deviation of the torso's place, in torso heights


def pose_data(source: str, looks: Looks, *, batch: int, workers: int) -> Data:
    """Splits "train", mirrored, turned and enlarged at random, and "test" of a source of people.

    An example has "image" float32 [h, w, 3] in [0, 1]; "joints" [k, 2], (x, y) in its pixels, with "known" [k]; the
    "torso"'s middle [2] with "torso_known"; "size", the distance from the left hip to the right shoulder, and "head",
    that from the neck to the head's top, both in its pixels and 0 where they are not labelled.
    Raises UserError for a source that lacks one of the joints, or one of the torso's, which errors are measured by.
    """
    splits = {}
    for split in ("train", "test"):
        try:
            people = open_people(source, split)
        except NoSplit:
            if split == "test" and not splits:
                raise
            continue
        select(people, (*looks.joints, *TORSO))
        names = people.joints
        augment = functools.partial(train_example, names=names, looks=looks) if split == "train" else None
        splits[split] = Split(people.source, functools.partial(test_example, names=names, looks=looks), augment)
    return Data(batch=batch, splits=splits, workers=workers)


def train_example(frame: Frame, rng: np.random.Generator, *, names: tuple[str, ...], looks: Looks) -> Example:
    """An example, augmented."""
    change = random_change(rng, looks)
    return _example(frame, rng, names, looks, **change)


def random_change(rng: np.random.Generator, looks: Looks) -> dict[str, float | bool]:
    """How augmentation enlarges, turns and mirrors."""
    low, high = np.log(looks.zoom)
    return dict(
        zoom=float(np.exp(rng.uniform(low, high))),
        degrees=rng.uniform(-looks.turn, looks.turn),
        mirror=bool(rng.integers(2)),
    )


def test_example(frame: Frame, *, names: tuple[str, ...], looks: Looks) -> Example:
    """An example as it is; the torso's noise is the same each time."""
    return _example(frame, np.random.default_rng(zlib.crc32(frame["joints"].tobytes())), names, looks)


def photo_example(image: UInt8[np.ndarray, "h w 3"], looks: Looks) -> Example:
    """Anyone's photo, whole, with a torso that nobody knows."""
    nobody = np.full((len(looks.joints), 2), np.nan, np.float32)
    frame = {"image": image, "joints": nobody}
    return _ready(_look(frame, looks.joints, looks, np.full(2, np.nan), np.nan), looks, np.full(2, np.nan))


def back_to_photo(
    places: Float[np.ndarray, "k 2"], image: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]
) -> Float[np.ndarray, "k 2"]:
    """Places on the network's picture of a whole photo as places on the photo."""
    middle, scale = view({"image": image}, size)
    return (places - np.subtract(size[::-1], 1) / 2) / scale + middle


def _example(frame, rng, names, looks, **change):
    """The size is the source's, or is measured with the source's own sides, before a viewer's."""
    middle, height = torso(frame["joints"], names)
    height = frame.get("size", height)
    head = np.nan
    if {"neck", "head_top"} <= set(names):
        neck, top = (frame["joints"][names.index(joint)] for joint in ("neck", "head_top"))
        head = float(np.linalg.norm(top - neck))
    if looks.sides == "observer":
        frame = frame | {"joints": observer_centric(frame["joints"], names)}
    new = _look(frame, names, looks, middle, height, head, **change)
    new["joints"] = new["joints"][[names.index(joint) for joint in looks.joints]]
    noise = rng.normal(0, looks.torso_noise, 2) * (new["height"] if np.isfinite(new["height"]) else 0)
    return _ready(new, looks, new["torso"] + noise)


def _look(frame, names, looks, middle, height, head=np.nan, *, zoom=1.0, degrees=0.0, mirror=False):
    """The part that is looked at, at the network's size, with the torso moved along as if it were a joint."""
    centre, scale = view(frame | {"torso": middle, "height": height}, looks.size, looks.around)
    scale *= zoom
    joints = np.concatenate([frame["joints"], np.asarray(middle)[None]]).astype(np.float32)
    change = dict(size=looks.size, middle=centre, scale=scale, degrees=degrees, mirror=mirror)
    new = warp({"image": frame["image"], "joints": joints}, (*names, "torso"), **change)
    joints, middle = new["joints"][:-1], new["joints"][-1]
    return new | {"joints": joints, "torso": middle, "height": scale * height, "head": scale * head}


def _ready(new, looks, middle):
    known = np.isfinite(middle).all()
    sizes = {"size": np.float32(np.nan_to_num(new["height"])), "head": np.float32(np.nan_to_num(new["head"]))}
    middle = np.where(known, middle, 0).astype(np.float32)
    ready = example({"image": new["image"], "joints": new["joints"]})
    return ready | sizes | {"torso": middle, "torso_known": np.float32(known)}
