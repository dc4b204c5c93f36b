"""Colours for grey photos, as a distribution over 313 of them for every cell of 4x4 pixels.

Zhang, Isola & Efros, "Colorful Image Colorization", ECCV 2016 (arXiv 1603.08511), as the authors' Caffe release has it
where the paper says less or otherwise.

    python -m experiments.color_imagenet                   minutes on a laptop, on procedural rooms
    python -m experiments.color_imagenet full              the paper's, on ImageNet (python -m pixlab data list)
    python -m experiments.color_imagenet full --source photos:PATH      on a folder of photos
    python -m experiments.color_imagenet l2_ft --start runs/color_imagenet-full

The network sees the lightness L of CIE Lab and scores the bins of a and b. Rare colours count more: a cell's loss is
weighted by the inverse of how often its colour occurs, half mixed with a uniform share. What is shown is the annealed
mean of the bins, between their mean, which is dull, and the most likely one, which is spotty. How often colours occur,
the prior, is counted before training starts and kept inside the run; experiments.color_prior counts it once for many.
Among the baselines, "random" draws every pixel's colour from the prior.

What differs from the paper: weights start from He's distribution, not from k-means; the prior is counted on at most
10,000 training photos, and on every fourth pixel of every fourth row, which are the ones that are trained on; each bin
counts once more than it was seen, and Q in the weights counts all 313, where the release counts those that occur; rate
and steps are the release's, not the paper's; answers are enlarged so that a cell lies at the pixel that its target was
taken from, 1.5 pixels from where plain enlargement puts it; the two-channel head of `l2` starts at random, also in
`l2_ft`, and batch statistics are collected anew there; `quick` and `few` forget old ones ten times as fast, for they
make few steps. The paper scores 10,000 of ImageNet's validation photos, ours all 50,000. The area under the accuracy is
as in the paper; what VGG-16 recognises in the photos, and whom they deceive, is not measured.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image

from pixlab import pictures
from pixlab.baselines import AT_MOST
from pixlab.core import Aux, Nets, Objective, Recipe, Stage
from pixlab.data.colour import colour_data, colour_prior, doubt, read_prior, squeezed, to_lab
from pixlab.data.pipeline import Data, Example, examples
from pixlab.errors import UserError
from pixlab.hosts import first_host
from pixlab.losses.colour import ab_loss, class_weights, rebalanced_cross_entropy
from pixlab.metrics.colour_accuracy import colour_accuracy
from pixlab.models.zhang2016 import UNIT, Colorizer
from pixlab.net import Net, init_all
from pixlab.nn.ab_bins import AB_BINS, BINS, STRIDE, annealed_mean
from pixlab.nn.colour import lab_to_rgb
from pixlab.nn.upsample import interpolation_matrix
from pixlab.options import Options
from pixlab.predict_command import note
from pixlab.run import Experiment, Run, started

NET = "colorizer"
PRIOR = "prior"  # the entry of the parameters, never trained, that holds the probabilities of the bins
BAND = 1 << 20  # pixels of a photo that get their colours at once: Lab takes forty times their memory


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """Colorization by classification (Zhang, Isola & Efros 2016)."""

    source: str = "imagenet2012"
    """Photos: imagenet2012, places365_small, photos:PATH, rooms ...; + joins several."""
    side: int = 256
    """Rows and columns that photos are squeezed to."""
    crop: int = 176
    """Rows and columns of the crops that are trained on."""
    batch: int = 40
    """Images per step."""
    width: float = 1.0
    """Channels relative to the published ones."""
    answer: Literal["bins", "ab"] = "bins"
    """What the network gives: scores of 313 bins, or a and b themselves, by least squares."""
    uniform: float = 0.5
    """Part of the uniform distribution in what rare bins are weighted by; 1: all alike. Not used with --answer ab."""
    temperature: float = 0.38
    """Of the annealed mean: 1 is the mean, 0 the most likely bin. Not used with --answer ab."""
    prior: str = ""
    """How often colours occur: a file of experiments.color_prior; empty: counted on the training photos."""
    prior_photos: int = 10_000
    """Training photos, evenly spread, that the prior is counted on at most; 0: all."""
    start: str = ""
    """Run folder of this experiment whose network training starts from; what does not fit starts at random."""
    steps: int = 500_000
    """Steps of training."""
    lr: float = 3e-5
    """Adam's rate."""
    drop: int = 225_000
    """Steps after which the rate is a tenth, and again after as many."""
    decay: float = 1e-3
    """This times each weight is added to its gradient, which is that of a sum over the cells of an image."""
    statistics: float = 0.999
    """Part that batch normalisation keeps of its running statistics at each step; the rest is the batch's."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the network computes in; parameters, losses and scores are float32."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "steps", "drop")
        self.at_least(0, "lr", "decay", "temperature", "uniform", "prior_photos", "statistics")
        self.at_least(0.01, "width")
        self.at_least(UNIT, "side", "crop")
        if self.side % UNIT or self.crop % UNIT or self.crop > self.side:
            raise UserError(
                f"--side {self.side} --crop {self.crop}: give multiples of {UNIT}, the crop at most as large"
            )
        if self.uniform > 1:
            raise UserError(f"--uniform {self.uniform}: give at most 1")
        if self.statistics >= 1:
            raise UserError(f"--statistics {self.statistics}: give less than 1")


PAPER = Config()
CONFIGS = {
    "quick": Config(
        source="rooms", side=96, crop=80, batch=16, width=0.125, steps=700, lr=1e-3, drop=500, statistics=0.99,
        save_every=200, eval_every=350,
    ),
    "few": Config(
        source="photos:PATH", side=128, crop=112, batch=8, width=0.25, steps=2500, lr=3e-4, drop=1700,
        statistics=0.99, save_every=250, eval_every=1250,
    ),
    "full": PAPER,
    "class": dataclasses.replace(PAPER, uniform=1.0),
    "l2": dataclasses.replace(PAPER, answer="ab"),
    "l2_ft": dataclasses.replace(PAPER, answer="ab", start="runs/color_imagenet-full"),
}  # fmt: skip
ABOUT = {
    "quick": "Minutes on a laptop: an eighth of the channels, on procedural rooms.",
    "few": "A quarter of the channels on some hundred photos, --source photos:PATH, for machines without a GPU.",
    "full": "The paper's: classification that rebalances rare colours.",
    "class": "Classification that does not rebalance.",
    "l2": "Regression of a and b.",
    "l2_ft": "Regression that starts from a finished run: --start RUN.",
}


def recipe(config: Config) -> Recipe:
    """The one stage, the loss, the scores."""
    bins = config.answer == "bins"
    module = Colorizer(config.width, BINS if bins else 2, config.statistics)
    net = Net(NET, module, ((1, config.crop, config.crop, 1),), jnp.dtype(config.dtype))

    def loss(params, carry, batch, key):
        out, moved = net(params, carry, batch["image"], train=True, key=key)
        if bins:
            weights = class_weights(params[PRIOR]["probability"], config.uniform)
            value = rebalanced_cross_entropy(out, batch["ab"], weights)
        else:
            value = ab_loss(out, batch["ab"])
        return value, Aux(moved, {"colour/per_cell": value / (out.shape[1] * out.shape[2])})

    def predict(params, carry, batch):
        image = batch["image"]
        out, _ = net(params, carry, image)
        kinds = {"ab": config.temperature, "mean": 1.0, "mode": 0.0} if bins else {}
        cells = {name: annealed_mean(out, temperature) for name, temperature in kinds.items()} or {"ab": out}
        prior = jnp.broadcast_to(params[PRIOR]["probability"][None], (len(image), BINS))
        return {name: at_pixels(x, image.shape[1:3]) for name, x in cells.items()} | {"prior": prior}

    def init(key):
        params, carry = init_all(net)(key)
        return params | {PRIOR: {"probability": jnp.full(BINS, 1 / BINS)}}, carry

    rate = optax.exponential_decay(config.lr, config.drop, 0.1, staircase=True)
    tx = optax.chain(optax.add_decayed_weights(config.decay), optax.adam(rate, b1=0.9, b2=0.99))
    stages = (Stage(config.steps, {"colour": Objective((NET,), loss, tx)}),)
    begin = functools.partial(begun, config)
    return Recipe(init, stages, predict, {"colour": colour_accuracy()}, render, begin)


def at_pixels(cells: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Cells [b, h, w, c] of STRIDE pixels, each worth its first row and column, bilinear at all pixels of `size`."""
    rows, columns = (
        interpolation_matrix(STRIDE * np.arange(n), out) for n, out in zip(cells.shape[1:3], size, strict=True)
    )
    return jnp.einsum("ih,jw,bhwc->bijc", rows, columns, cells, precision=jax.lax.Precision.HIGHEST)


def begun(config: Config, params: Nets) -> Nets:
    """What training starts from: the network of another run where one is given, and the prior. Raises UserError for a
    run of another kind or width and for one that has not ended."""
    if config.start:
        theirs = Run.open(config.start).config
        if not isinstance(theirs, Config):
            raise UserError(f"--start {config.start}: give a run of experiments.color_imagenet")
        if theirs.width != config.width:
            raise UserError(f"--start {config.start}: has --width {theirs.width}, not {config.width}")
    return started(config.start)(params) | {PRIOR: {"probability": jnp.asarray(prior(config), jnp.float32)}}


def prior(config: Config) -> np.ndarray:
    """Probabilities of the bins, float64 [313]: of the file, or counted."""
    if config.prior:
        return read_prior(config.prior)
    return _counted(config.source, config.side, config.prior_photos)


@functools.cache
def _counted(source: str, side: int, most: int) -> np.ndarray:
    found = colour_prior(source, side=side, most=most, progress=first_host())
    if wrong := doubt(found):
        note(f"{source}: {wrong}; are these photos?")
    return found


def data(config: Config) -> Data:
    """Photos."""
    sizes = dict(side=config.side, crop=config.crop)
    return colour_data(config.source, **sizes, batch=config.batch, workers=config.workers)


def answers(config: Config, data: Data) -> dict:
    """What needs no network: grey, the mean a and b of at most 1000 training photos, and random colours."""
    split, chances = data.splits["train"], prior(config)
    means = [one["ab"].mean(axis=(0, 1)) for one in examples(split, step=-(-len(split.source) // AT_MOST))]
    drawn = np.random.default_rng(0).choice(BINS, (config.side, config.side), p=chances)
    fixed = {"grey": np.zeros(2), "mean": np.mean(means, axis=0), "random": AB_BINS[drawn]}

    def constant(ab):
        def predict(params, carry, batch):
            shape = batch["image"].shape[:3]
            known = jnp.asarray(ab, jnp.float32), jnp.asarray(chances, jnp.float32)
            ab_, probability = jax.lax.optimization_barrier(known)  # else XLA scores constants while it compiles
            ab_ = ab_.reshape((1,) * (4 - ab_.ndim) + ab_.shape)
            return {
                "ab": jnp.broadcast_to(ab_, (*shape, 2)),
                "prior": jnp.broadcast_to(probability[None], (shape[0], BINS)),
            }

        return predict

    return {name: constant(ab) for name, ab in fixed.items()}


def render(example: Example, prediction: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What is drawn of a test example: input, truth and answer, and where there are bins their mean and mode."""
    light = example["image"] + 50
    colours = {"input": 0 * example["ab"], "truth": example["ab"], "prediction": prediction["ab"]}
    colours |= {name: prediction[name] for name in ("mean", "mode") if name in prediction}
    return {"colour": pictures.strip([(name, to_rgb(light, ab)) for name, ab in colours.items()])}


def to_rgb(light: np.ndarray, ab: np.ndarray) -> np.ndarray:
    """8-bit RGB [h, w, 3] of lightness [h, w, 1] from 0 to 100 with a, b [h, w, 2]."""
    lab = np.concatenate([light, ab], axis=-1, dtype=np.float32)
    return (255 * lab_to_rgb(lab) + 0.5).astype(np.uint8)


def photo(config: Config, image: np.ndarray) -> Example:
    """The lightness of the whole photo, uint8 RGB [h, w, 3], squeezed to a square: L - 50 of CIE Lab, float32."""
    return {"image": to_lab(squeezed(image, config.side))[..., :1] - 50}


def export(config: Config, image: np.ndarray, prediction: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What `python -m pixlab predict` writes: the photo's own lightness in the colours that were found; where there
    are bins, also in their mean and in the most likely one, which help to choose a temperature."""
    (height, width), shown = image.shape[:2], {"colour": "ab", "mean": "mean", "mode": "mode"}
    found = {name: prediction[key] for name, key in shown.items() if key in prediction}
    planes = {name: [Image.fromarray(np.float32(ab[..., i])) for i in range(2)] for name, ab in found.items()}
    out, step = {name: np.empty_like(image) for name in found}, max(1, BAND // width)
    for top in range(0, height, step):
        band = image[top : top + step]
        light = to_lab(band)[..., :1]
        for name, (a, b) in planes.items():
            box = (0, top * a.height / height, a.width, (top + len(band)) * a.height / height)
            grown = [np.asarray(x.resize((width, len(band)), Image.Resampling.BILINEAR, box)) for x in (a, b)]
            out[name][top : top + step] = to_rgb(light, np.stack(grown, -1))
    return out


experiment = Experiment(
    "experiments.color_imagenet",
    CONFIGS,
    recipe,
    data,
    baselines=answers,
    paper="full",
    about=ABOUT,
    photo=photo,
    export=export,
)
main = experiment.main

if __name__ == "__main__":
    main()
