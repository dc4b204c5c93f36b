"""Human pose on FLIC: a part detector and a spatial model, trained jointly.

Tompson, Jain, LeCun & Bregler, "Joint Training of a Convolutional Network and a Graphical Model for Human Pose
Estimation", NIPS 2014 (arXiv 1406.2984).

    python -m experiments.pose_flic                minutes on a laptop, on procedural people
    python -m experiments.pose_flic joint          the paper's, on FLIC (python -m pixlab data list)
    python -m experiments.pose_flic joint_plus     the same trained on FLIC-plus

A detector gives a heat-map for each joint; then, with the detector held, the spatial model learns where joints can be,
given the others; then both learn together. Where the torso is, is given, and tells whom of several people is meant.

What differs from the paper: its rates, batch size and length are not published, so these are ours, by Adam; when both
learn together they begin at 0, or what each has learnt alone may be lost in a few steps. Kernels start from histograms,
as remembered of the paper, but not of sum 1, and biases not near 0 (`tompson_spatial.first_parameters`): messages start
between 0.8 and 1. Else the product of ten messages is too small to learn from, and counts what joints have in common
ten times.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pixlab import pose_task
from pixlab.baselines import AT_MOST
from pixlab.core import Aux, Batch, Objective, Recipe, Stage
from pixlab.data.pipeline import Data, examples
from pixlab.data.pose import counterparts
from pixlab.errors import UserError
from pixlab.losses.heatmap import gaussian_maps, heatmap_loss
from pixlab.models.tompson import CELL, Detector
from pixlab.models.tompson_spatial import SpatialModel, first_parameters
from pixlab.net import Net, init_all
from pixlab.nn.peaks import cells, peaks, pixels
from pixlab.pose_task import PoseOptions
from pixlab.run import Experiment
from pixlab.skeletons import limbs


@dataclasses.dataclass(frozen=True)
class Spatial(PoseOptions):
    """A spatial model (Tompson et al. 2014)."""

    graph: Literal["full", "limbs", "none"] = "full"
    """Whom each joint hears from: everyone, its neighbours on the body, or nobody (there is no spatial model)."""
    window: tuple[int, int] = (128, 128)
    """Cells of 4x4 pixels of the spatial model's kernels."""
    beta: float = 1.0
    """Of SoftPlus; the paper: 1/2 to 2."""
    epsilon: float = 0.001
    """Least value of a heat-map that the spatial model sees; the paper: above 0, at most 0.01."""
    method: Literal["fft", "matrix"] = "fft"
    """How kernels are convolved: Fourier transforms, or the same as matrix products."""
    sigma: float = 1.5
    """Standard deviation in cells of the Gaussians that heat-maps should be."""
    spatial_steps: int = 10_000
    """Steps of the spatial model alone."""
    spatial_lr: float = 0.05
    """Adam's rate for the spatial model."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "window")
        self.at_least(0, "spatial_steps", "spatial_lr")
        self.at_least(0.1, "sigma")
        if any(n % CELL for n in self.size):
            raise UserError(f"--size {self.size[0]} {self.size[1]}: give multiples of {CELL}")
        if not 0.5 <= self.beta <= 2:
            raise UserError(f"--beta {self.beta}: the paper has it between 1/2 and 2")
        if not 0 < self.epsilon <= 0.01:
            raise UserError(f"--epsilon {self.epsilon}: the paper has it above 0 and at most 0.01")


@dataclasses.dataclass(frozen=True)
class Config(Spatial):
    """Pose by a part detector and a spatial model (Tompson et al. 2014)."""

    banks: int = 3
    """Resolutions that the detector looks at."""
    width: int = 128
    """Maps of the detector's first layers."""
    detector_steps: int = 60_000
    """Steps of the detector alone."""
    joint_steps: int = 20_000
    """Steps of both together."""
    lr: float = 1e-3
    """Adam's rate for the detector alone."""
    joint_lr: float = 1e-3
    """Adam's rate for the detector when both learn together."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "banks", "width", "detector_steps")
        self.at_least(0, "joint_steps", "lr", "joint_lr")
        if self.graph == "none" and (self.spatial_steps or self.joint_steps):
            raise UserError("--graph none: there is no spatial model to train; add --spatial-steps 0 --joint-steps 0")


QUICK = Config(
    source="figures", size=(120, 160), batch=8, banks=2, width=16, window=(60, 80), detector_steps=600,
    spatial_steps=300, joint_steps=250, save_every=200,
)  # fmt: skip
PAPER = Config()


def row(config: Config, graph: str) -> Config:
    """A row of the ablation without joint training."""
    steps = 0 if graph == "none" else config.spatial_steps
    return dataclasses.replace(config, graph=graph, spatial_steps=steps, joint_steps=0)


def longer(config: Config) -> Config:
    """Joint training's steps given to the detector alone."""
    steps = config.detector_steps + config.joint_steps
    return dataclasses.replace(config, detector_steps=steps, joint_steps=0)


CONFIGS = {
    "quick": QUICK,
    "quick_detector": row(QUICK, "none"),
    "quick_limbs": row(QUICK, "limbs"),
    "quick_spatial": row(QUICK, "full"),
    "quick_longer": longer(QUICK),
    "joint": PAPER,
    "detector": row(PAPER, "none"),
    "limbs": row(PAPER, "limbs"),
    "spatial": row(PAPER, "full"),
    "longer": longer(PAPER),
    "joint_plus": dataclasses.replace(PAPER, source="flic:plus"),
    "joint_full": dataclasses.replace(PAPER, source="flic:full"),
}
ABOUT = {
    "quick": "Minutes on a laptop: a narrow detector on small pictures of procedural people; all three stages.",
    "quick_detector": "Of quick, the detector alone.",
    "quick_limbs": "Of quick, neighbours on the body tell one another, once; on a detector that is held.",
    "quick_spatial": "Of quick, the full spatial model on a detector that is held.",
    "quick_longer": "The same, with a detector that makes as many steps as quick's.",
    "joint": "The paper's: detector, then the spatial model, then both.",
    "detector": "The detector alone.",
    "limbs": "A graph made by hand: neighbours on the body tell one another, once; on a detector that is held.",
    "spatial": "Everyone tells everyone, on a detector that is held.",
    "longer": "The same, with a detector that makes as many steps as joint's.",
    "joint_plus": "The paper's, trained on FLIC-plus: other scenes than the test's.",
    "joint_full": "The paper's, trained on FLIC-full, whose scenes are those of the test too.",
}
COLUMNS = ("nose", "shoulder", "elbow", "wrist")
PUBLISHED_5 = (90.7, 70.4, 50.2, 55.4)  # of the table in Tompson et al. 2015, "Tompson et al."; "head" is our nose


def recipe(config: Config) -> Recipe:
    """The stages, the loss, the scores."""
    module = Detector(len(config.joints), config.banks, config.width)
    nets = {"detector": Net("detector", module, ((1, *config.size, 3),), jnp.dtype(config.dtype))}
    if config.graph != "none":
        nets["spatial"] = spatial_net(config)

    def detected(params, carry, batch, **mode):
        """The detector's heat-maps."""
        return nets["detector"](params, carry, batch["image"], **mode)[0]

    def corrected(params, carry, batch, **mode):
        """Those that the spatial model makes of them and of where the torso is."""
        maps = with_torso(detected(params, carry, batch, **mode), batch, config)
        return nets["spatial"](params, carry, maps, **mode)[0]

    def loss_of(maps):
        def loss(params, carry, batch, key):
            target = gaussians(batch["joints"], batch["known"], config)
            return heatmap_loss(maps(params, carry, batch, train=True, key=key), target, batch["known"]), Aux()

        return loss

    def predict(params, carry, batch, maps=corrected if "spatial" in nets else detected):
        maps = maps(params, carry, batch)
        places, value = peaks(maps)
        return {"joints": pixels(places, CELL), "value": value, "maps": maps}

    def stage(name, steps, maps, predict=None, warm=0, **rates):
        """`rates`: of the networks that learn, reached after `warm` steps."""
        fall = lambda rate: optax.warmup_cosine_decay_schedule(0.0 if warm else rate, rate, warm, steps)  # noqa: E731
        adam = {net: optax.adam(fall(rate)) for net, rate in rates.items()}
        tx = optax.partition(adam, lambda params: {net: net for net in params})
        return Stage(steps, {name: Objective(tuple(rates), loss_of(maps), tx)}, predict=predict)

    alone = functools.partial(predict, maps=detected)
    stages = [stage("detector", config.detector_steps, detected, alone, detector=config.lr)]
    if config.spatial_steps:
        stages.append(stage("spatial", config.spatial_steps, corrected, spatial=config.spatial_lr))
    if config.joint_steps:
        rates = dict(detector=config.joint_lr, spatial=config.spatial_lr)
        stages.append(stage("both", config.joint_steps, corrected, warm=config.joint_steps // 5, **rates))

    def pretrained(params):
        return params | ({"spatial": first_spatial(config)} if "spatial" in nets else {})

    render = functools.partial(pose_task.render, config)
    return Recipe(init_all(*nets.values()), tuple(stages), predict, pose_task.metrics(config), render, pretrained)


def spatial_net(config: Spatial) -> Net:
    """The spatial model: heat-maps of the joints, then the torso's."""
    count = len(config.joints)
    options = dict(window=config.window, beta=config.beta, epsilon=config.epsilon, method=config.method)
    module = SpatialModel(count, **options, edges=edges(config))
    return Net("spatial", module, ((1, *(n // CELL for n in config.size), count + 1),))


def gaussians(places: jax.Array, known: jax.Array, config: Spatial) -> jax.Array:
    """Heat-maps as they should be, of places in pixels."""
    return gaussian_maps(cells(places, CELL), known, tuple(n // CELL for n in config.size), config.sigma)


def with_torso(maps: jax.Array, batch: Batch, config: Spatial) -> jax.Array:
    """Heat-maps with that of the torso, as far as it is known, after them."""
    return jnp.concatenate([maps, gaussians(batch["torso"][:, None], batch["torso_known"][:, None], config)], -1)


def edges(config: Spatial) -> tuple[tuple[int, ...], ...] | None:
    """Who hears from whom, [joint, joint or torso]; None: everyone from everyone. The torso tells all."""
    if config.graph == "full":
        return None
    count = len(config.joints)
    pairs = {*limbs(config.joints), *((joint, joint) for joint in range(count))}
    return tuple((*(int((a, v) in pairs or (v, a) in pairs) for v in range(count)), 1) for a in range(count))


@functools.cache
def first_spatial(config: Spatial) -> dict[str, np.ndarray]:
    """The spatial model's first parameters, from where joints lie in the training set, mirrored too."""
    split, (_, width) = pose_task.data(config).splits["train"], config.size
    places = []
    for example in examples(split, step=-(-len(split.source) // AT_MOST)):
        known = np.append(example["known"], example["torso_known"])[:, None] > 0
        places.append(np.where(known, np.vstack([example["joints"], example["torso"]]), np.nan))
    places = np.stack(places)
    mirrored = places[:, [*counterparts(config.joints), len(config.joints)]] * (-1, 1) + (width - 1, 0)
    where = cells(np.concatenate([places, mirrored]), CELL)[..., ::-1]
    return first_parameters(where, len(config.joints), config.window, config.sigma, beta=config.beta)


def data(config: Config) -> Data:
    """People."""
    return pose_task.data(config)


def published(config: Config) -> dict[str, dict[str, float]]:
    """The paper's rates at 5 %, as the lecture's table has them, beside runs on FLIC."""
    if not config.source.startswith("flic"):
        return {}
    return {"Tompson et al. 2014": {f"pose_r5/{joint}": rate for joint, rate in zip(COLUMNS, PUBLISHED_5, strict=True)}}


experiment = Experiment(
    "experiments.pose_flic",
    CONFIGS,
    recipe,
    data,
    baselines=pose_task.answers,
    published=published,
    paper="joint",
    about=ABOUT,
    photo=pose_task.photo,
    export=pose_task.export,
)
main = experiment.main

if __name__ == "__main__":
    main()
