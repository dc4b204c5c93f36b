"""What the spatial model alone can repair: heat-maps that were spoiled, with real people's joints.

Tompson, Jain, LeCun & Bregler, NIPS 2014 (arXiv 1406.2984), its spatial model without its detector: true joints become
heat-maps with further peaks, as a detector gives them that takes a joint for its other side, someone else's for this
person's, or a chair for an elbow; many of these are higher than the true one. No picture is looked at.

    python -m experiments.pose_repair                                  a minute on a laptop, on procedural people
    python -m experiments.pose_repair flic --source flic_joints:PATH   FLIC's joints (pixlab/data/flic_joints.py)

Not in the paper. Scores are those of experiments/pose_flic.py, and per cent of the joints whose highest peak was more
than a tenth of the torso off that the model brings within a tenth ("repaired"), and of those that were right that it
moves away ("spoilt").
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.pose_flic import Spatial, first_spatial, gaussians, spatial_net, with_torso
from pixlab import pictures, pose_task, skeletons
from pixlab.core import Aux, Batch, Metric, Objective, Recipe, Stage
from pixlab.data.pipeline import Data, Example, Split, examples
from pixlab.data.pose import counterparts
from pixlab.errors import UserError
from pixlab.losses.heatmap import heatmap_loss
from pixlab.metrics.pose import distances
from pixlab.models.tompson import CELL
from pixlab.net import init_all
from pixlab.nn.peaks import peaks, pixels
from pixlab.run import Experiment

OTHERS = 200  # people whose joints are put beside
PEAKS = 4  # of each map: the true one, the other side's, someone else's, one anywhere


@dataclasses.dataclass(frozen=True)
class Config(Spatial):
    """Repair of spoiled heat-maps by the spatial model of Tompson et al. 2014."""

    batch: int = 8
    """Images per step, over all devices and hosts together."""
    spatial_steps: int = 2000
    """Steps of the spatial model."""
    wrong: float = 0.4
    """How often each of a map's wrong peaks is there."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "spatial_steps")
        self.at_least(0, "wrong")
        if self.graph == "none":
            raise UserError("--graph none: nothing is left to learn; give full or limbs")


CONFIGS = {
    "quick": Config(source="figures", size=(120, 160), window=(60, 80), spatial_steps=300),
    "flic": Config(),
    "flic_limbs": Config(graph="limbs"),
}
ABOUT = {
    "quick": "A minute on a laptop: joints of procedural people.",
    "flic": "FLIC's joints, everyone tells everyone.",
    "flic_limbs": "FLIC's joints, a graph made by hand: neighbours on the body.",
}


def recipe(config: Config) -> Recipe:
    """The stage, the loss, the scores."""
    net = spatial_net(config)

    def repaired(params, carry, batch, **mode):
        return net(params, carry, with_torso(spoiled(batch, config), batch, config), **mode)[0]

    def loss(params, carry, batch, key):
        target = gaussians(batch["joints"], batch["known"], config)
        return heatmap_loss(repaired(params, carry, batch, train=True, key=key), target, batch["known"]), Aux()

    def predict(params, carry, batch):
        return found(repaired(params, carry, batch))

    def render(example, prediction):
        maps = spoiled({name: jnp.asarray(x)[None] for name, x in example.items()}, config)
        given = {name: np.asarray(x[0]) for name, x in found(maps).items()}
        photo, names = np.uint8(255 * example["image"]), config.joints
        panels = [
            ("given", skeletons.heat(photo, given["maps"], names)),
            ("highest peaks", skeletons.draw(photo, given["joints"], names)),
            ("spatial model", skeletons.draw(photo, prediction["joints"], names)),
            ("truth", skeletons.draw(photo, example["joints"], names, example["known"])),
        ]
        return {"pose": pictures.strip(panels)}

    tx = optax.adam(optax.cosine_decay_schedule(config.spatial_lr, config.spatial_steps))
    stages = (Stage(config.spatial_steps, {"heat": Objective(("spatial",), loss, tx)}),)
    metrics = pose_task.metrics(config) | {"repair": repairs(config)}

    def pretrained(params):
        return params | {"spatial": first_spatial(config)}

    return Recipe(init_all(net), stages, predict, metrics, render, pretrained)


def spoiled(batch: Batch, config: Config) -> jax.Array:
    """The sum of each joint's peaks, [b, h, w, k]."""
    return sum(gaussians(batch["peaks"][:, :, i], batch["height"][:, :, i], config) for i in range(PEAKS))


def found(maps: jax.Array) -> Batch:
    """Where each map is highest, in pixels."""
    places, value = peaks(maps)
    return {"joints": pixels(places, CELL), "value": value, "maps": maps}


def spoil(example: Example, rng: np.random.Generator, config: Config, others: Sequence[np.ndarray]) -> Example:
    """The example with "peaks" [k, PEAKS, 2] and their "height" [k, PEAKS], 0 for those that are not there.

    The true peak has a height of 0.3 to 1, each wrong one, if it is there, of 0.3 to 1.2. Of `others`, places of other
    people, one is chosen and put somewhere beside.
    """
    joints, known, other_side = example["joints"], example["known"], counterparts(config.joints)
    (h, w), count = config.size, len(joints)
    other = others[rng.integers(len(others))] + rng.normal(0, 0.25, 2) * (w, h)
    anywhere = rng.uniform(0, 1, (count, 2)) * (w - 1, h - 1)
    places = np.stack([joints, joints[other_side], other, anywhere], 1)
    height = rng.uniform(0.3, 1.2, (count, PEAKS)) * (rng.random((count, PEAKS)) < config.wrong)
    height[:, 0] = rng.uniform(0.3, 1, count)
    height[:, :2] *= np.stack([known, known[other_side] * (other_side != np.arange(count))], 1)
    height *= np.isfinite(places).all(-1)
    places = np.nan_to_num(places)
    return example | {"peaks": places.astype(np.float32), "height": height.astype(np.float32)}


def repairs(config: Config, radius: float = 10) -> Metric:
    """Per cent of the joints whose map as given was highest more than `radius` per cent of the torso away that are
    "repaired", of those that were right that are "spoilt", and of all that were "wrong"."""

    def stats(prediction, example):
        known = example["known"] * (example["size"] > 0)
        given = found(spoiled({name: x[None] for name, x in example.items()}, config))["joints"][0]
        size = jnp.maximum(example["size"], 1e-6) * radius / 100
        near = [distances(x, example["joints"], known) <= size for x in (given, prediction["joints"])]
        before, after = (x * known for x in near)
        return {"known": known.sum(), "right": before.sum(), "both": (before * after).sum(), "now": after.sum()}

    def result(total):
        right, wrong = total["right"], total["known"] - total["right"]
        shares = {"wrong": (wrong, total["known"]), "repaired": (total["now"] - total["both"], wrong)}
        shares |= {"spoilt": (right - total["both"], right)}
        return {name: 100 * float(part) / max(float(whole), 1) for name, (part, whole) in shares.items()}

    return Metric(stats, result)


def data(config: Config) -> Data:
    """People's joints, spoiled anew in each step of training and in one way for scoring."""
    plain = pose_task.data(config)
    first = next(iter(plain.splits.values()))
    some = examples(first, step=-(-len(first.source) // OTHERS))
    others = [np.where(x["known"][:, None] > 0, x["joints"], np.nan) for x in some]

    def spoiling(split: Split) -> Split:
        def test(frame):
            seed = zlib.crc32(frame["joints"].tobytes())
            return spoil(split.map(frame), np.random.default_rng(seed), config, others)

        def train(frame, rng):
            return spoil(split.augment(frame, rng), rng, config, others)

        return Split(split.source, test, train if split.augment else None)

    return dataclasses.replace(plain, splits={name: spoiling(split) for name, split in plain.splits.items()})


def answers(config: Config, data: Data) -> dict:
    """The highest peak as it is given, and the spatial model before it has learnt anything."""
    untrained = recipe(config)

    def as_given(params, carry, batch):
        return found(spoiled(batch, config))

    def at_first(params, carry, batch):
        return untrained.predict({"spatial": jax.tree.map(jnp.asarray, first_spatial(config))}, carry, batch)

    return {"highest peak": as_given, "histograms alone": at_first}


experiment = Experiment("experiments.pose_repair", CONFIGS, recipe, data, baselines=answers, about=ABOUT)
main = experiment.main

if __name__ == "__main__":
    main()
