"""Human pose on FLIC: a coarse model that pools much, and a fine one that finds the pixel around what it found.

Tompson, Goroshin, Jain, LeCun & Bregler, "Efficient Object Localization Using Convolutional Networks", CVPR 2015
(arXiv 1411.4280).

    python -m experiments.pose_flic_cascade              minutes on a laptop, on procedural people
    python -m experiments.pose_flic_cascade pool4        the paper's, on FLIC (python -m pixlab data list)
    python -m experiments.pose_flic_cascade pool16_own   a standard cascade, whose fine model sees the RGB image alone

The coarse model learns alone, from E1; then, with it held, the fine model learns in windows around the coarse model's
peaks, from E2; then both from E1 + lambda E2. In the windows are the features of the coarse model's first two layers,
so that in the last stage these learn from both.

E1 = 1/N sum over joints and cells of (H' - H)^2, E2 the same of the fine maps. Here N counts the labelled joints of
the batch, and the sums over cells are kept: lambda weighs 60x90 cells of a coarse map pooled 4 times, 15x23 of one
pooled 16 times, against 40x40 of a fine one.

What differs from the paper: the rates, batch size, lengths, the share of maps that dropout takes and the layer widths
are not published in full, so these are ours, by Adam. The windows begin on whole cells of the coarsest features, so
their middles are up to half of such a cell off the coarse peak. They have 40x40 pixels: its 36x36 and 18x18 cells are
drawn for two banks, and 36 leaves no whole number in the third. There is no spatial model on top, so that nobody says
whom of several people is meant. Rotation and zoom are as remembered.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
import optax

from experiments import pose_flic
from pixlab import pose_task
from pixlab.core import Aux, Objective, Recipe, Stage
from pixlab.data.pipeline import Data
from pixlab.errors import UserError
from pixlab.losses.heatmap import gaussian_maps, heatmap_loss
from pixlab.metrics.pose import localisation_sigma
from pixlab.models.tompson2015 import POOLS, Coarse, Fine, cells_of, corners, pyramid, refine, strides, windows
from pixlab.net import Net, init_all
from pixlab.nn.peaks import Finer, cells, peaks, pixels
from pixlab.nn.upsample import nearest_upsample
from pixlab.pose_task import PoseOptions
from pixlab.run import Experiment


@dataclasses.dataclass(frozen=True)
class Config(PoseOptions):
    """Pose by a coarse and a fine model (Tompson et al. 2015)."""

    pool: Literal[4, 8, 16] = 4
    """Pixels of the image to a cell of the coarse maps."""
    features: Literal["shared", "own"] = "shared"
    """What the fine model sees: features of the coarse model, or the RGB image through layers of its own."""
    banks: int = 3
    """Resolutions that the models look at."""
    width: int = 128
    """Maps of the first layers."""
    window: int = 40
    """Rows and columns in pixels that the fine model sees, a multiple of 2^banks."""
    dropout: float = 0.5
    """Share of the maps before the coarse model's first 1x1 layer that SpatialDropout takes."""
    jitter: float = 0.0
    """0: training windows lie at the coarse peaks; otherwise at the truth, moved by normal noise of so many pixels."""
    sigma: float = 1.5
    """Standard deviation of the Gaussians that coarse maps should be, in their cells."""
    fine_sigma: float = 1.5
    """The same of fine maps, in pixels."""
    finer: Finer = "none"
    """How the last map's peak is taken to less than a cell; the paper: the highest cell."""
    weight: float = 0.1
    """Lambda, of E2 when both learn."""
    coarse_steps: int = 60_000
    """Steps of the coarse model alone."""
    fine_steps: int = 30_000
    """Steps of the fine model on a coarse model that is held; 0: no fine model."""
    joint_steps: int = 20_000
    """Steps of both together."""
    lr: float = 1e-3
    """Adam's rate for the coarse model; a tenth of it when both learn together."""
    fine_lr: float = 1e-3
    """Adam's rate for the fine model; a tenth of it when both learn together."""
    zoom: tuple[float, float] = (0.5, 1.5)
    """Smallest and largest enlargement in augmentation."""
    turn: float = 20.0
    """Degrees that augmentation turns either way at most."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.one_of("pool", POOLS)
        self.at_least(1, "banks", "width", "window", "coarse_steps")
        self.at_least(0, "dropout", "jitter", "weight", "fine_steps", "joint_steps", "lr", "fine_lr")
        self.at_least(0.1, "sigma", "fine_sigma")
        if self.dropout >= 1:
            raise UserError(f"--dropout {self.dropout}: must be less than 1")
        if any(n % POOLS[0] for n in self.size):
            raise UserError(f"--size {self.size[0]} {self.size[1]}: give multiples of {POOLS[0]}")
        if self.window % 2**self.banks:
            raise UserError(f"--window {self.window}: give a multiple of {2**self.banks} for {self.banks} banks")
        if self.joint_steps and not self.fine_steps:
            raise UserError("--joint-steps: without --fine-steps there is no fine model to learn along")


def variants(name: str, config: Config) -> dict[str, Config]:
    """The cascade, its coarse model alone, as many steps, and the cascade that shares nothing."""
    steps = config.coarse_steps + config.joint_steps
    coarse = dataclasses.replace(config, coarse_steps=steps, fine_steps=0, joint_steps=0)
    return {name: config, f"{name}_coarse": coarse, f"{name}_own": dataclasses.replace(config, features="own")}


QUICK = Config(
    source="figures", size=(120, 160), batch=8, pool=8, banks=2, width=16, window=36, dropout=0.1, zoom=(0.9, 1.1),
    turn=0.0, fine_sigma=2.5, coarse_steps=600, fine_steps=300, joint_steps=150, lr=2e-3, fine_lr=2e-3, save_every=200,
)  # fmt: skip
CONFIGS = variants("quick", QUICK)
for _pool in POOLS:
    CONFIGS |= variants(f"pool{_pool}", Config(pool=_pool))
ABOUT = {
    "quick": "Minutes on a laptop: narrow models of two banks on small pictures of procedural people; all stages.",
    "quick_coarse": "Of quick, the coarse model alone.",
    "quick_own": "As quick, but the fine model shares nothing with the coarse one.",
}
for _pool in POOLS:
    ABOUT |= {
        f"pool{_pool}": f"The paper's cascade on a coarse model pooled {_pool} times.",
        f"pool{_pool}_coarse": f"The coarse model pooled {_pool} times alone.",
        f"pool{_pool}_own": f"Pooled {_pool} times, and a fine model of its own that sees the RGB image alone.",
    }
PUBLISHED_5 = {  # the lecture's tables, in the columns of pose_flic: "head" and "face" are our nose
    "Tompson et al. 2014": pose_flic.PUBLISHED_5,
    "Tompson et al. 2015, 4x": (92.6, 73.0, 57.1, 60.4),
    "Tompson et al. 2015, 8x": (92.1, 75.8, 55.6, 56.6),
    "Tompson et al. 2015, 16x": (91.6, 73.0, 47.7, 45.5),
}
PUBLISHED_SIGMA = {
    "Label noise (10 images)": (0.65, 2.46, 2.14, 1.57),
    "Tompson et al. 2015, 4x": (1.09, 2.43, 2.59, 2.82),
    "Tompson et al. 2015, 8x": (1.46, 2.72, 2.49, 3.41),
    "Tompson et al. 2015, 16x": (1.45, 2.78, 3.78, 4.16),
}


def recipe(config: Config) -> Recipe:
    """The stages, the losses, the scores."""
    count, own = len(config.joints), config.features == "own"
    size, stride = cells_of(config.size, config.pool), strides(config.banks, own)
    module = Coarse(count, config.banks, config.width, config.pool, config.dropout)
    nets = {"coarse": Net("coarse", module, ((1, *config.size, 3),), jnp.dtype(config.dtype))}
    if config.fine_steps:
        module = Fine(count, config.window, config.width, own)
        channels = 3 if own else config.width
        shapes = tuple((1, count, config.window // s, config.window // s, channels) for s in stride)
        nets["fine"] = Net("fine", module, shapes, jnp.dtype(config.dtype))

    def found(params, carry, batch, **mode):
        """The coarse maps, the places of their highest cells in pixels, and what windows are cut from."""
        maps, features = nets["coarse"](params, carry, batch["image"], **mode)[0]
        places = pixels(peaks(jax.lax.stop_gradient(maps), "none")[0], config.pool)
        return maps, places, pyramid(batch["image"], config.banks) if own else features

    def looked(params, carry, places, features, **mode):
        """The windows' top left pixels, and the fine maps in them."""
        corner = corners(places, config.window, 2**config.banks)
        return corner, nets["fine"](params, carry, *windows(features, corner, config.window, stride), **mode)[0]

    def e1(maps, batch):
        target = gaussian_maps(cells(batch["joints"], config.pool), batch["known"], size, config.sigma)
        return size[0] * size[1] * heatmap_loss(maps, target, batch["known"])

    def e2(corner, fine, batch):
        """Of a joint outside its window, the map should be 0 everywhere."""
        n = config.window
        places = batch["joints"] - corner
        inside = batch["known"] * ((places > -0.5) & (places < n - 0.5)).all(-1)
        target = gaussian_maps(places, inside, (n, n), config.fine_sigma)
        return n * n * heatmap_loss(fine, target, batch["known"]), (inside.sum() / jnp.maximum(batch["known"].sum(), 1))

    def training_places(places, batch, key):
        if not config.jitter:
            return places
        height, width = config.size
        there = batch["joints"] + config.jitter * jax.random.normal(key, places.shape)
        return jnp.clip(there, 0, jnp.array([width - 1, height - 1])[None, None])

    def coarse_loss(params, carry, batch, key):
        return e1(found(params, carry, batch, train=True, key=key)[0], batch), Aux()

    def fine_loss(params, carry, batch, key):
        _, places, features = found(params, carry, batch)
        places = training_places(places, batch, key)
        loss, inside = e2(*looked(params, carry, places, features, train=True, key=key), batch)
        return loss, Aux(logs={"fine/inside": inside})

    def joint_loss(params, carry, batch, key):
        keys = jax.random.split(key, 3)
        maps, places, features = found(params, carry, batch, train=True, key=keys[0])
        places = training_places(places, batch, keys[1])
        coarse = e1(maps, batch)
        fine, inside = e2(*looked(params, carry, places, features, train=True, key=keys[2]), batch)
        logs = {"both/coarse": coarse, "both/fine": fine, "both/inside": inside}
        return coarse + config.weight * fine, Aux(logs=logs)

    def shown(maps):
        """Maps of 4x4 pixels a cell, which cover the image to its border; 8 and 16 pixels need not divide it."""
        rows, columns = (n // POOLS[0] for n in config.size)
        return nearest_upsample(maps, config.pool // POOLS[0])[:, :rows, :columns]

    def predict_coarse(params, carry, batch):
        maps = found(params, carry, batch)[0]
        places, value = peaks(maps, config.finer)
        return {"joints": pixels(places, config.pool), "value": value, "maps": shown(maps)}

    def predict(params, carry, batch):
        maps, places, features = found(params, carry, batch)
        joints, value = refine(*looked(params, carry, places, features), config.finer)
        return {"joints": joints, "value": value, "maps": shown(maps)}

    def stage(name, steps, loss, predict=None, **rates):
        """`rates`: of the networks that learn."""
        adam = {net: optax.adam(optax.cosine_decay_schedule(rate, steps)) for net, rate in rates.items()}
        tx = optax.partition(adam, lambda params: {net: net for net in params})
        return Stage(steps, {name: Objective(tuple(rates), loss, tx)}, predict=predict)

    stages = [stage("coarse", config.coarse_steps, coarse_loss, predict_coarse, coarse=config.lr)]
    if config.fine_steps:
        stages.append(stage("fine", config.fine_steps, fine_loss, fine=config.fine_lr))
    if config.joint_steps:
        rates = dict(coarse=config.lr / 10, fine=config.fine_lr / 10)
        stages.append(stage("both", config.joint_steps, joint_loss, **rates))
    metrics = pose_task.metrics(config) | {"pose_sigma": localisation_sigma(config.joints)}
    last = predict if config.fine_steps else predict_coarse
    return Recipe(init_all(*nets.values()), tuple(stages), last, metrics, functools.partial(pose_task.render, config))


def data(config: Config) -> Data:
    """People."""
    return pose_task.data(config)


def published(config: Config) -> dict[str, dict[str, float]]:
    """The lecture's tables: rates at 5 %, and in pixels of 360x240 how far joints are off, beside runs on FLIC."""
    if not config.source.startswith("flic"):
        return {}
    tables = {"pose_r5": PUBLISHED_5}
    if config.size == (240, 360) and not config.around:
        tables["pose_sigma"] = PUBLISHED_SIGMA
    rows = {}
    for label, table in tables.items():
        for who, values in table.items():
            found = {f"{label}/{joint}": value for joint, value in zip(pose_flic.COLUMNS, values, strict=True)}
            rows[who] = rows.get(who, {}) | found
    return rows


experiment = Experiment(
    "experiments.pose_flic_cascade",
    CONFIGS,
    recipe,
    data,
    baselines=pose_task.answers,
    published=published,
    paper="pool4",
    about=ABOUT,
    photo=pose_task.photo,
    export=pose_task.export,
)
main = experiment.main

if __name__ == "__main__":
    main()
