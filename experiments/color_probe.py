"""What a network that learnt to colour knows of what is in a photo: linear classifiers on its features.

    python -m experiments.color_probe runs/color_imagenet-quick
    python -m experiments.color_probe runs/color_imagenet-full --source nyu_labeled --classes 40

Zhang, Isola & Efros, "Colorful Image Colorization", ECCV 2016, section 3.2, the "cross-channel encoder". For each block
of the network, frozen, its features of labelled images are averaged down to about 9,000 numbers, and a linear
classifier learns from them which classes are in an image. Beside it the same on the same network with random weights,
whose batch statistics are those of the training images: what the layout alone is worth.

What differs from the paper: there an AlexNet is trained to colour ImageNet and its features tell apart ImageNet's 1000
classes; here it is the colorization network itself, and several classes are in an image, so that each has a logistic
regression of its own and the score is the mean average precision of those that are in some images but not in all.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from jaxtyping import Array, Bool, Float

from experiments import color_imagenet
from experiments.color_imagenet import NET
from pixlab import mesh
from pixlab.core import Nets, eval_params
from pixlab.data import rgbd
from pixlab.errors import UserError
from pixlab.models.zhang2016 import Colorizer
from pixlab.predict_command import note
from pixlab.results import aligned
from pixlab.run import Run

BATCH = 8
DECAY = 1e-3
Features = Callable[[Nets, Nets, np.ndarray], dict[str, np.ndarray]]  # ..., lightness [b, n, n, 1] -> {block: [b, d]}


@dataclasses.dataclass(frozen=True)
class Command:
    """Mean average precision of linear classifiers on each block of a colorization network, in per cent."""

    run: tyro.conf.Positional[str]
    """Run folder of experiments.color_imagenet."""
    source: str = "rooms"
    """Labelled images: rooms, nyu_labeled or rgbd_folder:PATH."""
    classes: int = 16
    """Classes of the labels."""
    images: int = 1000
    """Images of each split at most, evenly spread."""
    share: float = 0.01
    """Part of the pixels from which on a class counts as being in an image."""
    numbers: int = 9000
    """Features of a block, about."""
    steps: int = 300
    """Steps of each classifier."""
    seed: int = 1
    """Of the random weights."""


def probe(command: Command) -> dict[str, dict[str, float]]:
    """{block: {"trained", "random": mean average precision in per cent}}, and under "chance" the mean part of images
    that a class is in. Raises UserError for a run of another kind, and where no class can be told apart."""
    if min(command.classes, command.images, command.numbers, command.steps) < 1 or command.share <= 0:
        raise UserError("give --classes, --images, --numbers and --steps of at least 1, and a positive --share")
    run = Run.open(command.run)
    if not isinstance(run.config, color_imagenet.Config):
        raise UserError(f"{command.run}: give a run of experiments.color_imagenet")
    note(run.unfinished)
    splits = {}
    for split in ("train", "test"):
        frames = rgbd.open_source(command.source, split, classes=command.classes)
        splits[split] = lightness_and_presence(frames, run.config, command)
    present = {split: truth for split, (_, truth) in splits.items()}
    told = np.all([truth.any(0) & ~truth.all(0) for truth in present.values()], axis=0)
    if not told.any():
        raise UserError(
            f"{command.source}: no class is in some images of both splits but not in all; give another --share"
        )
    random, carry = run.recipe.init(jax.random.key(command.seed))
    carry = statistics(run, random, carry, splits["train"][0])
    networks = {"trained": (eval_params(run.state), run.state.carry), "random": (random, carry)}
    look, scores = features(run, command.numbers), {}
    for kind, nets in networks.items():
        found = {split: collected(functools.partial(look, *nets), light) for split, (light, _) in splits.items()}
        for block, x in found["train"].items():
            seen = x, found["test"][block], present["train"][:, told]
            guess = np.asarray(classified(*map(jnp.asarray, seen), steps=command.steps))
            scores.setdefault(block, {})[kind] = 100 * mean_average_precision(guess, present["test"][:, told])
    return scores | {"chance": dict.fromkeys(networks, 100 * float(present["test"][:, told].mean()))}


def lightness_and_presence(frames, config: color_imagenet.Config, command: Command) -> tuple[np.ndarray, np.ndarray]:
    """Of some frames of a source what the network sees [images, n, n, 1], and which classes are there
    [images, classes]."""
    light, present = [], []
    for index in range(0, len(frames), -(-len(frames) // command.images)):
        frame = frames[index]
        if "label" not in frame:
            raise UserError(f"{command.source}: has no labels; give rooms, nyu_labeled or a folder with labels")
        light.append(color_imagenet.photo(config, frame["image"])["image"])
        often = np.bincount(frame["label"].ravel(), minlength=command.classes + 1)[1 : command.classes + 1]
        present.append(often >= command.share * frame["label"].size)
    return np.stack(light), np.stack(present)


def statistics(run: Run, params: Nets, carry: Nets, light: np.ndarray) -> Nets:
    """`carry` of a network that was not trained, with the mean statistics of the batches of lightness."""
    module = Colorizer(run.config.width, params[NET]["out"]["bias"].size, momentum=0.0)

    @jax.jit
    def seen(params, x):
        return module.apply({"params": params[NET], **carry[NET]}, x, train=True, mutable=list(carry[NET]))[1]

    starts = range(0, max(1, len(light) - BATCH + 1), BATCH)  # whole batches, if there is one
    found = [jax.device_get(seen(params, light[start : start + BATCH])) for start in starts]
    return {NET: jax.tree.map(lambda *parts: np.mean(parts, axis=0), *found)}


def features(run: Run, numbers: int) -> Features:
    """The network's blocks as functions of its parameters, its statistics and lightness, each averaged down to about
    `numbers` numbers."""

    @jax.jit
    def apply(params, carry, x):
        module = Colorizer(run.config.width, params[NET]["out"]["bias"].size)
        _, kept = module.apply({"params": params[NET], **carry[NET]}, x, mutable=["intermediates"])
        return {block: shrunk(value, numbers) for block, (value,) in kept["intermediates"].items()}

    return lambda params, carry, x: jax.device_get(apply(params, carry, x))


def shrunk(x: Float[Array, "b h w c"], numbers: int) -> Float[Array, "b d"]:
    """Features averaged over parts of the image so that about `numbers` of them are left for each image."""
    b, h, w, c = x.shape
    side = max(1, round((numbers / c) ** 0.5))
    return jax.image.resize(x, (b, min(h, side), min(w, side), c), "linear").reshape(b, -1)


def collected(features: Callable[[np.ndarray], dict[str, np.ndarray]], light: np.ndarray) -> dict[str, np.ndarray]:
    """The features of all images, batch by batch."""
    parts: Iterable[dict[str, np.ndarray]] = (features(x) for x in _padded(light))
    rows: dict[str, list[np.ndarray]] = {}
    for part in parts:
        for block, x in part.items():
            rows.setdefault(block, []).append(x)
    return {block: np.concatenate(x)[: len(light)] for block, x in rows.items()}


def _padded(light: np.ndarray) -> Iterable[np.ndarray]:
    for start in range(0, len(light), BATCH):
        some = light[start : start + BATCH]
        yield np.pad(some, ((0, BATCH - len(some)), (0, 0), (0, 0), (0, 0)))


@functools.partial(jax.jit, static_argnames="steps")
def classified(
    train: Float[Array, "n d"], test: Float[Array, "m d"], present: Bool[Array, "n k"], *, steps: int = 300
) -> Float[Array, "m k"]:
    """Scores of the test images' classes by logistic regressions on standardised features, trained by Adam."""
    mean, deviation = train.mean(0, keepdims=True), train.std(0, keepdims=True)
    scale = 1 / (jnp.maximum(deviation, 1e-6) * train.shape[1] ** 0.5)
    train, test, tx = (train - mean) * scale, (test - mean) * scale, optax.adam(0.03)

    def loss(params):
        logits = train @ params["kernel"] + params["bias"][None]
        errors = optax.sigmoid_binary_cross_entropy(logits, present.astype(jnp.float32))
        return errors.mean(0).sum() + 0.5 * DECAY * (params["kernel"] ** 2).sum()

    def step(state, _):
        params, moments = state
        updates, moments = tx.update(jax.grad(loss)(params), moments)
        return (optax.apply_updates(params, updates), moments), None

    start = {"kernel": jnp.zeros((train.shape[1], present.shape[1])), "bias": jnp.zeros(present.shape[1])}
    (params, _), _ = jax.lax.scan(step, (start, tx.init(start)), length=steps)
    return test @ params["kernel"] + params["bias"][None]


def mean_average_precision(scores: np.ndarray, present: np.ndarray) -> float:
    """Over the classes [images, classes]: of each, the mean precision at the ranks of images that have it."""
    precisions = []
    for score, truth in zip(scores.T, present.T, strict=True):
        hits = truth[np.argsort(-score, kind="stable")]
        precisions.append((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())
    return float(np.mean(precisions))


def table(scores: dict[str, dict[str, float]]) -> str:
    """The scores as aligned text."""
    kinds = list(next(iter(scores.values())))
    lines = [["", *kinds], *([block, *(f"{row[kind]:.1f}" for kind in kinds)] for block, row in scores.items())]
    return "\n".join(aligned(lines))


def main(args: Sequence[str] | None = None) -> None:
    """The command line; mistakes end in one line and exit status 2."""
    command = tyro.cli(Command, args=args, prog="python -m experiments.color_probe")
    mesh.setup()
    try:
        print(table(probe(command)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
