"""A tiny experiment that enlarges photos, with a known receptive field and either kind of padding: for tiles, shipped
weights and `python -m pixlab predict`."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from pixlab.core import EMA, Aux, Metric, Objective, Recipe, Stage, State
from pixlab.data.pipeline import Data, Split
from pixlab.net import Net, init_all
from pixlab.options import Options
from pixlab.run import Experiment, Run
from pixlab.tiles import Tiles

REACH = 4  # pixels that Enlarger's answer depends on, on each side


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """Enlargement, learnt."""

    batch: int = 2
    workers: int = 1
    padding: Literal["zero", "edge"] = "zero"
    """What lies beyond the border."""
    scale: int = 2
    """How much larger."""
    width: int = 6
    """Feature maps."""
    window: int = 24
    """Rows and columns of a window; 0: photos are seen in one piece."""
    halo: int = REACH
    """Overlap."""
    source: str = "noise"
    """noise, or folder:PATH."""
    steps: int = 2
    """Steps."""


class Enlarger(nn.Module):
    """Convolutions of 5, 3 and 3, then pixels from channels: [b, h, w, 3] -> [b, scale h, scale w, 3]."""

    width: int
    scale: int
    padding: str

    @nn.compact
    def __call__(self, x, train: bool = False):
        for channels, window in ((self.width, 5), (self.width, 3), (3 * self.scale**2, 3)):
            if x.shape[-1] == self.width:
                x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.5)(x))
            r = window // 2
            mode = {"zero": "constant", "edge": "edge"}[self.padding]
            x = nn.Conv(channels, (window, window), padding="VALID")(
                jnp.pad(x, ((0, 0), (r, r), (r, r), (0, 0)), mode=mode)
            )
        b, h, w, _ = x.shape
        s = self.scale
        return x.reshape(b, h, w, s, s, 3).transpose(0, 1, 3, 2, 4, 5).reshape(b, h * s, w * s, 3)


def data(config: Config) -> Data:
    """Noise, and the same with every pixel repeated."""
    rng = np.random.default_rng(0)
    images = rng.random((6, 12, 12, 3), np.float32)
    frames = [{"image": x, "high": x.repeat(config.scale, 0).repeat(config.scale, 1)} for x in images]
    splits = {"train": Split(frames[:4], lambda frame: frame), "test": Split(frames[4:], lambda frame: frame)}
    return Data(batch=config.batch, splits=splits, workers=config.workers)


def recipe(config: Config) -> Recipe:
    """A network that enlarges, a second one that only training needs, and averaged parameters."""
    enlarger = Net("enlarger", Enlarger(config.width, config.scale, config.padding), ((1, 12, 12, 3),))
    judge = Net("judge", nn.Dense(1), ((1, 3),))

    def loss(params, carry, batch, key):
        high, carry = enlarger(params, carry, batch["image"], train=True, key=key)
        opinion, _ = judge(params, carry, high.mean((1, 2)))
        return jnp.mean((high - batch["high"]) ** 2) + jnp.mean(opinion**2), Aux(carry)

    def stats(prediction, example):
        return {"sum": jnp.mean((prediction["high"] - example["high"]) ** 2), "count": 1.0}

    def predict(params, carry, batch):
        return {"high": enlarger(params, carry, batch["image"])[0]}

    stage = Stage(config.steps, {"both": Objective(("enlarger", "judge"), loss, optax.adam(1e-2))}, ema=0.5)
    error = Metric(stats, lambda total: {"mse": total["sum"] / total["count"]})
    return Recipe(init_all(enlarger, judge), (stage,), predict, {"high": error})


def photo(config: Config, image: np.ndarray) -> dict:
    """The photo divided by 255: float32."""
    return {"image": np.float32(image) / np.float32(255)}


def export(config: Config, image: np.ndarray, prediction: dict) -> dict:
    """The enlarged picture and its red, rounded; none of its values is too dark or too bright."""
    high = (127.5 + 127.5 * np.tanh(prediction["high"] - 0.5)).round().astype(np.uint8)
    return {"high": high, "red": high[..., 0]}


def tiles(config: Config) -> Tiles | None:
    """Windows, or the photo in one piece."""
    return Tiles(config.window, config.halo, config.scale) if config.window else None


experiment = Experiment(
    "enlarge",
    {"quick": Config(), "whole": Config(window=0)},
    recipe,
    data,
    about={"quick": "Enlarges by two."},
    photo=photo,
    export=export,
    tiles=tiles,
)
main = experiment.main


def untrained(folder: pathlib.Path, **options) -> Run:
    """A run with made-up parameters and batch statistics, as if it had been trained."""
    run = Run(folder, experiment, Config(**options))
    params, carry = jax.eval_shape(run.recipe.init, jax.random.key(0))
    rng = np.random.default_rng(0)

    def some(x):  # positive where it is a vector, as variances must be
        noise = rng.standard_normal(x.shape)
        return np.float32(
            1.5 * noise * np.prod(x.shape[:-1]) ** -0.5 if len(x.shape) > 1 else 0.3 * np.abs(noise) + 0.1
        )

    averaged = jax.tree.map(some, params)
    params = jax.tree.map(np.zeros_like, averaged)
    run.state = State(np.int32(run.config.steps), params, {**jax.tree.map(some, carry), EMA: averaged}, {})
    return run


def committed(folder: pathlib.Path) -> None:
    """Make a run folder say that it comes from a commit, as a checkout without changes would."""
    saved = json.loads((folder / "config.json").read_text())
    saved["provenance"]["commit"] = "0123456789ab"
    (folder / "config.json").write_text(json.dumps(saved))
