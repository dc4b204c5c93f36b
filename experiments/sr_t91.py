"""Super-resolution of luminance by small convolutional networks that learn from 91 photos.

SRCNN: Dong, Loy, He & Tang, "Image Super-Resolution Using Deep Convolutional Networks", TPAMI 2016 (arXiv 1501.00092).
FSRCNN: Dong, Loy & Tang, "Accelerating the Super-Resolution Convolutional Neural Network", ECCV 2016 (1608.00367).
ESPCN: Shi et al., "Real-Time Single Image and Video Super-Resolution ...", CVPR 2016 (1609.05158).
VDSR: Kim, Lee & Lee, "Accurate Image Super-Resolution Using Very Deep Convolutional Networks", CVPR 2016 (1511.04587).

    python -m experiments.sr_t91                       minutes on a laptop: SRCNN, x3
    python -m experiments.sr_t91 fsrcnn_x2             by Adam from T91 (python -m pixlab data prepare t91, and set5)
    python -m experiments.sr_t91 srcnn                 the paper's, by SGD for 15 million steps
    python -m pixlab evaluate runs/sr_t91-quick --source set14

SRCNN and VDSR see luminance that bicubic interpolation has enlarged; FSRCNN and ESPCN see it small and enlarge at their
end, by a transposed convolution or a pixel shuffle. SRCNN learns without padding, from windows of 33x33, and is tested
with its border pixels repeated. Scores are SRCNN's: luminance of 8 bits, `scale` pixels cut off on each side, the small
photo never rounded.

What differs from the papers: configs that name a scale, `quick` and `vdsr_few` learn by Adam with cosine decay at one
rate for all layers, from windows that are turned and mirrored. SRCNN's hidden layers start as He et al. have it, since
from the paper's deviation of 0.001 Adam takes many times as long; FSRCNN starts as bilinear interpolation; --init paper
shows what that brings. `srcnn` and `vdsr` have the papers' optimisers and starts; FSRCNN and ESPCN have no such config.
FSRCNN learns from windows of 16x16 pixels of low resolution, where its paper has 10, 7 or 6; both it and ESPCN learn
from photos made smaller as well, as FSRCNN's paper does; its second round with General-100 is left out. ESPCN's small
photos are bicubic, not blurred by a Gaussian and subsampled, since that is what the tests have. VDSR makes photos
smaller by 0.7 and 0.5 first, as a port of it does. `srcnn_935` and `srcnn_955` learn from random pieces of ImageNet's
photos for classification, not from all windows of those for detection.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
import optax

from experiments.sr_published import reported_as
from pixlab import superres_task
from pixlab.core import Aux, Objective, Recipe, Stage
from pixlab.data.degrade import Kind
from pixlab.data.photos import split_names
from pixlab.data.pipeline import Data
from pixlab.data.superres import Crop
from pixlab.data.windows import Cut
from pixlab.errors import UserError
from pixlab.losses.reconstruction import half_sum_of_squares, l2
from pixlab.models.espcn import ESPCN
from pixlab.models.fsrcnn import FSRCNN
from pixlab.models.srcnn import SRCNN
from pixlab.models.vdsr import VDSR
from pixlab.net import Net
from pixlab.optim import Rule, sgd_by_layer
from pixlab.run import Experiment
from pixlab.superres_task import SuperresOptions

NETS = {  # what each sees, and who in the published tables to compare with
    "srcnn": ("enlarged", ("SRCNN 9-1-5, T91", "SRCNN 9-5-5, ImageNet")),
    "fsrcnn": ("low", ("FSRCNN",)),
    "espcn": ("low", ("ESPCN, ImageNet",)),
    "vdsr": ("enlarged", ("VDSR",)),
}


@dataclasses.dataclass(frozen=True)
class Config(SuperresOptions):
    """Super-resolution of luminance by small networks."""

    net: Literal["srcnn", "fsrcnn", "espcn", "vdsr"] = "srcnn"
    """Network."""
    windows: tuple[int, int, int] = (9, 1, 5)
    """Sizes of SRCNN's three convolutions: 9 1 5, 9 3 5 or 9 5 5."""
    depth: int = 20
    """VDSR's convolutions."""
    steps: int = 40_000
    """Steps of training."""
    batch: int = 64
    """Windows per step."""
    optimiser: Literal["adam", "sgd"] = "adam"
    """adam: one rate with cosine decay. sgd: as SRCNN's release, or for VDSR as its paper."""
    lr: float = 2e-3
    """Rate: Adam's, or SGD's for the sum over a window's pixels."""
    init: Literal["helpful", "paper"] = "helpful"
    """What training starts from. helpful: SRCNN's hidden layers as He et al. have it, FSRCNN as bilinear interpolation.
    paper: noise, as in the papers; ESPCN and VDSR do so either way."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "steps")
        self.at_least(3, "depth")
        self.at_least(0, "lr")
        self.one_of("windows", ((9, 1, 5), (9, 3, 5), (9, 5, 5)))
        if self.optimiser == "sgd":
            self.one_of("net", ("srcnn", "vdsr"))
        if self.net == "vdsr":
            self.one_of("scale", (2, 3, 4))
            if large(self.source):
                raise UserError(
                    "--net vdsr keeps all windows in memory: give smaller --source, such as t91+photos:PATH"
                )
        if self.net != "srcnn" and self.windows != (9, 1, 5):
            raise UserError("--windows are SRCNN's")
        if self.net != "vdsr" and self.depth != 20:
            raise UserError("--depth is VDSR's")


LENGTHS = {"srcnn": (80_000, 16), "fsrcnn": (200_000, 4), "espcn": (200_000, 4)}  # steps, windows per step
CONFIGS = {
    "quick": Config(source="rooms", test="rooms", batch=16, steps=4000, save_every=1000),
    **{
        f"{net}_x{scale}": Config(
            net=net, scale=scale, steps=steps, batch=batch, save_every=5000, eval_every=20_000
        )
        for net, (steps, batch) in LENGTHS.items()
        for scale in (2, 3, 4)
    },
    "vdsr_few": Config(net="vdsr", steps=8000, batch=4, lr=3e-4, save_every=1000, eval_every=4000),
    "srcnn": Config(steps=15_000_000, batch=128, optimiser="sgd", lr=1e-4, init="paper", save_every=50_000),
    **{
        f"srcnn_9{n}5": Config(
            windows=(9, n, 5), source="imagenet2012", steps=15_000_000, batch=128, optimiser="sgd", lr=1e-4,
            init="paper", save_every=50_000,
        )
        for n in (3, 5)
    },
    "vdsr": Config(net="vdsr", steps=240_000, optimiser="sgd", lr=0.1, source="t91+photos:bsd200"),
}  # fmt: skip
ABOUT = {
    "quick": "Minutes on a laptop: SRCNN, x3, on pictures of procedural rooms.",
    **{
        f"{net}_x{scale}": f"{net.upper()}, x{scale}, by Adam from T91, without a GPU."
        for net in LENGTHS
        for scale in (2, 3, 4)
    },
    "vdsr_few": "VDSR by Adam from T91, for as long as a machine without a GPU can.",
    "srcnn": "SRCNN 9-1-5 as its release trains it, from T91.",
    "srcnn_935": "SRCNN 9-3-5 from ImageNet.",
    "srcnn_955": "SRCNN 9-5-5 from ImageNet.",
    "vdsr": "VDSR as its paper trains it, from T91 and 200 photos of BSDS500 in a folder bsd200.",
}
CLIP = 0.01  # theta of VDSR's adjustable clipping, which the paper leaves open: what a gradient adds to a step at most


def kind(config: Config) -> Kind:
    """What the network sees."""
    return NETS[config.net][0]


def cut(config: Config) -> Cut | Crop:
    """How windows are cut for the network, and how much of their border it does not answer for."""
    turned = dict(turns=True, flips=True) if config.optimiser == "adam" else {}
    if config.net == "vdsr":
        return Cut(41, 41, downsizes=(1.0, 0.7, 0.5), turns=True, flips=True)
    size, border = {"srcnn": (33, (sum(config.windows) - 3) // 2), "fsrcnn": (16, 0), "espcn": (17, 0)}[config.net]
    if large(config.source):  # too many photos to keep all windows
        return Crop(-(-size // config.scale) if config.net == "srcnn" else size, border=border, **turned)
    if config.net == "srcnn":
        return Cut(size, 14, border=border, **turned)
    return Cut(size, size // 2, downsizes=(1.0, 0.9, 0.8, 0.7, 0.6), **turned)


def large(source: str) -> bool:
    """Whether photos are too many to be kept in memory with all their windows."""
    return bool({"imagenet2012", "places365_small", "div2k"} & set(split_names(source)))


def networks(config: Config) -> tuple[Net, Net]:
    """The network as it learns, and with the same parameters as it is tested."""
    helpful = config.init == "helpful"
    hidden = dict(hidden_init=nn.initializers.he_normal()) if helpful else {}
    module = {
        "srcnn": lambda: SRCNN(config.windows, **hidden),
        "fsrcnn": lambda: FSRCNN(config.scale, interpolates=helpful),
        "espcn": lambda: ESPCN(config.scale),
        "vdsr": lambda: VDSR(config.depth),
    }[config.net]()
    learns = Net(config.net, module, ((1, 33, 33, 1),), jnp.dtype(config.dtype))
    tested = dataclasses.replace(module, padding="EDGE") if config.net == "srcnn" else module
    return learns, dataclasses.replace(learns, module=tested)


def recipe(config: Config) -> Recipe:
    """The stage, the loss, the scores."""
    learns, tested = networks(config)
    error = l2 if config.optimiser == "adam" else half_sum_of_squares

    def loss(params, carry, batch, key):
        out, _ = learns(params, carry, batch["image"], train=True, key=key)
        return error(middle(out, batch["high"].shape[1:3]), batch["high"]), Aux()

    def predict(params, carry, batch):
        out, _ = tested(params, carry, batch["image"])
        return {"high": middle(out, batch["high"].shape[1:3]) if "high" in batch else out}

    stage = Stage(config.steps, {config.net: Objective((config.net,), loss, optimiser(config))})
    return Recipe(learns.init, (stage,), predict, superres_task.metrics(config, kind(config)), superres_task.render)


def middle(x, size: tuple[int, int]):
    """The middle of maps [b, h, w, c], of `size`."""
    top, left = ((n - m) // 2 for n, m in zip(x.shape[1:3], size, strict=True))
    return x[:, top : top + size[0], left : left + size[1]]


def optimiser(config: Config) -> optax.GradientTransformation:
    """Adam, or what the paper of the network says."""
    if config.optimiser == "adam":
        return optax.adam(optax.cosine_decay_schedule(config.lr, config.steps))
    if config.net == "srcnn":
        return sgd_by_layer([Rule("conv3/kernel|bias", 0.1), Rule("kernel", 1.0)], lr=config.lr, momentum=0.9)
    quarter = config.steps // 4
    rate = optax.piecewise_constant_schedule(config.lr, {quarter: 0.1, 2 * quarter: 0.1, 3 * quarter: 0.1})
    # a gradient clipped at theta / rate and then multiplied by the rate is the product clipped at theta
    clipped = optax.chain(optax.scale_by_schedule(rate), optax.clip(CLIP))
    return optax.chain(optax.add_decayed_weights(1e-4), clipped, optax.trace(0.9), optax.scale(-1.0))


def data(config: Config) -> Data:
    """Windows of the photos to train on, and whole photos to score; VDSR learns all enlargements at once."""
    scales = (2, 3, 4) if config.net == "vdsr" else ()
    return superres_task.data(config, kind(config), cut(config), scales)


def reported(config: Config) -> dict[str, dict[str, float]]:
    """What the papers report of this network on these photos."""
    (column,) = superres_task.metrics(config, kind(config))
    return reported_as(column, ("bicubic", *NETS[config.net][1]), config.test, config.scale)


def tiles(config: Config):
    """See superres_task.tiles: how far each network sees, in pixels of the photo."""
    enlarged = {"srcnn": (sum(config.windows) - 3) / 2, "fsrcnn": 4, "espcn": 0, "vdsr": config.depth}[config.net]
    return superres_task.tiles(config, enlarged / config.scale + {"fsrcnn": 6, "espcn": 4}.get(config.net, 0))


def photo(config: Config, image):
    """Luminance of the photo (BT.601, 16..235, rounded) over 255, float32 [h, w, 1]; for SRCNN and VDSR enlarged by
    bicubic interpolation as MATLAB has it."""
    return superres_task.photo(config, kind(config), image)


def export(config: Config, image, prediction):
    """See superres_task.export."""
    return superres_task.export(config, kind(config), image, prediction)


experiment = Experiment(
    "experiments.sr_t91",
    CONFIGS,
    recipe,
    data,
    baselines=superres_task.bicubic,
    published=reported,
    paper=lambda config: config.net if config.net in CONFIGS else "",
    about=ABOUT,
    photo=photo,
    export=export,
    tiles=tiles,
)
main = experiment.main

if __name__ == "__main__":
    main()
