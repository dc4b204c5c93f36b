"""What experiments on human pose share: options, data, scores, what is drawn and what is written of a photo."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from pixlab import skeletons
from pixlab.baselines import AT_MOST
from pixlab.core import Batch, Metric
from pixlab.data import pose_examples
from pixlab.data.pipeline import Data, Example, examples
from pixlab.data.pose import counterparts
from pixlab.data.pose_examples import Looks, back_to_photo, pose_data
from pixlab.errors import UserError
from pixlab.evaluate import Predict
from pixlab.metrics.pose import detection_rates
from pixlab.options import Options

UPPER = (
    "nose", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist", "left_hip",
    "right_hip",
)  # fmt: skip
RADII = (5, 10, 20)  # per cent of the torso: PCK@0.05, the middle of the published curves, PCK@0.2


@dataclasses.dataclass(frozen=True)
class PeopleOptions(Options):
    """Options of the data, whatever the network, and whether one person is asked about or everybody."""

    source: str = "flic"
    """People: figures, flic, flic:full, flic:plus, flic_joints:PATH (no pictures) or pose_folder:PATH."""
    joints: tuple[str, ...] = UPPER
    """Joints to find."""
    size: tuple[int, int] = (240, 360)
    """Rows and columns of the network's input, into which the picture is fitted whole."""
    sides: Literal["observer", "person"] = "observer"
    """Whose left and right: as if everybody faced the viewer, or the person's own."""
    zoom: tuple[float, float] = (0.9, 1.1)
    """Smallest and largest enlargement in augmentation."""
    turn: float = 0.0
    """Degrees that augmentation turns either way at most."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the networks compute in; parameters, losses and scores are float32."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(16, "size")
        self.at_least(0, "turn")
        self.at_least(0.1, "zoom")
        if self.zoom[0] > self.zoom[1]:
            raise UserError(f"--zoom {self.zoom[0]} {self.zoom[1]}: give the smaller one first")
        if not self.joints or len(set(self.joints)) < len(self.joints):
            raise UserError("--joints: give at least one joint, each once")
        try:
            counterparts(self.joints)
        except KeyError as missing:
            raise UserError(f"--joints: training mirrors pictures, so give {missing.args[0]} too") from None


@dataclasses.dataclass(frozen=True)
class PoseOptions(PeopleOptions):
    """Options of the data where one person is asked about."""

    around: float = 0.0
    """Instead of the whole picture, the square around the person, whose place and size are given: its side in torso
    heights; 0: the whole picture."""
    torso_noise: float = 0.05
    """Standard deviation of where the torso is said to be, in torso heights."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(0, "around", "torso_noise")


def looks(config: PoseOptions) -> Looks:
    """How people are looked at."""
    return Looks(**{field.name: getattr(config, field.name) for field in dataclasses.fields(Looks)})


def data(config: PoseOptions) -> Data:
    """People of `config.source`."""
    return pose_data(config.source, looks(config), batch=config.batch, workers=config.workers)


def answers(config: PoseOptions, data: Data) -> Mapping[str, Predict]:
    """What needs no network: joints where they lie from the torso in the mean of at most 1000 training examples."""
    split, away = data.splits["train"], []
    for one in examples(split, step=-(-len(split.source) // AT_MOST)):
        known = one["known"] * one["torso_known"]
        away.append(np.where(known[:, None] > 0, one["joints"] - one["torso"], np.nan))
    mean = np.ma.masked_invalid(away).mean(0).filled(0).astype(np.float32)
    middle = np.subtract(config.size[::-1], 1).astype(np.float32) / 2

    def predict(params, carry, batch):
        torso = jnp.where(batch["torso_known"][:, None] > 0, batch["torso"], middle[None])
        places = torso[:, None] + jnp.asarray(mean)[None]
        return {"joints": places, "value": jnp.ones(places.shape[:2])}

    return {"mean pose": predict}


def metrics(config: PoseOptions) -> Mapping[str, Metric]:
    """Detection rates at each of RADII; with the head's two ends among the joints, PCKh@0.5 by the head's length."""
    rates = {f"pose_r{radius}": detection_rates(config.joints, radius) for radius in RADII}
    if {"neck", "head_top"} <= set(config.joints):
        rates["pose_pckh50"] = detection_rates(config.joints, 50, size="head", radii=tuple(range(0, 101, 5)))
    return rates


def render(config: PoseOptions, example: Example, prediction: Batch) -> dict[str, UInt8[np.ndarray, "_ _ 3"]]:
    """What is drawn of a test example."""
    return {"pose": skeletons.pose_strip(example["image"], example, prediction, config.joints)}


def photo(config: PoseOptions, image: UInt8[np.ndarray, "h w 3"]) -> Example:
    """The whole photo at the network's size, with a torso that nobody knows: the person is whom it finds."""
    return pose_examples.photo_example(image, looks(config))


def export(config: PoseOptions, image: UInt8[np.ndarray, "h w 3"], prediction: Batch) -> dict:
    """What `python -m pixlab predict` writes at the photo's size: the skeleton, the heat-maps where there are some, and
    {joint: [x, y, value of its peak]} in pixels of the photo."""
    places = back_to_photo(prediction["joints"], image, config.size)
    files = {"skeleton": skeletons.draw(image, places, config.joints)}
    if "maps" in prediction:
        part = covered(config, image, prediction["maps"].shape[:2])
        files["heatmaps"] = skeletons.heat(image, prediction["maps"], config.joints, part)
    found = np.column_stack([places, prediction["value"]]).astype(float).round(4).tolist()
    return files | {"joints": dict(zip(config.joints, found, strict=True))}


def covered(config: PeopleOptions, image: np.ndarray, cells: tuple[int, int]) -> tuple[float, ...]:
    """The part of the maps that a whole photo covers: left, top, right, bottom."""
    (h, w), (rows, columns) = image.shape[:2], config.size
    scale = min(rows / h, columns / w)
    x, y = (columns - scale * w) / 2, (rows - scale * h) / 2
    across, down = cells[1] / columns, cells[0] / rows
    return x * across, y * down, (columns - x) * across, (rows - y) * down
