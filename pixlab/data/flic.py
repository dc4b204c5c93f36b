"""FLIC (Frames Labeled In Cinema; Sapp & Taskar, MODEC, CVPR 2013) as a source of people: 11 joints of upper bodies."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from pixlab.data.builders.flic import NAME, VERSION
from pixlab.data.flic_joints import JOINTS
from pixlab.errors import NoSplit, UserError

POINTS = dict(zip(JOINTS, (0, 1, 2, 3, 4, 5, 6, 9, 12, 13, 16), strict=True))  # which of FLIC's 29 columns


class Flic:
    """The frames of one split of a prepared `flic`, ours or the stock one.

    Each frame has "image" uint8 [480, 720, 3] and "joints" float32 [11, 2], (x, y) in pixels in the order of JOINTS,
    the centre of the top-left pixel at (0, 0), NaN where nobody labelled; joints may lie outside the picture. FLIC's
    own coordinates are taken to count pixels from 1, as MATLAB does: inferred from the file they come in.

    data_dir: TFDS's data directory. config: "small", "full" or "plus", see pixlab/data/builders/flic.py. split: "train"
    or "test". Training frames of "full" are all but its test frames; "test" is always that of "small", which has to be
    prepared for it. Raises NoSplit for other splits, and UserError when nothing is prepared there, or in a format that
    only TensorFlow reads.
    """

    def __init__(self, data_dir: str | os.PathLike, split: str = "train", *, config: str = "small"):
        if split not in ("train", "test"):
            raise NoSplit(f"flic: no split '{split}'; it has train and test")
        self.folder = prepared(data_dir, "small" if split == "test" else config)
        self.split = split
        builder = tfds.builder_from_directory(self.folder)
        if builder.info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
            found = builder.info.file_format.value
            raise UserError(f"{self.folder}: prepared as {found}, which needs TensorFlow; prepare it as array_record")
        part = "train+other" if split == "train" and "other" in builder.info.splits else split
        # The picture is decoded here: TFDS would take OpenCV where it is, whose pixels differ a little.
        self._records = builder.as_data_source(part, decoders={"image": tfds.decode.SkipDecoding()})

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        record = self._records[int(index)]
        with Image.open(io.BytesIO(record["image"])) as picture:
            image = np.array(picture.convert("RGB"))
        places = np.stack([record["xcoords"], record["ycoords"]], -1)[list(POINTS.values())]
        return {"image": image, "joints": (places - 1).astype(np.float32)}

    def record_name(self, index: int) -> str:
        """What to call a frame in messages."""
        return f"{self.folder}: {self.split} record {index}"


def prepared(data_dir: str | os.PathLike, config: str) -> Path:
    """The directory that holds the prepared records. Raises UserError when there is none."""
    folder = Path(data_dir).expanduser() / NAME / config / VERSION
    if not (folder / "dataset_info.json").exists():
        raise UserError(f"{folder}: no prepared {NAME}; prepare it with pixlab.data.builders.{NAME}.Builder")
    return folder
