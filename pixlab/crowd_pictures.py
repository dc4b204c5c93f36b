"""Several people as pictures: everyone's skeleton in a colour of its own, and a limb's field of directions."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image

from pixlab.colours import distinct_colours
from pixlab.pictures import Panel, strip
from pixlab.skeletons import draw, heat

HUES = np.array([colorsys.hsv_to_rgb(i / 256, 1, 1) for i in range(256)]) * 255


def everyone(
    image: UInt8[np.ndarray, "h w 3"],
    people: Float[np.ndarray, "p k 2"],
    known: Shaped[np.ndarray, "p k"],
    joints: Sequence[str],
) -> UInt8[np.ndarray, "h w 3"]:
    """The image with the known joints of everyone, (x, y) in pixels; each person's limbs have a colour of their own."""
    for places, there, tone in zip(people, known, distinct_colours(max(1, len(people))).tolist(), strict=False):
        image = draw(image, places, joints, there, tuple(tone))
    return image


def directions(
    image: UInt8[np.ndarray, "h w 3"], field: Float[np.ndarray, "h2 w2 2"], box: tuple[float, ...] | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """The image in grey under a field of unit vectors (x, y): the hue is the direction (red to the right, green down to
    the left, blue up to the left), and where there is none, grey remains. box: see skeletons.heat."""

    def enlarge(x):
        size = image.shape[1::-1]
        return np.array(Image.fromarray(np.float32(x)).resize(size, Image.Resampling.BILINEAR, box=box))

    x, y = (enlarge(field[..., axis]) for axis in (0, 1))
    hue = HUES[np.floor(np.arctan2(y, x) / (2 * np.pi) * 256).astype(int) % 256]
    cover = np.clip(np.hypot(x, y), 0, 1)[..., None]
    grey = np.array(Image.fromarray(image).convert("L"), np.float32)[..., None] * 0.5
    return np.clip((1 - cover) * grey + cover * hue, 0, 255).round().astype(np.uint8)


def crowd_strip(
    image: Float[np.ndarray, "h w 3"], truth: Mapping, prediction: Mapping, joints: Sequence[str], limb: int, name: str
) -> UInt8[np.ndarray, "_ _ 3"]:
    """Input in [0, 1], true and predicted people, the joints' heat-maps, and the field of the limb of that number."""
    photo = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    zoom = -(-240 // photo.shape[1])
    photo = photo.repeat(zoom, 0).repeat(zoom, 1)
    there, found = (zoom * (one["joints"] + 0.5) - 0.5 for one in (truth, prediction))
    panels = [
        Panel("input", photo),
        Panel("truth", everyone(photo, there, truth["known"], joints)),
        Panel("prediction", everyone(photo, found, prediction["value"], joints)),
        Panel("heat-maps", heat(photo, prediction["maps"][..., : len(joints)], joints)),
        Panel(name, directions(photo, prediction["fields"][..., 2 * limb : 2 * limb + 2])),
    ]
    return strip(panels)
