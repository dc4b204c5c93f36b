"""Human pose by stacked hourglasses.

Newell, Yang & Deng, "Stacked Hourglass Networks for Human Pose Estimation", ECCV 2016 (arXiv 1603.06937).

    python -m experiments.pose_hourglass            minutes on a laptop, on procedural people
    python -m experiments.pose_hourglass stacks8    the paper's network, on FLIC (python -m pixlab data list)
    python -m experiments.pose_hourglass lsp --source pose_folder:PATH    on a folder of people with the joints of LSP

The network sees a square around the person and gives heat-maps, once per stack; each stack's are judged by themselves.
The last stack's are averaged with those of the mirror image, and a joint is where its map is highest, moved by a
quarter of a cell towards the higher neighbour. Then comes half a cell, since the release counts from a cell's corner:
`pixlab.nn.peaks.pixels` has it already, as it puts a cell's centre at the centre of its pixels.

What differs from the release: MPII, its main data set, is not built in; how its square fits FLIC's people is not known
here, so ours is 3 torso heights. Gaussians are not cut off after 3 cells and their middle is not rounded to a cell.
Turning and enlargement are uniform in both directions (its: normal, and 6 in 10 pictures are not turned). Its rate
drops when scores no longer rise, ours after given steps. Batch statistics collect the variance without Bessel's
correction.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import jax
import jax.numpy as jnp
import optax

from pixlab import pose_task
from pixlab.core import Aux, Objective, Recipe, Stage
from pixlab.data.people import LSP
from pixlab.data.pipeline import Data
from pixlab.data.pose import counterparts
from pixlab.errors import UserError
from pixlab.losses.heatmap import gaussian_maps, heatmap_loss
from pixlab.models.hourglass import CELL, ORDER, StackedHourglass
from pixlab.net import Net, init_all
from pixlab.nn.mirror import mirror_averaged
from pixlab.nn.peaks import cells, peaks, pixels
from pixlab.pose_task import PoseOptions
from pixlab.run import Experiment


@dataclasses.dataclass(frozen=True)
class Config(PoseOptions):
    """Pose by stacked hourglasses (Newell et al. 2016)."""

    size: tuple[int, int] = (256, 256)
    """Rows and columns of the network's input: multiples of 64."""
    around: float = 3.0
    """Side of the square around the person in torso heights; 0: the whole picture."""
    sides: Literal["observer", "person"] = "person"
    """Whose left and right: the person's own, or as if everybody faced the viewer."""
    zoom: tuple[float, float] = (0.707, 1.414)
    """Smallest and largest enlargement in augmentation; the release cuts off at two standard deviations, 2^(-+1/2)."""
    turn: float = 30.0
    """Degrees that augmentation turns either way at most; the release: a normal distribution of this deviation."""
    gain: float = 0.4
    """How much each colour is made stronger or weaker at most in training."""
    batch: int = 6
    """Images per step."""
    stacks: int = 8
    """Hourglasses, one after the other."""
    width: int = 256
    """Feature maps."""
    sigma: float = 1.75
    """Standard deviation in cells of the Gaussians that heat-maps should be: what the release's code comes to; its
    option says 1."""
    unlabelled: Literal["empty", "skip"] = "empty"
    """A joint that nobody labelled: its map should be empty, as in the release, or is left out of the loss."""
    steps: int = 800_000
    """Steps of training; the release's most."""
    lr: float = 2.5e-4
    """RMSprop's rate."""
    drop: int = 600_000
    """Steps after which the rate is a fifth; 0: never."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.at_least(1, "stacks", "steps")
        self.at_least(4, "width")
        self.at_least(0, "lr", "drop", "gain")
        self.at_least(0.1, "sigma")
        unit = CELL * 2**ORDER
        if any(n % unit for n in self.size):
            raise UserError(f"--size {self.size[0]} {self.size[1]}: give multiples of {unit}")
        if self.gain > 1:
            raise UserError(f"--gain {self.gain}: give at most 1")


PAPER = Config()
CONFIGS = {
    "quick": Config(
        source="figures", size=(128, 128), batch=8, stacks=2, width=48, sigma=1.0, zoom=(0.85, 1.18), turn=15.0,
        lr=1e-3, steps=1000, drop=750, save_every=200,
    ),
    "stacks8": PAPER,
    "stacks1": dataclasses.replace(PAPER, stacks=1),
    "lsp": dataclasses.replace(PAPER, source="pose_folder:lsp", joints=LSP, around=4.5),
}  # fmt: skip
ABOUT = {
    "quick": "Minutes on a laptop: two narrow hourglasses on small pictures of procedural people.",
    "stacks8": "The paper's eight hourglasses.",
    "stacks1": "One hourglass.",
    "lsp": "Eight hourglasses for the 14 joints of LSP, from a folder: --source pose_folder:PATH.",
}


def recipe(config: Config) -> Recipe:
    """The stage, the loss, the scores."""
    module = StackedHourglass(len(config.joints), config.stacks, config.width)
    net = Net("hourglass", module, ((1, *config.size, 3),), jnp.dtype(config.dtype))
    exchange = tuple(counterparts(config.joints).tolist())

    def loss(params, carry, batch, key):
        colour, key = jax.random.split(key)
        image, known = coloured(batch["image"], colour, config.gain), batch["known"]
        stages, moved = net(params, carry, image, train=True, key=key)
        target = gaussian_maps(cells(batch["joints"], CELL), known, stages.shape[2:4], config.sigma)
        counted = jnp.ones_like(known) if config.unlabelled == "empty" else known
        each = jax.vmap(heatmap_loss, (1, None, None))(stages, target, counted)
        return each.sum(), Aux(moved, {"heat/last": each[-1]})

    def predict(params, carry, batch):
        last = lambda image: net(params, carry, image)[0][:, -1]  # noqa: E731
        maps = mirror_averaged(last, batch["image"], exchange)
        places, value = peaks(maps, "quarter")
        return {"joints": pixels(places, CELL), "value": value, "maps": maps}

    rate = optax.piecewise_constant_schedule(config.lr, {config.drop: 0.2} if config.drop else {})
    objective = Objective(("hourglass",), loss, optax.rmsprop(rate, decay=0.99, eps=1e-8, eps_in_sqrt=False))
    render = functools.partial(pose_task.render, config)
    stage = Stage(config.steps, {"heat": objective})
    return Recipe(init_all(net), (stage,), predict, pose_task.metrics(config), render)


def coloured(image: jax.Array, key: jax.Array, gain: float) -> jax.Array:
    """Each image's red, green and blue times numbers of their own between 1 - gain and 1 + gain, at most 1."""
    factors = jax.random.uniform(key, (image.shape[0], 1, 1, 3), image.dtype, 1 - gain, 1 + gain)
    return jnp.clip(image * factors, 0, 1)


def data(config: Config) -> Data:
    """People."""
    return pose_task.data(config)


experiment = Experiment(
    "experiments.pose_hourglass",
    CONFIGS,
    recipe,
    data,
    baselines=pose_task.answers,
    paper="stacks8",
    about=ABOUT,
    photo=pose_task.photo,
    export=pose_task.export,
)
main = experiment.main

if __name__ == "__main__":
    main()
