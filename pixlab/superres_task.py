"""What experiments on super-resolution share: options, scores, what is drawn and what is written of a photo."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal

import jax
import numpy as np
from jaxtyping import UInt8

from pixlab.core import Batch, Metric, Nets
from pixlab.data.degrade import Kind
from pixlab.data.photos import overlap
from pixlab.data.pipeline import Data, Example
from pixlab.data.superres import Crop, photo_example, superres_data
from pixlab.data.windows import Cut
from pixlab.evaluate import Predict
from pixlab.metrics.fidelity import div2k_protocol, edsr_protocol, srcnn_protocol
from pixlab.nn.colour import rgb_to_ycbcr, ycbcr_to_rgb
from pixlab.nn.imresize import imresize
from pixlab.options import Options
from pixlab.pictures import Panel, strip
from pixlab.tiles import Tiles

DETAIL = 64  # rows and columns of high resolution that pictures show


@dataclasses.dataclass(frozen=True)
class SuperresOptions(Options):
    """Options of the data, whatever the network."""

    source: str = "t91"
    """Photos to train on: t91, general100, div2k, imagenet2012, photos:PATH ...; + joins several."""
    test: str = "set5"
    """Photos to score: set5, set14, bsd100, urban100, div2k, photos:PATH ...; they are made small first."""
    scale: int = 3
    """How many times as many rows and columns a photo gets."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What the networks compute in; parameters, losses and scores are float32."""

    def check(self) -> None:
        """See Options.check."""
        super().check()
        self.one_of("scale", (2, 3, 4, 8))

    def on(self, source: str) -> SuperresOptions:
        """The options with other photos to score; of a folder that is trained on, those that are not."""
        return dataclasses.replace(self, source=self.source if overlap(self.source, source) else "", test=source)

    @property
    def tested(self) -> str:
        """See Options.tested."""
        return self.test or self.source


def data(config: SuperresOptions, kind: Kind, train: Cut | Crop, scales: tuple[int, ...] = ()) -> Data:
    """Windows or crops of `config.source`, and the whole photos of `config.test`."""
    loading = dict(batch=config.batch, workers=config.workers)
    return superres_data(
        config.source, config.test, scale=config.scale, kind=kind, train=train, scales=scales, **loading
    )


def metrics(config: SuperresOptions, kind: Kind) -> Mapping[str, Metric]:
    """PSNR and SSIM as the papers on this kind of network measure them; on DIV2K of RGB."""
    if kind != "colour":
        return {f"luminance_x{config.scale}": srcnn_protocol(config.scale)}
    if (config.test or config.source) == "div2k":
        return {f"rgb_x{config.scale}": div2k_protocol(config.scale)}
    return {f"rgb_luminance_x{config.scale}": edsr_protocol(config.scale)}


def bicubic(config: SuperresOptions, data: Data) -> Mapping[str, Predict]:
    """What needs no network."""

    def predict(params: Nets, carry: Nets, batch: Batch) -> Batch:
        return {"high": batch["bicubic"]}

    return {"bicubic": predict}


def render(example: Example, prediction: Batch) -> dict[str, UInt8[np.ndarray, "_ _ 3"]]:
    """The part of a test photo with the strongest edges, by bicubic interpolation, by the network, and as it was."""
    three = {"bicubic": example["bicubic"], "this run": prediction["high"], "truth": example["high"]}
    top, left = busiest(example["high"])
    parts = {name: x[top : top + DETAIL, left : left + DETAIL] for name, x in three.items()}
    rgb = {name: x.repeat(3, -1) if x.shape[-1] == 1 else x for name, x in parts.items()}
    return {"detail": strip([Panel(name, eight_bits(x)) for name, x in rgb.items()])}


def eight_bits(image: np.ndarray) -> np.ndarray:
    """[0, 1] -> uint8, rounded and clipped."""
    return np.uint8(255 * np.clip(image, 0, 1) + 0.5)


def busiest(image: np.ndarray) -> tuple[int, int]:
    """Top left corner of the square of DETAIL pixels of [h, w, c] in which neighbours differ most."""
    grey = np.asarray(image, np.float64).mean(-1)
    edges = np.zeros(grey.shape)
    edges[1:] += np.abs(np.diff(grey, axis=0))
    edges[:, 1:] += np.abs(np.diff(grey, axis=1))
    sums = np.pad(edges, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    h, w = (min(DETAIL, n) for n in grey.shape)
    inside = sums[h:, w:] - sums[:-h, w:] - sums[h:, :-w] + sums[:-h, :-w]
    return tuple(int(n) for n in np.unravel_index(inside.argmax(), inside.shape))


def tiles(config: SuperresOptions, radius: float, width: int = 64) -> Tiles:
    """Windows of large photos for a network whose answer depends on `radius` pixels of the photo on each side.

    So large that the network's largest maps, `width` of them at high resolution, take 100 MB in all windows that are
    seen at once, one for each device of a CPU; but four halos at least.
    """
    at_once = jax.local_device_count() if jax.default_backend() == "cpu" else 1
    halo = math.ceil(radius) + 3  # the bicubic interpolation before or beside it sees two, its phase may take one
    side = math.isqrt(25_000_000 // (at_once * width * config.scale**2))
    return Tiles(max(side, 4 * halo), halo, config.scale)


def photo(config: SuperresOptions, kind: Kind, image: UInt8[np.ndarray, "h w 3"]) -> Example:
    """What the network sees of anyone's photo, which is to be made larger."""
    return photo_example(image, scale=config.scale, kind=kind)


def export(
    config: SuperresOptions, kind: Kind, image: UInt8[np.ndarray, "h w 3"], prediction: Batch
) -> dict[str, UInt8[np.ndarray, "_ _ 3"]]:
    """What `python -m pixlab predict` writes: the photo, `scale` times as large; of networks for luminance with the
    colours that bicubic interpolation gives."""
    high = np.asarray(prediction["high"])
    if kind != "colour":
        ycbcr = imresize(rgb_to_ycbcr(np.float32(image) / 255), float(config.scale)).astype(np.float32)
        ycbcr[..., :1] = high
        high = ycbcr_to_rgb(ycbcr)
    return {f"x{config.scale}": eight_bits(high)}


def colour_photo(config: SuperresOptions, image: UInt8[np.ndarray, "h w 3"]) -> Example:
    """The photo's RGB over 255, float32 [h, w, 3]."""
    return photo(config, "colour", image)


def colour_export(
    config: SuperresOptions, image: UInt8[np.ndarray, "h w 3"], prediction: Batch
) -> dict[str, UInt8[np.ndarray, "_ _ 3"]]:
    """See `export`."""
    return export(config, "colour", image, prediction)
