"""The pose of everyone in a picture: part affinity fields.

Cao, Simon, Wei & Sheikh, "Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields", CVPR 2017 (arXiv
1611.08050).

    python -m experiments.pose_paf                  minutes on a laptop, on procedural people
    python -m experiments.pose_paf paper --source pose_folder:PATH --weights vgg19.pth

Two branches of a network, in stages that each see what the last one said, answer where joints are and, for each limb,
in which direction it runs. Peaks are candidates for joints; candidates whose limb's field runs along the line between
them belong together, and limb by limb that makes people.

The paper's data, COCO and MPII, are not built in: its configs run on the procedural people of "crowd", pictures of
120x160, unless --source names a folder of labelled pictures (pixlab.data.crowds.CrowdFolder); their scores are not to
be compared with the paper's.

What differs from the paper:
- Joints and limbs are those of our skeleton: 15 joints and a tree of 14 limbs. COCO's 18 joints have 19 limbs, of which
  the release lets the last two only join people.
- The whole picture is fitted into the network's, once, where the release averages four scales; augmentation mirrors,
  turns and enlarges it. Everybody is labelled, so that no part of a picture is masked out of the loss.
- Peaks are found on the maps themselves, to less than a cell, where the release enlarges maps by 8 first. At most
  --people people and 8 candidates for a joint are looked at.
- Input is normalised as ImageNet's for PyTorch; layers that do not come from VGG-19 start by He's rule, a branch's
  last one near 0. The loss is halved, as Caffe's is remembered to be, so that the release's rates fit.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import jax.numpy as jnp
import numpy as np
import optax

from pixlab import crowd_pictures, pose_task, skeletons
from pixlab.core import Aux, Objective, Recipe, Stage
from pixlab.data import crowds
from pixlab.data.pipeline import Data
from pixlab.data.pose_examples import Looks, back_to_photo
from pixlab.errors import UserError
from pixlab.losses.part_affinity import affinity_fields, affinity_loss, confidence_maps
from pixlab.metrics.people import people_found
from pixlab.models.part_affinity import CELL, PartAffinity
from pixlab.net import Net
from pixlab.nn.affinity_decode import decode
from pixlab.nn.peaks import cells, pixels
from pixlab.optim import Rule, sgd_by_layer
from pixlab.pose_task import PeopleOptions
from pixlab.pretrained import imagenet
from pixlab.pretrained.files import read_weights
from pixlab.run import Experiment

UPPER = ("nose", "neck", *pose_task.UPPER[1:])
BODY = (
    "nose", "neck", "head_top", *pose_task.UPPER[1:], "left_knee", "left_ankle", "right_knee", "right_ankle",
)  # fmt: skip
LIMBS = (  # from the neck outwards: a tree
    ("neck", "nose"), ("neck", "head_top"), ("neck", "left_shoulder"), ("neck", "right_shoulder"),
    ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"), ("right_shoulder", "right_elbow"),
    ("right_elbow", "right_wrist"), ("neck", "left_hip"), ("neck", "right_hip"), ("left_hip", "left_knee"),
    ("left_knee", "left_ankle"), ("right_hip", "right_knee"), ("right_knee", "right_ankle"),
)  # fmt: skip
SHOWN = ("right_shoulder", "right_elbow")  # the limb whose field is drawn, where it is asked for
RADIUS = 20  # per cent of the torso within which a joint is right
FALL, EVERY = 0.333, 136_106  # the release's schedule: the rate's factor, and after how many steps


@dataclasses.dataclass(frozen=True)
class Config(PeopleOptions):
    """Everyone's pose by part affinity fields (Cao et al. 2017)."""

    source: str = "crowd"
    """People: crowd, or pose_folder:PATH, where all entries of a file are in the same picture."""
    joints: tuple[str, ...] = BODY
    """Joints to find; the limbs between them must connect all."""
    size: tuple[int, int] = (368, 368)
    """Rows and columns of the network's input, into which the picture is fitted whole; multiples of 8."""
    sides: Literal["observer", "person"] = "person"
    """Whose left and right: as if everybody faced the viewer, or the person's own."""
    zoom: tuple[float, float] = (0.5, 1.1)
    """Smallest and largest enlargement in augmentation."""
    turn: float = 40.0
    """Degrees that augmentation turns either way at most."""
    people: int = 8
    """People of a picture at most, labelled as well as found."""
    width: int = 64
    """Maps of the first convolution, to which all others are in proportion; the paper: 64."""
    stages: int = 6
    """Stages of the network."""
    sigma: float = 1.24
    """Of the joints' maps, exp(-d^2 / sigma^2) at a distance of d cells of 8 pixels; the release, as remembered: 7
    pixels with a half in the exponent, which is this."""
    limb_width: float = 1.0
    """Cells that a limb's field reaches to either side; the release's, as remembered."""
    weights: str = ""
    """File with VGG-19's published ImageNet weights (torchvision's or timm's); empty: start at random."""
    optimiser: Literal["sgd", "adam"] = "sgd"
    """The release's SGD with momentum, or Adam with a cosine decay, for networks that start at random."""
    lr: float = 4e-5
    """Learning rate."""
    steps: int = 600_000
    """Optimiser steps."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "people", "width", "stages", "steps")
        self.at_least(0, "lr")
        self.at_least(0.1, "sigma", "limb_width")
        if any(n % CELL for n in self.size):
            raise UserError(f"--size {self.size[0]} {self.size[1]}: give multiples of {CELL}")
        if len(limbs(self.joints)) != len(self.joints) - 1 or len(self.joints) < 2:
            raise UserError(
                f"--joints {' '.join(self.joints)}: between these, limbs do not connect all; neck and the joints on "
                "the way to it are needed"
            )
        if self.weights and self.width != 64:
            raise UserError(f"--weights are those of a network of width 64, not {self.width}")


QUICK = Config(
    joints=UPPER, size=(120, 160), batch=8, zoom=(0.9, 1.1), turn=0.0, sides="observer", width=24, stages=2,
    optimiser="adam", lr=1e-3, steps=600, save_every=200,
)  # fmt: skip
PAPER = Config(batch=10)
CONFIGS = {
    "quick": QUICK,
    "paper": PAPER,
    "paper_1": dataclasses.replace(PAPER, stages=1),
    "paper_3": dataclasses.replace(PAPER, stages=3),
}
ABOUT = {
    "quick": "Minutes on a laptop: a narrow network of two stages on small pictures of procedural people.",
    "paper": "The paper's network of six stages and its schedule, on our 15 joints.",
    "paper_1": "Of the paper's, the first stage alone.",
    "paper_3": "Of the paper's, three stages.",
}


def limbs(joints: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """The limbs between `joints` as pairs of their numbers."""
    return tuple((joints.index(a), joints.index(b)) for a, b in LIMBS if a in joints and b in joints)


def shown(config: Config) -> int:
    """The number of the limb whose field is drawn."""
    names = [(config.joints[a], config.joints[b]) for a, b in limbs(config.joints)]
    return names.index(SHOWN) if SHOWN in names else 0


def recipe(config: Config) -> Recipe:
    """The network, its loss, how people are read off it, the scores."""
    count, pairs, size = len(config.joints), limbs(config.joints), tuple(n // CELL for n in config.size)
    module = PartAffinity(count, len(pairs), config.stages, config.width / 64)
    net = Net("net", module, ((1, *config.size, 3),), jnp.dtype(config.dtype))

    def loss(params, carry, batch, key):
        maps, fields = net(params, carry, batch["image"], train=True, key=key)[0]
        people = cells(batch["joints"], CELL), batch["known"], size
        targets = confidence_maps(*people, config.sigma), affinity_fields(*people, pairs, config.limb_width)
        return affinity_loss(maps, fields, *targets, jnp.ones_like(targets[0][..., 0])) / 2, Aux()

    def predict(params, carry, batch):
        maps, fields = (x[:, -1] for x in net(params, carry, batch["image"])[0])
        found = decode(maps[..., :count], fields, pairs, people=config.people)
        places = jnp.where(found.values[..., None] > 0, pixels(found.places, CELL), 0)
        people = {"joints": places, "value": found.values, "score": found.score}
        return people | {"maps": maps, "fields": fields}

    def render(example, prediction):
        limb = shown(config)
        name = " to ".join(config.joints[joint].replace("_", " ") for joint in pairs[limb])
        return {"people": crowd_pictures.crowd_strip(example["image"], example, prediction, config.joints, limb, name)}

    stage = Stage(config.steps, {"pose": Objective(("net",), loss, optimiser(config))})
    metrics = {f"people_r{RADIUS}": people_found(config.joints, RADIUS)}
    return Recipe(net.init, (stage,), predict, metrics, render, functools.partial(pretrained, config))


def optimiser(config: Config) -> optax.GradientTransformation:
    """Adam, or the release's SGD: stages after the first learn four times as fast, as remembered."""
    if config.optimiser == "adam":
        return optax.adam(optax.cosine_decay_schedule(config.lr, config.steps))
    falls = dict.fromkeys(range(EVERY, config.steps, EVERY), FALL)
    rules = [Rule("stage1_|trunk|features", 1.0, decay=5e-4), Rule("stage", 4.0, decay=5e-4)]
    return sgd_by_layer(rules, lr=optax.piecewise_constant_schedule(config.lr, falls), momentum=0.9)


def pretrained(config: Config, params):
    """The random parameters, with VGG-19's where a file of them is given."""
    if not config.weights:
        return params
    trunk, _ = imagenet.vgg19(read_weights(config.weights), params["net"]["trunk"])
    return params | {"net": params["net"] | {"trunk": trunk}}


def data(config: Config) -> Data:
    """Pictures with everyone's joints."""
    looks = Looks(config.joints, config.size, sides=config.sides, zoom=config.zoom, turn=config.turn)
    return crowds.crowd_data(config.source, looks, config.people, batch=config.batch, workers=config.workers)


def photo(config: Config, image: np.ndarray) -> dict[str, np.ndarray]:
    """The whole photo, uint8 RGB [h, w, 3], in the middle of the network's input, float32 in [0, 1]."""
    return crowds.photo_example(image, config.size)


def export(config: Config, image: np.ndarray, prediction) -> dict:
    """What `python -m pixlab predict` writes at the photo's size: everyone's skeleton, the heat-maps, a limb's field,
    and for each person the score and {joint: [x, y, value of its peak]} in pixels of the photo."""
    found, values, limb = prediction["value"] > 0, prediction["value"], shown(config)
    places = back_to_photo(prediction["joints"].reshape(-1, 2), image, config.size).reshape(*found.shape, 2)
    maps, box = prediction["maps"][..., :-1], pose_task.covered(config, image, prediction["maps"].shape[:2])
    each = np.concatenate([places, values[..., None]], -1).astype(float).round(4)
    people = [
        {
            "score": round(float(score), 4),
            "joints": {
                joint: at.tolist() for joint, at, is_found in zip(config.joints, one, there, strict=True) if is_found
            },
        }
        for one, there, score in zip(each, found, prediction["score"], strict=True)
        if there.any()
    ]
    return {
        "skeletons": crowd_pictures.everyone(image, places, found, config.joints),
        "heatmaps": skeletons.heat(image, maps, config.joints, box),
        "field": crowd_pictures.directions(image, prediction["fields"][..., 2 * limb : 2 * limb + 2], box),
        "people": {"people": people},
    }


experiment = Experiment(
    "experiments.pose_paf", CONFIGS, recipe, data, paper="paper", about=ABOUT, photo=photo, export=export
)
main = experiment.main

if __name__ == "__main__":
    main()
