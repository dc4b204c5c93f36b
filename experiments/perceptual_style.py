"""Photos in the style of one picture, in one pass of a network.

Johnson, Alahi & Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV 2016 (arXiv
1603.08155), section 4.1, as in the authors' release.

    python -m experiments.perceptual_style                                       minutes on a laptop, to see it work
    python -m experiments.perceptual_style paper --style night.jpg --source photos:PATH --weights timm/vgg16.tv_in1k

The network learns to keep what VGG-16 sees in a photo at relu3_3, and to have the Gram matrices of its features at four
layers as the style's picture has them. There is no truth: scores are these two losses over the test photos. One falls
at the other's cost, so pictures say more. Weights are in the release's units.

What differs from the release: VGG-16's weights are PyTorch's, whose features are of another scale than Caffe's, so that
its weights of the losses may want changing; photos are Places', not MS-COCO's, unless `--source photos:PATH` says so.
`quick` takes VGG-16 with random parameters, so that nothing has to be downloaded: it shows that the losses fall, not
what a style is. Without `--style` the picture is of stripes; the style's picture is cut square and brought to `--size`.
A photo goes through in one piece, since its normalisation is of the whole: a large one takes much memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float32, UInt8

from pixlab.core import Aux, Batch, Metric, Objective, Recipe, Stage
from pixlab.data.images import read_image
from pixlab.data.photos import open_photos
from pixlab.data.pipeline import Data, Example, Split
from pixlab.errors import NoSplit, UserError
from pixlab.losses.perceptual import feature_loss, gram, style_loss, total_variation
from pixlab.models.johnson import StyleNet
from pixlab.models.vgg import VGGFeatures
from pixlab.net import Net, init_all
from pixlab.nn.imresize import imresize
from pixlab.options import Options
from pixlab.pictures import Panel, strip
from pixlab.pretrained.files import read_weights
from pixlab.pretrained.imagenet import vgg_features
from pixlab.run import Experiment
from pixlab.superres_task import eight_bits

CONTENT, STYLE = "relu3_3", ("relu1_2", "relu2_2", "relu3_3", "relu4_3")


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """Style transfer with perceptual losses."""

    source: str = "places365_small"
    """Photos to learn from: photos:PATH, places365_small, div2k, rooms ...; any will do."""
    style: str = ""
    """Picture whose style is taken; empty: diagonal stripes."""
    size: int = 256
    """Rows and columns of the photos, which are cut square in their middle."""
    batch: int = 4
    """Photos per step."""
    norm: Literal["instance", "batch"] = "instance"
    """Normalisation: the release's or the paper's."""
    blocks: int = 5
    """Residual blocks."""
    width: int = 32
    """Feature maps of the first layer."""
    vgg_width: float = 1.0
    """Channels of VGG-16 as a fraction, for random parameters."""
    weights: str = ""
    """ImageNet weights of VGG-16: a local file or a Hugging Face id; empty: random parameters."""
    content_weight: float = 1.0
    """Weight of what is seen."""
    style_weight: float = 5.0
    """Weight of the style."""
    smooth_weight: float = 1e-6
    """Weight of total variation."""
    steps: int = 40_000
    """Steps of training."""
    lr: float = 1e-3
    """Adam's rate."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "blocks", "width", "steps")
        self.at_least(8 * self.blocks + 4, "size")
        self.at_least(0, "lr", "content_weight", "style_weight", "smooth_weight")
        self.at_least(1 / 64, "vgg_width")
        if self.weights and self.vgg_width != 1:
            raise UserError("--vgg-width is for random parameters; --weights are of the whole VGG-16")
        style_picture(self)  # here it is missed before anything has been done


CONFIGS = {
    "quick": Config(
        source="rooms", size=64, blocks=2, width=8, vgg_width=0.25, batch=4, steps=300, style_weight=500.0,
        save_every=100,
    ),
    "paper": Config(weights="timm/vgg16.tv_in1k"),
}  # fmt: skip
ABOUT = {
    "quick": "Minutes on a laptop: a small network, small pictures of procedural rooms, stripes, VGG-16 at random.",
    "paper": "The paper's network and losses, in the style of --style.",
}


def recipe(config: Config) -> Recipe:
    """The stage, the loss, the scores."""
    image = (1, config.size, config.size, 3)
    net = Net("style", StyleNet(config.blocks, config.width, config.norm), (image,))
    vgg = Net("vgg", VGGFeatures(16, STYLE, config.vgg_width), (image,))
    wanted = functools.cache(lambda: style_picture(config))  # predicting does without it

    def losses(params, carry, made, photo):
        seen = lambda x: vgg(params, carry, x)[0]  # noqa: E731
        features = seen(made)
        style = {name: gram(x) for name, x in seen(jnp.asarray(wanted()[None])).items()}
        return {
            "content": feature_loss(features[CONTENT], seen(photo)[CONTENT]),
            "style": style_loss(features, style, mean=True),
        }

    def loss(params, carry, batch, key):
        made, moved = net(params, carry, batch["image"], train=True, key=key)
        parts = losses(params, carry, made, batch["image"]) | {"smooth": total_variation(made)}
        smooth = config.smooth_weight * len(made) / 2 * 255**2  # see total_variation
        weights = dict(content=config.content_weight, style=config.style_weight, smooth=smooth)
        total = sum(weights[name] * value for name, value in parts.items())
        return total, Aux(moved, {f"style/{name}": value for name, value in parts.items()})

    def predict(params, carry, batch):
        made, _ = net(params, carry, batch["image"])
        if "photo" not in batch:  # nothing to score: anyone's photo, of any size
            return {"styled": made}
        each = jax.lax.map(lambda pair: losses(params, carry, *(x[None] for x in pair)), (made, batch["photo"]))
        return {"styled": made, **each}

    def stats(prediction, example):
        return {name: prediction[name] for name in ("content", "style")} | {"images": jnp.ones(())}

    mean = Metric(stats, lambda total: {name: total[name] / total["images"] for name in ("content", "style")})
    stage = Stage(config.steps, {"style": Objective(("style",), loss, optax.adam(config.lr))})

    def pretrained(params):
        return params | {"vgg": vgg_features(read_weights(config.weights), vgg.module)}

    start = pretrained if config.weights else lambda params: params

    def drawn(example, prediction):
        return render(wanted(), example, prediction)

    return Recipe(init_all(net, vgg), (stage,), predict, {"style_loss": mean}, drawn, start)


def style_picture(config: Config) -> Float32[np.ndarray, "n n 3"]:
    """The picture whose style is taken, at the size of the photos, in [0, 1]."""
    if config.style:
        return square(read_image(config.style), config.size)
    across = np.add.outer(np.arange(config.size), np.arange(config.size))
    stripes = np.array([[226, 88, 34], [250, 214, 121], [35, 61, 77]])[across // 6 % 3]
    return (stripes / 255).astype(np.float32)


def square(image: UInt8[np.ndarray, "h w 3"], size: int) -> Float32[np.ndarray, "n n 3"]:
    """The middle square of a photo at `size` pixels, in [0, 1]."""
    side = min(image.shape[:2])
    top, left = ((n - side) // 2 for n in image.shape[:2])
    middle = image[top : top + side, left : left + side]
    return np.clip(imresize(middle, size=(size, size)) / 255, 0, 1).astype(np.float32)


def data(config: Config) -> Data:
    """Squares of photos; those to score carry themselves along as what must still be seen."""

    def train(frame: Example) -> Example:
        return {"image": square(frame["image"], config.size)}

    def test(frame: Example) -> Example:
        return train(frame) | {"photo": train(frame)["image"]}

    splits = {"test": Split(open_photos(config.source, "test"), test)}
    with contextlib.suppress(NoSplit):  # of a set to test on
        splits["train"] = Split(open_photos(config.source, "train"), train)
    return Data(batch=config.batch, splits=splits, workers=config.workers)


def render(style: np.ndarray, example: Example, prediction: Batch) -> dict[str, UInt8[np.ndarray, "_ _ 3"]]:
    """The style's picture, a test photo, and the photo in that style."""
    three = {"style": style, "photo": example["image"], "this run": prediction["styled"]}
    return {"styled": strip([Panel(name, eight_bits(x)) for name, x in three.items()])}


def photo(config: Config, image: UInt8[np.ndarray, "h w 3"]) -> Example:
    """The photo's RGB over 255, float32 [h, w, 3]; a small one with its mirror images, up to what the network takes."""
    more = [max(0, 8 * config.blocks + 4 - n) for n in image.shape[:2]]
    return {"image": (np.pad(image, ((0, more[0]), (0, more[1]), (0, 0)), "symmetric") / 255).astype(np.float32)}


def export(config: Config, image: np.ndarray, prediction: Batch) -> dict[str, UInt8[np.ndarray, "_ _ 3"]]:
    """What `python -m pixlab predict` writes: the photo in the style."""
    h, w = image.shape[:2]
    return {"styled": eight_bits(np.asarray(prediction["styled"])[:h, :w])}


experiment = Experiment(
    "experiments.perceptual_style",
    CONFIGS,
    recipe,
    data,
    paper="paper",
    about=ABOUT,
    photo=photo,
    export=export,
)
main = experiment.main

if __name__ == "__main__":
    main()
