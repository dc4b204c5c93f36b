"""A tiny experiment with everything that a trainer can get wrong: two stages, a frozen network, batch statistics,
dropout, averaged parameters, random augmentation. One step takes about a millisecond."""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax

from pixlab.core import Aux, Metric, Objective, Recipe, Stage
from pixlab.data.pipeline import Data, Split
from pixlab.net import Net, init_all
from pixlab.run import Experiment
from pixlab.train import Options


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """A blur, learnt."""

    batch: int = 8
    log_every: int = 1
    save_every: int = 7
    first: int = 20
    """Steps of the first stage."""
    second: int = 20
    """Steps of the second stage."""
    lr: float = 1e-2
    """Learning rate."""
    sgd: bool = False
    """Plain SGD: Adam makes steps of the rounding errors of biases before batch statistics."""
    images: int = 21
    """Training images."""


class Blur(nn.Module):
    """Convolution, batch statistics, dropout, convolution."""

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(nn.Conv(4, (3, 3))(x))
        return nn.Conv(1, (3, 3))(nn.Dropout(0.1, deterministic=not train)(nn.relu(x)))


def frames(count: int, seed: int) -> list[dict[str, np.ndarray]]:
    """Noise images and the brightness of each neighbourhood."""
    rng = np.random.default_rng(seed)
    images = rng.random((count, 8, 8, 3), np.float32)
    grey = np.pad(images.mean(-1, keepdims=True), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    truth = sum(grey[:, i : i + 8, j : j + 8] for i in range(3) for j in range(3)) / 9
    return [{"image": i, "truth": t} for i, t in zip(images, truth, strict=True)]


def augment(frame, rng):
    """Mirrored or not, with noise."""
    turn = slice(None, None, -1 if rng.random() < 0.5 else 1)
    noise = rng.normal(0, 0.01, frame["image"].shape).astype(np.float32)
    return {"image": frame["image"][:, turn] + noise, "truth": frame["truth"][:, turn]}


def data(config: Config) -> Data:
    """Made up in memory."""
    splits = {
        "train": Split(frames(config.images, 0), lambda frame: frame, augment),
        "test": Split(frames(11, 1), lambda frame: frame),
    }
    return Data(batch=config.batch, splits=splits, workers=config.workers)


def recipe(config: Config) -> Recipe:
    """A network, then a second one on top of the first, which is held."""
    coarse = Net("coarse", Blur(), ((1, 8, 8, 3),))
    fine = Net("fine", Blur(), ((1, 8, 8, 4),))

    def refine(params, carry, image, **mode):
        guess, _ = coarse(params, carry, image)
        return fine(params, carry, jnp.concatenate([image, guess], -1), **mode)

    def coarse_loss(params, carry, batch, key):
        out, carry = coarse(params, carry, batch["image"], train=True, key=key)
        return jnp.mean((out - batch["truth"]) ** 2), Aux(carry)

    def fine_loss(params, carry, batch, key):
        out, carry = refine(params, carry, batch["image"], train=True, key=key)
        return jnp.mean((out - batch["truth"]) ** 2), Aux(carry)

    def stats(prediction, example):
        return {"sum": jnp.sum((prediction["map"] - example["truth"]) ** 2), "count": example["truth"].size}

    tx = optax.sgd(config.lr) if config.sgd else optax.adam(config.lr)
    stages = (
        Stage(config.first, {"coarse": Objective(("coarse",), coarse_loss, tx)}),
        Stage(config.second, {"fine": Objective(("fine",), fine_loss, tx)}, ema=0.9),
    )
    error = Metric(stats, lambda total: {"mse": total["sum"] / total["count"]})
    return Recipe(
        init_all(coarse, fine),
        stages,
        lambda params, carry, batch: {"map": refine(params, carry, batch["image"])[0]},
        {"map": error},
        lambda example, prediction: {"map": np.uint8(255 * np.clip(prediction["map"].repeat(3, -1), 0, 1))},
    )


experiment = Experiment("toy", {"quick": Config(), "long": Config(first=300, second=300)}, recipe, data)
main = experiment.main

if __name__ == "__main__":
    main()
