"""Sources of frames of people by name, each with the names of its joints."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pixlab.data.figures import JOINTS, figure
from pixlab.data.images import read_image
from pixlab.data.pipeline import Source
from pixlab.data.rgbd import BLANK
from pixlab.errors import NoSplit, UserError

SOURCES = "figures, flic, flic:full, flic:plus, flic_joints:PATH and pose_folder:PATH"
FIGURES = {"train": (0, 2000), "test": (1_000_000, 200)}  # first seed and number of each split
LSP = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist", "right_elbow",
    "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "head_top",
)  # fmt: skip

EVERY = tuple(dict.fromkeys((*JOINTS, *LSP)))  # what a blank frame has


class People(NamedTuple):
    """Frames with "image" uint8 [H, W, 3] and "joints" float32 [k, 2] (see pixlab.data.pose), and the joints' names."""

    source: Source
    joints: tuple[str, ...]


def open_people(name: str, split: str) -> People:
    """The frames of `split` ("train" or "test") of one of SOURCES.

    Raises UserError for an unknown name or split, and where files are absent or damaged.
    """
    name, _, path = name.partition(":")
    if name == BLANK:
        return People([blank_frame()], EVERY)
    if name == "figures":
        return People(Figures(split), JOINTS)
    if name == "pose_folder" and path:
        folder = PoseFolder(path, split)
        return People(folder, folder.joints)
    if name == "flic_joints" and path:
        from pixlab.data import flic_joints

        return People(flic_joints.FlicJoints(path, split), flic_joints.JOINTS)
    if name == "flic" and path in ("", "full", "plus"):
        from pixlab.data import flic, pose_sets

        return People(pose_sets.flic(path or "small", split), flic.JOINTS)
    raise UserError(f"no source of people '{name}{':' + path if path else ''}'; there are {SOURCES}")


def blank_frame() -> dict[str, np.ndarray]:
    """A frame of 480x720 as sources give it: grey, somebody in its middle."""
    rng = np.random.default_rng(0)
    places = rng.uniform((300, 150), (420, 330), (len(EVERY), 2))
    return {"image": np.full((480, 720, 3), 128, np.uint8), "joints": places.astype(np.float32)}


class Figures:
    """Procedural people in procedural rooms, drawn anew each time they are read: the same for the same index."""

    def __init__(self, split: str):
        from pixlab.data import rgbd_sets

        if split not in FIGURES:
            raise NoSplit(f"figures: no split '{split}'; it has {' and '.join(FIGURES)}")
        self._first, self._count = FIGURES[split]
        self._rooms = rgbd_sets.rooms(split)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        image, joints = figure(*self.scene(index))
        return {"image": image, "joints": joints}

    def scene(self, index: int) -> tuple[np.ndarray, np.random.Generator]:
        """The room of a picture and the random numbers of its people."""
        if not 0 <= index < self._count:
            raise IndexError(index)
        room = self._rooms[index % len(self._rooms)]["image"]
        return room, np.random.default_rng(self._first + index)

    def record_name(self, index: int) -> str:
        """What to call a frame in messages."""
        return f"figures[{index}]"


class PoseFolder:
    """A folder of pictures with `joints.json`: a list of {"file", "joints": [[x, y, visible], ...]}, or an object with
    that list as "people" and the joints' names as "names"; without names they are the 14 of LSP, in its order.

    x and y are pixels of the picture, 0 for `visible` (or NaN) means that nobody labelled the joint. "split" of an
    entry says where it belongs; where none has one, every fifth picture is "test" and the others "train". "all" is all.
    Raises UserError for what is absent, damaged or does not fit, and where nobody has a joint, on construction; for a
    picture that cannot be read, and for a joint far outside it, when it is read.
    """

    def __init__(self, folder: str | os.PathLike, split: str = "train"):
        self.folder = Path(folder).expanduser()
        index = self.folder / "joints.json"
        try:
            read = json.loads(index.read_text())
        except OSError as error:
            reason = f"cannot be read ({error.strerror}); it says where people's joints are"
            raise UserError(f"{index}: {reason}, in the folder that --source pose_folder:PATH names") from None
        except ValueError as error:
            raise UserError(f"{index}: not JSON ({error})") from None
        entries, names = (read.get("people"), read.get("names", LSP)) if isinstance(read, dict) else (read, LSP)
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{index}: its names are not a list of joints' names; see {__name__}.PoseFolder")
        if not isinstance(entries, list):
            raise UserError(f"{index}: has no list of people; see {__name__}.PoseFolder")
        self.joints, everyone = tuple(names), []
        for number, entry in enumerate(entries):
            try:
                everyone.append((entry["file"], self._places(entry), entry.get("split", "")))
            except (TypeError, KeyError, ValueError, AttributeError) as error:
                reason = f"entry {number} is not as expected ({error!r})"
                raise UserError(f"{index}: {reason}; see {__name__}.PoseFolder") from None
        unsaid = [number for number, (*_, where) in enumerate(everyone) if not where]
        if unsaid and len(unsaid) < len(everyone):
            raise UserError(f"{index}: entry {unsaid[0]} has no split, though others have; give all one, or none")
        if unsaid:
            places = {file: i for i, file in enumerate(dict.fromkeys(file for file, *_ in everyone))}
            everyone = [(file, at, "train" if places[file] % 5 else "test") for file, at, _ in everyone]
        self._people = [(file, at) for file, at, where in everyone if split in ("all", where)]
        if not self._people:
            raise NoSplit(f"{index}: nobody in split '{split}'; it has {sorted({where for *_, where in everyone})}")
        if absent := [file for file, _ in self._people if not (self.folder / file).is_file()]:
            raise UserError(f"{index}: names {absent[0]} ({len(absent)} in all), which is not in the folder")
        if not any(np.isfinite(at).all(-1).any() for _, at in self._people):
            raise UserError(f"{index}: nobody in split '{split}' has a joint that is labelled")

    def _places(self, entry: dict) -> np.ndarray:
        at = np.array(entry["joints"], np.float32)
        if at.shape not in ((len(self.joints), 2), (len(self.joints), 3)):
            raise ValueError(f"{entry['file']} has joints {at.shape} but {len(self.joints)} names")
        places = at[:, :2] if at.shape[1] == 2 else np.where(at[:, 2:] > 0, at[:, :2], np.nan)
        if np.isinf(places).any():
            raise ValueError(f"{entry['file']} has a joint at infinity")
        return places

    def __len__(self) -> int:
        return len(self._people)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        file, places = self._people[index]
        image = read_image(self.folder / file)
        size = np.array(image.shape[1::-1])
        far = ((places < -size) | (places > 2 * size)).any(-1)  # nobody is cut off by more than a picture
        if far.any():
            x, y = places[far][0]
            said = f"{self.joints[int(far.argmax())]} at ({x:g}, {y:g}), far outside its {size[0]}x{size[1]} pixels"
            raise UserError(f"{self.folder / file}: has the {said}; correct joints.json, or say 0 for visible")
        return {"image": image, "joints": places.copy()}

    def record_name(self, index: int) -> str:
        """What to call a frame in messages."""
        return f"{self.folder / self._people[index][0]}"


def select(people: People, joints: Sequence[str]) -> list[int]:
    """Where `joints` stand among those of a source. Raises UserError for joints that it lacks, and says what helps."""
    if missing := [joint for joint in joints if joint not in people.joints]:
        raise UserError(
            f"the source has no {', '.join(missing)}; it has {', '.join(people.joints)}; "
            "train for those with --joints, or give a --source that has them all"
        )
    return [people.joints.index(joint) for joint in joints]
