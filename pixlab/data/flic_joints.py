"""FLIC's joints without its pictures, as stacked hourglass's release has them (Newell, Yang & Deng, ECCV 2016)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from pixlab.errors import NoSplit, UserError

FILES = {"train": "train.h5", "test": "valid.h5"}
ORIGIN = "github.com/princeton-vl/pose-hg-train, data/flic/annot"
JOINTS = (
    "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist", "left_hip",
    "right_hip", "left_eye", "right_eye", "nose",
)  # fmt: skip


class FlicJoints:
    """train.h5 (3987 people) and valid.h5 (1016) in a folder: "joints" float32 [11, 2], a black "image" of 480x720, and
    the "size" of the torso that the files measure by, from the person's own left hip to the right shoulder.

    Sides are as the observer has them; the files *_personcentric.h5, renamed, have the person's own.
    Raises NoSplit for other splits than "train" and "test", UserError for files that are absent or hold other things.
    """

    def __init__(self, folder: str | os.PathLike, split: str = "train"):
        import h5py

        if split not in FILES:
            raise NoSplit(f"flic_joints: no split '{split}'; it has {' and '.join(FILES)}")
        self._path = Path(folder).expanduser() / FILES[split]
        try:
            with h5py.File(self._path, "r") as file:
                self._places = np.asarray(file["part"], np.float32)
                self._sizes = np.asarray(file["normalize"], np.float32)
        except (OSError, KeyError) as error:
            raise UserError(f"{self._path}: cannot be read ({error}); it is a file of {ORIGIN}") from None
        if self._places.shape[1:] != (len(JOINTS), 2):
            raise UserError(f"{self._path}: 'part' is {self._places.shape}, not [n, 11, 2]; it is a file of {ORIGIN}")

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {
            "image": np.zeros((480, 720, 3), np.uint8),
            "joints": self._places[index].copy(),
            "size": self._sizes[index],
        }

    def record_name(self, index: int) -> str:
        """What to call a frame in messages."""
        return f"{self._path}: person {index}"
