"""What experiments that label the pixels of RGB-D frames share: options, data, and the part of a frame that is scored.

A network sees the central crop of a frame and answers for a part of that crop. `part` is that part, a Crop of the
network's input; each experiment says which it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np

from pixlab import baselines
from pixlab.core import Batch
from pixlab.data.pipeline import Data, Example
from pixlab.data.rgbd import photo_example, rgbd_data
from pixlab.errors import UserError
from pixlab.metrics.crops import Crop
from pixlab.options import Options


@dataclasses.dataclass(frozen=True)
class RgbdOptions(Options):
    """Options of the data, whatever the network."""

    source: str = "nyu_depth_v2"
    """Frames: rooms, nyu_depth_v2, nyu_labeled or rgbd_folder:PATH."""
    frame: tuple[int, int] = (240, 320)
    """Rows and columns that frames are brought to."""
    crop: tuple[int, int] = (228, 304)
    """Rows and columns of the network's input."""
    truth: tuple[int, int] = (480, 640)
    """Rows and columns at which predictions are scored."""
    zoom: float = 1.5
    """Largest enlargement in augmentation (depth is divided by it)."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the networks compute in; parameters, losses and scores are float32."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "frame", "crop", "truth", "zoom")
        if any(crop > frame for crop, frame in zip(self.crop, self.frame, strict=True)):
            raise UserError(f"--crop {self.crop} is larger than --frame {self.frame}: give a smaller crop")


def data(config: RgbdOptions, maps: Sequence[str], **options) -> Data:
    """Frames of `config.source` with `maps`, augmented as in Eigen, Puhrsch & Fergus 2014; `options`: see rgbd_data."""
    sizes = dict(frame=config.frame, crop=config.crop, truth=config.truth)
    loading = dict(batch=config.batch, workers=config.workers, zoom=config.zoom)
    return rgbd_data(config.source, **sizes, **loading, maps=maps, **options)


def means(config: RgbdOptions, part: Crop, data: Data, **options) -> dict:
    """What needs no network: the training set's means, of the rows that predictions have."""
    return baselines.means(data, rows=part.in_middle_of(config.frame).slices(*config.truth)[0], **options)


def scored(config: RgbdOptions, part: Crop, example: Example) -> tuple[np.ndarray, Example]:
    """(image, maps) of a test example, cut to the part of the frame that a prediction is for."""
    maps = {name: x for name, x in example.items() if np.ndim(x) == 3 and name != "image"}
    rows, columns = part.in_middle_of(config.frame).slices(*config.truth)
    top, left = part.slices(*config.crop)
    return example["image"][top, left], {name: x[rows, columns] for name, x in maps.items()}


def central(config: RgbdOptions, batch: Batch, names: Sequence[str]) -> Batch:
    """A test batch's whole maps, at the pixels of the network's input: the central crop, nearest pixel."""
    index = []
    for frame, crop, whole in zip(config.frame, config.crop, batch[names[0]].shape[1:3], strict=True):
        index.append(((np.arange(crop) + (frame - crop) // 2 + 0.5) * whole / frame).astype(int))
    rows, columns = index
    return {name: batch[name][:, rows][:, :, columns] for name in names}


def photo(config: RgbdOptions, image: np.ndarray) -> Example:
    """The whole photo, uint8 RGB [h, w, 3], at the size of the network's input (by area where it shrinks, bilinear
    where it grows), divided by 255: float32."""
    return photo_example(image, crop=config.crop)
