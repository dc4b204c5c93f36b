"""Human pose as coordinates, in a cascade.

Toshev & Szegedy, "DeepPose: Human Pose Estimation via Deep Neural Networks", CVPR 2014 (arXiv 1312.4659).

    python -m experiments.pose_deeppose          minutes on a laptop, on procedural people
    python -m experiments.pose_deeppose flic     the paper's, on FLIC (python -m pixlab data list)
    python -m experiments.pose_deeppose lsp --source pose_folder:PATH    on a folder of people with the joints of LSP

The first stage sees the whole picture, which is a box around the person, and says where in it the joints are. Each
later stage sees, for each joint, the square around where the stage before put it, whose side is a multiple of the
distance from the left shoulder to the right hip, and says where in the square the joint is.

What differs from the paper, whose options are as remembered: the box around FLIC's people comes from the labelled
torso, not from a detector of bodies. Squares are cut from the first stage's picture, not from the photo; `size` may be
larger than `input`, which is what networks see. A later stage draws one new displacement each time that a picture is
seen, not forty for each. The mean and the covariance of the errors that they are drawn by are those of the stage
before on the batches of training seen so far (the last thousand or so), not on the whole set beforehand. Where the
shoulder or the hip is not labelled, a square in training is as large as the stage before says. The squared error is
summed over joints and averaged over a batch. How long it trained is remembered in days only: numbers of steps are ours.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
import optax

from pixlab import pose_task
from pixlab.core import Aux, Objective, Recipe, Stage
from pixlab.data.people import LSP
from pixlab.data.pipeline import Data
from pixlab.errors import UserError
from pixlab.losses.joints import joint_loss
from pixlab.models.deeppose import (
    MIN_SIZE,
    Errors,
    JointRegressors,
    Regressor,
    counted,
    displacements,
    in_pixels,
    no_errors,
    normalised,
    refined,
)  # fmt: skip
from pixlab.net import Net, init_all
from pixlab.nn.boxes import box_crops
from pixlab.pose_task import PoseOptions
from pixlab.run import Experiment

DIAMETER = ("left_shoulder", "right_hip")


@dataclasses.dataclass(frozen=True)
class Config(PoseOptions):
    """Pose as coordinates (Toshev & Szegedy 2014)."""

    size: tuple[int, int] = (440, 440)
    """Rows and columns of the picture that squares are cut from."""
    around: float = 4.0
    """Side of the square around the person in torso heights; 0: the whole picture."""
    input: int = 220
    """Rows and columns of what networks see: of the whole picture, of a square."""
    batch: int = 128
    """Images per step."""
    width: float = 1.0
    """Channels as a fraction of AlexNet's."""
    nets: Literal["each", "shared"] = "each"
    """In later stages, a network for each joint, or one for all with a last layer for each."""
    dropout: float = 0.6
    """Part of the units of fully connected layers that training leaves out."""
    square: float = 1.0
    """Side of the later stages' squares in diameters of the pose; the paper: 1 for FLIC, 2 for LSP."""
    steps: int = 200_000
    """Steps of the first stage."""
    later_steps: tuple[int, ...] = (200_000, 200_000)
    """Steps of each later stage: as many stages as numbers."""
    optimiser: Literal["adagrad", "adam"] = "adagrad"
    """adagrad: the paper's. adam: with cosine decay."""
    lr: float = 5e-4
    """The optimiser's rate."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(MIN_SIZE, "input")
        self.at_least(1 / 64, "width")
        self.at_least(1, "steps", "later_steps")
        self.at_least(0, "lr", "dropout")
        self.at_least(0.01, "square")
        if self.dropout >= 1:
            raise UserError(f"--dropout {self.dropout}: give less than 1")
        if missing := [joint for joint in DIAMETER if joint not in self.joints and self.later_steps]:
            raise UserError(f"--joints: later stages measure the body by {' and '.join(missing)}, so give them too")


PAPER = Config()
QUICK = Config(
    source="figures", size=(128, 128), input=128, around=3.0, batch=8, width=0.25, nets="shared", dropout=0.0,
    optimiser="adam", lr=1e-3, steps=1100, later_steps=(180, 60), save_every=300,
)  # fmt: skip
CONFIGS = {
    "quick": QUICK,
    "quick_each": dataclasses.replace(QUICK, nets="each"),
    "flic": PAPER,
    "flic_stage1": dataclasses.replace(PAPER, later_steps=()),
    "flic_shared": dataclasses.replace(PAPER, nets="shared"),
    "lsp": dataclasses.replace(
        PAPER, source="pose_folder:lsp", joints=LSP, sides="person", size=(220, 220), around=0.0, square=2.0
    ),
}  # fmt: skip
ABOUT = {
    "quick": "Minutes on a laptop: narrow networks on small pictures of procedural people; all three stages, the later"
    " ones with one network for all joints.",
    "quick_each": "Of quick, with a network for each joint as in the paper: several times as long.",
    "flic": "The paper's three stages, on FLIC.",
    "flic_stage1": "Of flic, the first stage alone.",
    "flic_shared": "Of flic, one network for all joints in a later stage: a ninth of its parameters.",
    "lsp": "The paper's for the 14 joints of LSP on whole pictures, from a folder: --source pose_folder:PATH.",
}
PUBLISHED = {  # as later papers have it: the table of Tompson et al. 2015, and curves of Tompson et al. 2014
    "Toshev & Szegedy 2014": {"pose_r5/elbow": 25.2, "pose_r5/wrist": 26.4},
    "Toshev & Szegedy 2014, read off a plot": {
        "pose_r10/elbow": 59, "pose_r10/wrist": 55, "pose_r20/elbow": 91, "pose_r20/wrist": 81,
    },
}  # fmt: skip


def recipe(config: Config) -> Recipe:
    """The stages, the losses, the scores."""
    count, n, kind = len(config.joints), config.input, jnp.dtype(config.dtype)
    nets = [Net("stage1", Regressor(2 * count, config.width, config.dropout), ((1, n, n, 3),), kind)]
    for index, _ in enumerate(config.later_steps, 2):
        module = JointRegressors(count, config.width, config.dropout, config.nets == "shared")
        nets.append(Net(f"stage{index}", module, ((1, count, n, n, 3),), kind))
    h, w = config.size
    whole = jnp.array([[[(w - 1) / 2, (h - 1) / 2]]]), jnp.array([[[float(w), float(h)]]])  # centre and sides

    def first(params, carry, image, **mode):
        """Where the first stage says that joints are, in pictures from the middle: [b, k, 2]."""
        seen = jax.image.resize(image, (image.shape[0], n, n, 3), "linear")
        return nets[0](params, carry, seen, **mode)[0].reshape(-1, count, 2)

    def after(last, params, carry, image):
        """Joints in pixels after stage `last`; None: after all."""
        places = in_pixels(first(params, carry, image), *whole)
        for net in nets[1:last]:
            look = lambda crops, net=net: net(params, carry, crops)[0]  # noqa: E731
            places = refined(look, image, places, config.square * diameter(config, places), n)
        return places

    def first_loss(params, carry, batch, key):
        target = normalised(batch["joints"], *whole)
        return joint_loss(first(params, carry, batch["image"], train=True, key=key), target, batch["known"]), Aux()

    def later_loss(index, params, carry, batch, key):
        """Of squares that lie beside the joints as the stage before is wrong."""
        draw, key = jax.random.split(key)
        image, joints, known, name = batch["image"], batch["joints"], batch["known"], f"errors{index}"
        before = after(index - 1, params, carry, image)
        errors = counted(Errors(*carry[name]), before - joints, known)
        centre = joints + displacements(draw, errors, len(image))
        both = jnp.prod(known[:, jnp.array(ends(config))], 1)
        side = config.square * jnp.where(both > 0, diameter(config, joints), diameter(config, before))
        sides = jnp.broadcast_to(side[:, None], known.shape)
        crops = box_crops(image, centre, sides, n)
        found = nets[index - 1](params, carry, crops, train=True, key=key)[0]
        loss = joint_loss(found, normalised(joints, centre, sides[..., None]), known)
        return loss, Aux({name: tuple(errors)})

    def predict(params, carry, batch, last=None):
        places = after(last, params, carry, batch["image"])
        return {"joints": places, "value": jnp.ones(places.shape[:2])}

    stages = []
    for index, steps in enumerate((config.steps, *config.later_steps), 1):
        loss = first_loss if index == 1 else functools.partial(later_loss, index)
        objective = Objective((f"stage{index}",), loss, optimiser(config, steps))
        stages.append(Stage(steps, {"joints": objective}, predict=functools.partial(predict, last=index)))

    def init(key):
        params, carry = init_all(*nets)(key)
        return params, carry | {f"errors{index}": tuple(no_errors(count)) for index in range(2, len(nets) + 1)}

    render = functools.partial(pose_task.render, config)
    return Recipe(init, tuple(stages), predict, pose_task.metrics(config), render)


def ends(config: Config) -> list[int]:
    """The joints that the diameter lies between."""
    return [config.joints.index(joint) for joint in DIAMETER]


def diameter(config: Config, places: jax.Array) -> jax.Array:
    """Of each pose, the distance from the left shoulder to the right hip in pixels, at least 1: [b]."""
    a, b = ends(config)
    return jnp.maximum(jnp.linalg.norm(places[:, a] - places[:, b], axis=-1), 1.0)


def optimiser(config: Config, steps: int) -> optax.GradientTransformation:
    """Of a stage."""
    if config.optimiser == "adagrad":
        return optax.adagrad(config.lr)
    return optax.adam(optax.cosine_decay_schedule(config.lr, steps))


def data(config: Config) -> Data:
    """People."""
    return pose_task.data(config)


def published(config: Config) -> dict[str, dict[str, float]]:
    """The paper's rates as later papers show them, beside runs on FLIC."""
    return PUBLISHED if config.source.startswith("flic") else {}


experiment = Experiment(
    "experiments.pose_deeppose",
    CONFIGS,
    recipe,
    data,
    baselines=pose_task.answers,
    published=published,
    paper="flic",
    about=ABOUT,
    photo=pose_task.photo,
    export=pose_task.export,
)
main = experiment.main

if __name__ == "__main__":
    main()
