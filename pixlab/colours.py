"""Maps as colours: measurements, surface normals and labels become uint8 RGB. Pure numpy.

Pixels without a measurement are grey (`GREY`), a colour that none of the colour maps comes near.
"""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import Float, Integer, Num, Shaped, UInt8

from .errors import UserError

GREY = 128

# 33 equally spaced colours of each map; linear in between, at most 2 of 255 levels from the full table. Viridis and
# magma (Smith & van der Walt 2015, CC0) rise evenly in lightness; turbo (Mikhailov 2019) shows more small steps.
_ANCHORS = {
    "viridis": (
        "440154470d6048186a482374472d7b4536814240863f49893b528b375a8d33638d2f6a8e2c728e297a8e26818e23898e21908c"
        "1f988b1f9f8821a68528ae8031b57b3ebc744cc26c5dc9636ece5882d34c96d83fabdc32c0df24d5e21aeae51afde725"
    ),
    "magma": (
        "0000040303110a0822130d331d114628115a36106a430f7650127c5d177f691c817621818226818f2a819c2e7fa9327db63779"
        "c33b75cf4170db486ae65163ee5c5ef5695cf9785dfb8761fd9668fea571feb47bfec387fed194fde0a2fceeb0fcfdbf"
    ),
    "turbo": (
        "30123b392a734040a14456c7466be3467ff64293ff37a7fa29bbec1dcdd818dcc31ee8b031f2994cf97e6bfd648aff4da3fd3c"
        "b8f735cced34dee037edd03af8c03afdae35fe982cfb8022f56817ec520fe04009d23105c02302ac1701950d017a0403"
    ),
}


@functools.cache
def _anchors(name: str) -> np.ndarray:
    if name not in _ANCHORS:
        raise UserError(f"there is no colour map {name!r}; choose one of {', '.join(sorted(_ANCHORS))}")
    return np.frombuffer(bytes.fromhex(_ANCHORS[name]), np.uint8).reshape(-1, 3).astype(np.float32)


def colour(
    values: Num[np.ndarray, "h w"],
    *,
    low: float,
    high: float,
    name: str = "turbo",
    valid: Shaped[np.ndarray, "h w"] | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Colours of a map of measurements: `low` and what lies below gets the first colour, `high` the last.

    Pixels that are not finite, or zero in `valid`, are grey. Raises UserError for a name other than turbo, viridis
    and magma.
    """
    anchors, values = _anchors(name), np.asarray(values, np.float32)
    good = np.isfinite(values) if valid is None else np.isfinite(values) & (np.asarray(valid) > 0)
    span = max(float(high) - float(low), 1e-12)
    place = np.clip((np.where(good, values, low) - low) / span, 0, 1) * (len(anchors) - 1)
    left = np.minimum(place.astype(np.int32), len(anchors) - 2)
    right = (place - left)[..., None]
    rgb = anchors[left] * (1 - right) + anchors[left + 1] * right
    return np.where(good[..., None], np.round(rgb), GREY).astype(np.uint8)


def normals_to_rgb(
    normal: Float[np.ndarray, "h w 3"], *, valid: Shaped[np.ndarray, "h w"] | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Colours of surface normals (camera coordinates: x right, y down, z forward; unit length, zero = invalid).

    Red grows to the right, green upwards, blue towards the camera, so that a wall faced head-on is (128, 128, 255).
    Invalid pixels are grey.
    """
    normal = np.asarray(normal, np.float32)
    good = np.isfinite(normal).all(-1) & (np.abs(normal).sum(-1) > 0)
    if valid is not None:
        good &= np.asarray(valid) > 0
    rgb = np.clip((np.where(good[..., None], normal, 0) * np.float32([1, -1, -1]) + 1) * 127.5, 0, 255)
    return np.where(good[..., None], np.round(rgb), GREY).astype(np.uint8)


def labels_to_rgb(
    label: Integer[np.ndarray, "h w"], palette: UInt8[np.ndarray, "n 3"], *, ignore: int | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Colours of class numbers; `ignore` and numbers outside the palette are grey."""
    good = (label >= 0) & (label < len(palette))
    if ignore is not None:
        good &= label != ignore
    return np.where(good[..., None], palette[np.where(good, label, 0)], np.uint8(GREY))


def _lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65, 2 degrees) of sRGB in 0..255: distances in it are roughly distances to the eye."""
    v = rgb / 255.0
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    t = linear @ (to_xyz / to_xyz.sum(1, keepdims=True)).T
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], -1)


@functools.cache
def _ordered(count: int) -> np.ndarray:
    levels = np.linspace(0, 255, 18)
    rgb = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3).round()
    lab = _lab(rgb)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    mild = (lab[:, 0] > 30) & (lab[:, 0] < 90) & (chroma > 20) & (chroma < 80)  # no neon, nothing near grey
    rgb, lab = rgb[mild], lab[mild]
    near = np.full(len(rgb), np.inf)
    for taken in _lab(np.array([[0.0] * 3, [GREY] * 3, [255.0] * 3])):
        near = np.minimum(near, ((lab - taken) ** 2).sum(-1))
    chosen = []
    for _ in range(count):
        chosen.append(int(near.argmax()))
        near = np.minimum(near, ((lab - lab[chosen[-1]]) ** 2).sum(-1))
    return rgb[chosen].astype(np.uint8)


def distinct_colours(count: int) -> UInt8[np.ndarray, "n 3"]:
    """A palette of `count` colours, each as far as can be from black, white, grey and all before it in CIE L*a*b*.

    A longer palette begins with the shorter one, so a class keeps its colour when classes are added. Raises
    UserError for more than 500 colours.
    """
    if not 0 < count <= 500:
        raise UserError(f"a palette has 1 to 500 colours, not {count}")
    return _ordered(count).copy()
