"""Autoencoders with one decoder or encoder or another: what they make of crops, with random weights and trained."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pixlab.core import Aux, Nets, Objective, Recipe, Stage, make_step, start
from pixlab.data.pipeline import Source
from pixlab.errors import UserError
from pixlab.models.upsampling import Decoder, Encoder
from pixlab.net import Net, init_all

SIZE = 64  # pixels of a crop's side
DECODERS = {
    "3x3 deconvolutions": Decoder(3, kernel=3),
    "4x4 deconvolutions": Decoder(3, kernel=4),
    "3x3 in the last two layers": Decoder(2, kernel=3),
    "3x3 in the last layer": Decoder(1, kernel=3),
    "resize-convolutions": Decoder(0),
}
ENCODERS = {
    "3x3 of stride 2": Encoder("strided", 3),
    "4x4 of stride 2": Encoder("strided", 4),
    "maxima of 3x3": Encoder("max", 3),
    "maxima of 2x2": Encoder("max", 2),
    "means of 2x2": Encoder("mean"),
}


@dataclasses.dataclass(frozen=True)
class Training:
    """How the autoencoders are trained."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of weights and of the batches' order."""
    steps: int = 300
    """Steps of training."""
    batch: int = 8
    """Crops per step."""
    lr: float = 2e-3
    """Adam's rate, which falls to 0 along a cosine."""


class Seen(NamedTuple):
    """What one autoencoder gives for the test crops."""

    images: np.ndarray  # [b, h, w, 3]
    gradients: np.ndarray  # [b, h, w, 3]


class Trained(NamedTuple):
    """One seed of an autoencoder, with random weights and trained."""

    before: Seen
    after: Seen


Found = Mapping[str, list[Trained]]  # {what: its seeds}


def crops(source: Source, count: int, seed: int) -> np.ndarray:
    """[count, SIZE, SIZE, 3] in [0, 1], one of each frame. Raises UserError where there are fewer frames."""
    if count > len(source):
        raise UserError(f"{count} crops of {len(source)} rooms: give fewer")
    rng, found = np.random.default_rng(seed), []
    for index in range(count):
        image = source[index]["image"]
        top, left = (rng.integers(n - SIZE + 1) for n in image.shape[:2])
        found.append(image[top : top + SIZE, left : left + SIZE])
    return np.stack(found).astype(np.float32) / 255


def recipe(encoder: Encoder, decoder: Decoder, steps: int, lr: float) -> Recipe:
    """An autoencoder with a squared error."""
    cells = SIZE // 2**encoder.layers
    encode = Net("encoder", encoder, ((1, SIZE, SIZE, 3),))
    decode = Net("decoder", decoder, ((1, cells, cells, encoder.features),))

    def predict(params, carry, batch):
        code = lambda image: encode(params, carry, image)[0]  # noqa: E731
        gradients = jax.grad(lambda image: code(image).sum())(batch["image"])
        return {"image": decode(params, carry, code(batch["image"]))[0], "gradient": gradients}

    def loss(params, carry, batch, key):
        code, _ = encode(params, carry, batch["image"], train=True, key=key)
        out, _ = decode(params, carry, code, train=True, key=key)
        return jnp.mean((out - batch["image"]) ** 2), Aux()

    tx = optax.adam(optax.cosine_decay_schedule(lr, max(1, steps)))
    stage = Stage(steps, {"image": Objective(("encoder", "decoder"), loss, tx)})
    return Recipe(init_all(encode, decode), (stage,), predict)


def train(recipe: Recipe, how: Training, images: np.ndarray, test: np.ndarray) -> Iterator[Trained]:
    """The autoencoder of each seed."""
    quickly = {"xla_backend_optimization_level": 0}  # it runs once a seed: compiling is what takes time
    begin = jax.jit(lambda key: start(recipe, key), compiler_options=quickly)
    step, predict = jax.jit(make_step(recipe.stages[0])), jax.jit(recipe.predict)

    def seen(params: Nets) -> Seen:
        out = predict(params, {}, {"image": test})
        return Seen(np.asarray(out["image"]), np.asarray(out["gradient"]))

    for seed in how.seeds:
        key, rng = jax.random.key(seed), np.random.default_rng(seed)
        state = begin(key)
        before = seen(state.params)
        for _ in range(how.steps):
            rows = rng.choice(len(images), how.batch)
            state, _ = step(state, {"image": images[rows]}, key)
        yield Trained(before, seen(state.params))


def study(how: Training, images: np.ndarray, test: np.ndarray) -> tuple[Found, Found]:
    """(decoders, encoders), each named."""
    plain_encoder, plain_decoder = list(ENCODERS)[-1], list(DECODERS)[-1]

    def run(name: str, encoder: Encoder, decoder: Decoder) -> list[Trained]:
        print(name, file=sys.stderr)
        return list(train(recipe(encoder, decoder, how.steps, how.lr), how, images, test))

    decoders = {name: run(name, ENCODERS[plain_encoder], decoder) for name, decoder in DECODERS.items()}
    encoders = {
        name: decoders[plain_decoder] if name == plain_encoder else run(name, encoder, DECODERS[plain_decoder])
        for name, encoder in ENCODERS.items()
    }
    return decoders, encoders
