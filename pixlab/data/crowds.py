"""Pictures of several people: sources by name, and examples with everyone's joints."""

from __future__ import annotations

import functools
import os

import numpy as np
from jaxtyping import UInt8

from pixlab.data.figures import JOINTS, crowd
from pixlab.data.people import EVERY, Figures, People, PoseFolder, blank_frame, select
from pixlab.data.pipeline import Data, Example, Split
from pixlab.data.pose import TORSO, Frame, example, observer_centric, torso, view, warp
from pixlab.data.pose_examples import Looks, random_change
from pixlab.data.rgbd import BLANK
from pixlab.errors import NoSplit, UserError


class Crowd(Figures):
    """The pictures of `figures`, with the joints of everyone in them."""

    def __getitem__(self, index: int) -> Frame:
        image, everyone = crowd(*self.scene(index))
        return {"image": image, "joints": everyone}

    def record_name(self, index: int) -> str:
        """What to call a frame in messages."""
        return f"crowd[{index}]"


class CrowdFolder(PoseFolder):
    """A `PoseFolder` whose entries of one file are the people of one picture; everybody in it should have one."""

    def __init__(self, folder: str | os.PathLike, split: str = "train"):
        super().__init__(folder, split)
        pictures: dict[str, list[np.ndarray]] = {}
        for file, places in self._people:
            pictures.setdefault(file, []).append(places)
        self._people = [(file, np.stack(everyone)) for file, everyone in pictures.items()]


def open_crowds(name: str, split: str) -> People:
    """The frames, with "joints" [p, k, 2] of p people, of `split` ("train" or "test") of "crowd" or "pose_folder:PATH".

    Raises UserError for an unknown name or split, and where files are absent or damaged.
    """
    name, _, path = name.partition(":")
    if name == BLANK:
        frame = blank_frame()
        return People([frame | {"joints": frame["joints"][None]}], EVERY)
    if name == "crowd":
        return People(Crowd(split), JOINTS)
    if name == "pose_folder" and path:
        folder = CrowdFolder(path, split)
        return People(folder, folder.joints)
    given = f"{name}{':' + path if path else ''}"
    raise UserError(f"no source with everyone's joints '{given}'; there are crowd and pose_folder:PATH")


def crowd_data(source: str, looks: Looks, most: int, *, batch: int, workers: int) -> Data:
    """Splits "train", mirrored, turned and enlarged at random, and "test" of a source of several people.

    An example has "image" float32 [h, w, 3] in [0, 1]; "joints" [most, k, 2], (x, y) in its pixels, with "known"
    [most, k], 0 for joints outside it; "size" [most], the distance from the left hip to the right shoulder, 0 where it
    is not labelled. Raises UserError for a source that lacks one of the joints or of the torso's, and for a picture of
    more than `most`.
    """
    splits = {}
    for split in ("train", "test"):
        try:
            people = open_crowds(source, split)
        except NoSplit:
            if split == "test" and not splits:
                raise
            continue
        select(people, (*looks.joints, *TORSO))
        how = dict(names=people.joints, looks=looks, most=most)
        augment = functools.partial(train_example, **how) if split == "train" else None
        splits[split] = Split(people.source, functools.partial(crowd_example, **how), augment)
    return Data(batch=batch, splits=splits, workers=workers)


def train_example(
    frame: Frame, rng: np.random.Generator, *, names: tuple[str, ...], looks: Looks, most: int
) -> Example:
    """An example, augmented."""
    return crowd_example(frame, names=names, looks=looks, most=most, **random_change(rng, looks))


def crowd_example(
    frame: Frame,
    *,
    names: tuple[str, ...],
    looks: Looks,
    most: int,
    zoom: float = 1.0,
    degrees: float = 0.0,
    mirror: bool = False,
) -> Example:
    """An example; sizes are measured with the source's own sides, before a viewer's."""
    everyone = frame["joints"]
    if len(everyone) > most:
        raise UserError(f"a picture has {len(everyone)} people labelled; give --people {len(everyone)} or more")
    sizes = np.zeros(most, np.float32)
    sizes[: len(everyone)] = np.nan_to_num([torso(places, names)[1] for places in everyone])
    if looks.sides == "observer":
        everyone = np.stack([observer_centric(places, names) for places in everyone])
    middle, scale = view(frame, looks.size)
    change = dict(size=looks.size, middle=middle, scale=scale * zoom, degrees=degrees, mirror=mirror)
    new = warp({"image": frame["image"], "joints": everyone}, names, **change)
    places = np.full((most, len(looks.joints), 2), np.nan, np.float32)
    places[: len(everyone)] = new["joints"][:, [names.index(joint) for joint in looks.joints]]
    inside = ((places >= -0.5) & (places < np.subtract(looks.size[::-1], 0.5))).all(-1)
    places[~inside] = np.nan
    return example({"image": new["image"], "joints": places}) | {"size": np.float32(scale * zoom) * sizes}


def photo_example(image: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> Example:
    """Anyone's photo, whole, in the middle of the network's picture; what it leaves is black."""
    middle, scale = view({"image": image}, size)
    nobody = {"image": image, "joints": np.zeros((0, 2), np.float32)}
    new = warp(nobody, (), size=size, middle=middle, scale=scale)
    return {"image": example(new)["image"]}
