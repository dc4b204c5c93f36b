"""People as pictures: skeletons on a photo, heat-maps over it, and what one joint says about another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image, ImageDraw

from pixlab.colours import colour
from pixlab.pictures import Panel, grid, strip

LIMBS = (  # a limb is drawn where both of its joints are asked for
    ("nose", "neck"), ("head_top", "neck"), ("neck", "left_shoulder"), ("neck", "right_shoulder"),
    ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"), ("right_shoulder", "right_elbow"),
    ("right_elbow", "right_wrist"), ("left_shoulder", "right_shoulder"), ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"), ("left_hip", "right_hip"), ("left_hip", "left_knee"), ("left_knee", "left_ankle"),
    ("right_hip", "right_knee"), ("right_knee", "right_ankle"), ("nose", "left_eye"), ("nose", "right_eye"),
    ("nose", "left_shoulder"), ("nose", "right_shoulder"),
)  # fmt: skip
LEFT, RIGHT, MIDDLE = (255, 99, 71), (65, 155, 255), (255, 210, 63)  # of the body's, or of the observer's


def limbs(joints: Sequence[str]) -> list[tuple[int, int]]:
    """The limbs between `joints` as pairs of their numbers; the nose hangs on the shoulders where there is no neck."""
    index = {joint: i for i, joint in enumerate(joints)}
    names = [limb for limb in LIMBS if not ("neck" in index and limb[0] == "nose" and limb[1].endswith("shoulder"))]
    return [(index[a], index[b]) for a, b in names if a in index and b in index]


def side_colour(joint: str) -> tuple[int, int, int]:
    """The colour of a joint's side."""
    return {"left": LEFT, "right": RIGHT}.get(joint.partition("_")[0], MIDDLE)


def draw(
    image: UInt8[np.ndarray, "h w 3"],
    places: Float[np.ndarray, "k 2"],
    joints: Sequence[str],
    known: Shaped[np.ndarray, " k"] | None = None,
    tone: tuple[int, int, int] | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """The image with a skeleton at (x, y) in pixels: left red, right blue, the rest yellow; known joints alone.

    With a `tone` its limbs are of that colour.
    """
    canvas = Image.fromarray(image)
    pen, width = ImageDraw.Draw(canvas), max(1, round(min(image.shape[:2]) / 120))
    shown = np.isfinite(places).all(-1) & (True if known is None else np.asarray(known) > 0)
    at = [tuple(place) for place in np.where(shown[:, None], places, 0).tolist()]
    for a, b in limbs(joints):
        if shown[a] and shown[b]:
            sides = [joints[i] for i in (a, b) if "_" in joints[i] and joints[i].split("_")[0] in ("left", "right")]
            one = len({name.split("_")[0] for name in sides}) == 1 and len(sides) == 2
            pen.line((at[a], at[b]), tone or (side_colour(sides[0]) if one else MIDDLE), width)
    for index in np.flatnonzero(shown):
        (x, y), r = at[index], 1.6 * width
        pen.ellipse((x - r, y - r, x + r, y + r), side_colour(joints[index]), (255, 255, 255) if width > 1 else None)
    return np.array(canvas)


def heat(
    image: UInt8[np.ndarray, "h w 3"],
    maps: Float[np.ndarray, "h2 w2 k"],
    joints: Sequence[str],
    box: tuple[float, ...] | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """The image in grey under the joints' heat-maps in the colours of their sides, on one scale: from 0, which shows
    nothing, to the highest cell of all maps, which is full. So a joint that is guessed at is darker than one found.

    box: the part of the maps that the image covers (left, top, right, bottom, in cells from the corner); None: all.
    """

    def enlarge(x):
        size = image.shape[1::-1]
        return np.array(Image.fromarray(np.float32(x)).resize(size, Image.Resampling.BILINEAR, box=box))

    grey = np.array(Image.fromarray(image).convert("L"), np.float32)[..., None] * 0.5
    strength = np.clip(maps / max(float(maps.max()), 1e-12), 0, 1)
    most, palette = strength.max(-1), np.array([side_colour(joint) for joint in joints])
    tint = (strength @ palette) * (most / np.maximum(strength.sum(-1), 1e-6))[..., None]
    colours = np.stack([enlarge(channel) for channel in np.moveaxis(tint, -1, 0)], -1)
    return np.clip((1 - enlarge(most)[..., None]) * grey + colours, 0, 255).round().astype(np.uint8)


def pose_strip(
    image: Float[np.ndarray, "h w 3"], truth: Mapping, prediction: Mapping, joints: Sequence[str]
) -> UInt8[np.ndarray, "_ _ 3"]:
    """Input in [0, 1], true and predicted skeleton, and the heat-maps where the prediction has "maps"."""
    photo = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    zoom = -(-240 // photo.shape[1])
    photo = photo.repeat(zoom, 0).repeat(zoom, 1)
    there, found = (zoom * (one["joints"] + 0.5) - 0.5 for one in (truth, prediction))
    panels = [
        Panel("input", photo),
        Panel("truth", draw(photo, there, joints, truth["known"])),
        Panel("prediction", draw(photo, found, joints)),
    ]
    if "maps" in prediction:
        panels.append(Panel("heat-maps", heat(photo, prediction["maps"], joints)))
    return strip(panels)


def kernels_picture(
    kernels: Float[np.ndarray, "a v h w"], outputs: Sequence[str], inputs: Sequence[str]
) -> UInt8[np.ndarray, "_ _ 3"]:
    """Where a joint is, given another: a row of kernels, each from 0 to its largest, for each of `outputs`.

    The place of a joint given itself stays empty: it is where it is.
    """
    rows, zoom = [], -(-160 // kernels.shape[-1])
    for name, row in zip(outputs, kernels, strict=True):
        panels = []
        for given, kernel in zip(inputs, row, strict=True):
            picture = _cross(colour(kernel / max(kernel.max(), 1e-30), low=0, high=1, name="magma"))
            nothing = Panel("", np.full_like(picture, 255))
            panels.append(nothing if given == name else Panel(f"{_short(name)} | {_short(given)}", picture))
        rows.append(strip(panels, zoom=zoom))
    return grid(rows)


def _cross(picture: np.ndarray) -> np.ndarray:
    """A grey dot where the given joint is: at displacement 0."""
    y, x = (n // 2 for n in picture.shape[:2])
    out = picture.copy()
    out[y - 1 : y + 2, x], out[y, x - 1 : x + 2] = 255, 255
    return out


def _short(joint: str) -> str:
    side, _, rest = joint.partition("_")
    return f"{side[0]}.{rest}" if side in ("left", "right") else joint
