"""Pure numpy transforms of ONE frame: a new dict each, image, maps, normals and intrinsics kept consistent.

A frame has "image" uint8 [H, W, 3] and any of "depth" float32 [H, W, 1] (metres, 0 = none), "label" int32 [H, W, 1]
(0 = none), "normal" float16 or float32 [H, W, 3] (camera x right, y down, z forward, zeros = none), "intrinsics"
float32 [4] = fx, fy, cx, cy in pixels, the centre of the top-left pixel at (0, 0). Images are interpolated; maps are
sampled at the nearest pixel, as a blend of two depths or labels belongs to neither surface. Other entries pass
unchanged, unless they are maps: these raise UserError, because nobody would have moved them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import Image

from pixlab.errors import UserError

Frame = dict[str, Any]
MAPS = ("depth", "label", "normal")


def frame_size(frame: Frame) -> tuple[int, int]:
    """(height, width) of the frame. Raises UserError if image and maps differ in size or a map is unknown."""
    size = frame["image"].shape[:2]
    for name, value in frame.items():
        if name == "image" or np.ndim(value) < 2:
            continue
        if name not in MAPS:
            raise UserError(f"a frame has a map {name!r} that transforms cannot move: drop it, or use one of {MAPS}")
        if value.shape[:2] != size:
            raise UserError(
                f"the image is {_text(size)} but the {name} is {_text(value.shape[:2])} (height x width): "
                "give both at the same size"
            )
    return size


def resize(frame: Frame, *, size: tuple[int, int]) -> Frame:
    """The frame at `size` (height, width): image by area where it shrinks and bilinear where it grows, maps nearest."""
    (height, width), (h, w) = frame_size(frame), size
    if (height, width) == (h, w):
        return dict(frame)
    y, x = h / height, w / width
    image = Image.fromarray(frame["image"])
    if height % h == 0 and width % w == 0:
        image = image.reduce((width // w, height // h))  # what BOX does, four times as fast and rounded once
    else:
        how = Image.Resampling.BOX if h <= height and w <= width else Image.Resampling.BILINEAR
        image = image.resize((w, h), how)
    new = frame | {"image": np.asarray(image)}
    rows = ((np.arange(h) + 0.5) / y).astype(np.intp)
    columns = ((np.arange(w) + 0.5) / x).astype(np.intp)
    new |= {name: frame[name].take(rows, 0).take(columns, 1) for name in MAPS if name in frame}
    if "intrinsics" in frame:
        fx, fy, cx, cy = (float(v) for v in frame["intrinsics"])
        new["intrinsics"] = _intrinsics(fx * x, fy * y, (cx + 0.5) * x - 0.5, (cy + 0.5) * y - 0.5)
    return new


def crop(frame: Frame, *, top: int, left: int, size: tuple[int, int]) -> Frame:
    """Rows top..top+h and columns left..left+w for `size` (h, w). Raises UserError if that leaves the frame."""
    (height, width), (h, w) = frame_size(frame), size
    if top < 0 or left < 0 or top + h > height or left + w > width:
        raise UserError(
            f"a crop of {_text(size)} at row {top}, column {left} leaves a frame of {_text((height, width))}"
        )
    new = frame | {n: frame[n][top : top + h, left : left + w] for n in ("image", *MAPS) if n in frame}
    if "intrinsics" in frame:
        new["intrinsics"] = frame["intrinsics"] - _intrinsics(0.0, 0.0, float(left), float(top))
    return new


def centre(frame: Frame, *, size: tuple[int, int]) -> Frame:
    """The middle of the frame at `size` (height, width), rounded up-left. Raises UserError if the frame is smaller."""
    height, width = _at_least(frame, size)
    return crop(frame, top=(height - size[0]) // 2, left=(width - size[1]) // 2, size=size)


def flip(frame: Frame) -> Frame:
    """The mirror image: columns reversed, x of normals negated, cx mirrored."""
    _, width = frame_size(frame)
    new = frame | {name: frame[name][:, ::-1] for name in ("image", *MAPS) if name in frame}
    if "normal" in frame:
        new["normal"] = new["normal"] * np.float32([-1, 1, 1])
    if "intrinsics" in frame:
        fx, fy, cx, cy = (float(v) for v in frame["intrinsics"])
        new["intrinsics"] = _intrinsics(fx, fy, width - 1 - cx, cy)
    return new


def colour_gain(frame: Frame, gain: tuple[float, float, float]) -> Frame:
    """The image with red, green and blue multiplied by `gain`, rounded and saturated at 255."""
    table = np.clip(np.rint(np.arange(256)[None] * np.asarray(gain, float)[:, None]), 0, 255).astype(np.uint8)
    return frame | {"image": np.asarray(Image.fromarray(frame["image"]).point(table.ravel().tolist()))}


def warp(
    frame: Frame,
    *,
    size: tuple[int, int],
    scale: float = 1.0,
    degrees: float = 0.0,
    top: float = 0.0,
    left: float = 0.0,
    mirror: bool = False,
) -> Frame:
    """Enlarge by `scale`, turn clockwise about the principal point, crop `size` at (top, left), mirror: in one pass.

    The focal length stays, so an enlarged picture shows the scene nearer: depth is divided by `scale`, which moves a
    point (X, Y, Z) to (X, Y, Z / scale) and a normal (x, y, z) to the direction (x, y, scale z). Turning the camera
    about its axis turns x and y of normals and leaves depth. What falls outside the frame is black without depth, label
    or normal. Without intrinsics the principal point is the middle and pixels are square. Scale and rotation of Eigen,
    Puhrsch & Fergus, NIPS 2014 (arXiv 1406.2283), section 3.3.
    """
    (height, width), (h, w) = frame_size(frame), size
    fx, fy, cx, cy = (float(v) for v in frame.get("intrinsics", (1, 1, (width - 1) / 2, (height - 1) / 2)))
    new_cx, new_cy = (cx + 0.5) * scale - 0.5 - left, (cy + 0.5) * scale - 0.5 - top
    sign = -1.0 if mirror else 1.0
    if mirror:
        new_cx = w - 1 - new_cx
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    # Source position (in pixels from the frame's corner, as PIL has it) = a x + b y + c of the new position.
    a, b = sign * cos / scale, sin / scale * fx / fy
    d, e = -sign * sin / scale * fy / fx, cos / scale
    c = cx + 0.5 - a * (new_cx + 0.5) - b * (new_cy + 0.5)
    f = cy + 0.5 - d * (new_cx + 0.5) - e * (new_cy + 0.5)

    image = Image.fromarray(frame["image"])
    image = image.transform((w, h), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR)
    new = frame | {"image": np.asarray(image)}
    if any(name in frame for name in MAPS):
        x, y = np.arange(w) + 0.5, np.arange(h)[:, None] + 0.5
        column = (a * x).astype(np.float32) + (b * y + c).astype(np.float32)  # exact to 1e-4 of a pixel
        row = (d * x).astype(np.float32) + (e * y + f).astype(np.float32)
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        index = np.where(inside, row.astype(np.int32) * width + column.astype(np.int32), 0)
        for name in (name for name in MAPS if name in frame):
            values = np.take(frame[name].reshape(height * width, -1), index, axis=0)
            new[name] = values.astype(np.float32) if name == "normal" else values
            new[name][~inside] = 0
    if "depth" in frame:
        new["depth"] /= np.float32(scale)
    if "normal" in frame:
        turn = np.float32([[sign * cos, sin, 0], [-sign * sin, cos, 0], [0, 0, scale]])  # rows: old x, y, z
        length = np.sqrt(1 + np.float32(scale**2 - 1) * new["normal"][..., 2:] ** 2)  # of unit normals; 1 for zeros
        new["normal"] = new["normal"] @ turn / length
    if "intrinsics" in frame:
        new["intrinsics"] = _intrinsics(fx, fy, new_cx, new_cy)
    return new


def augment(
    frame: Frame,
    rng: np.random.Generator,
    *,
    size: tuple[int, int],
    scale: tuple[float, float] = (1.0, 1.5),
    degrees: float = 5.0,
    gain: tuple[float, float] = (0.8, 1.2),
    flip: float = 0.5,
) -> Frame:
    """A random `warp` and `colour_gain`: scale in `scale`, turn within +-`degrees`, crop anywhere in what results.

    `gain` bounds the factor of each colour; `flip` is the probability of a mirror image. Each call draws the same
    number of random numbers. Raises UserError if the frame is smaller than `size` (height, width). The defaults are
    those of Eigen, Puhrsch & Fergus, NIPS 2014 (arXiv 1406.2283), section 3.3, for NYU.
    """
    height, width = _at_least(frame, size, scale[0])
    s, angle, y, x, chance, *colours = rng.random(8)
    s = scale[0] + s * (scale[1] - scale[0])
    frame = warp(
        frame,
        size=size,
        scale=s,
        degrees=(2 * angle - 1) * degrees,
        top=y * (s * height - size[0]),
        left=x * (s * width - size[1]),
        mirror=bool(chance < flip),
    )
    return colour_gain(frame, tuple(gain[0] + c * (gain[1] - gain[0]) for c in colours))


def mask_extremes(frame: Frame) -> Frame:
    """Without the depths that equal the frame's smallest or largest one, which sensors and filling leave behind.

    Eigen, Puhrsch & Fergus, NIPS 2014 (arXiv 1406.2283), section 4.1. Depth that is the same everywhere stays.
    """
    depth = frame["depth"]
    known = depth > 0
    low, high = np.where(known, depth, np.float32(np.inf)).min(), np.where(known, depth, np.float32(0)).max()
    if low >= high:  # nothing is known, or all is the same
        return dict(frame)
    return frame | {"depth": np.where((depth == low) | (depth == high), np.float32(0), depth)}


def finish(frame: Frame) -> Frame:
    """The example for a batch: image float32 in [0, 1], with "valid" beside depth and "normal_valid" beside normals.

    "valid" [H, W, 1] is 1 where depth is finite and above 0 (depth is set to 0 elsewhere); "normal_valid" [H, W, 1] is
    1 where the normal is not zero.
    """
    frame_size(frame)
    new = frame | {"image": frame["image"].astype(np.float32) / np.float32(255)}
    if "depth" in frame:
        valid = np.isfinite(frame["depth"]) & (frame["depth"] > 0)
        new["depth"] = np.where(valid, frame["depth"], 0).astype(np.float32)
        new["valid"] = valid.astype(np.float32)
    if "normal" in frame:
        new["normal"] = frame["normal"].astype(np.float32)
        x, y, z = np.split(new["normal"], 3, axis=-1)
        new["normal_valid"] = (x**2 + y**2 + z**2 > 0).astype(np.float32)
    return new


def _intrinsics(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    return np.array([fx, fy, cx, cy], np.float32)


def _at_least(frame: Frame, size: tuple[int, int], scale: float = 1.0) -> tuple[int, int]:
    height, width = frame_size(frame)
    if scale * height < size[0] or scale * width < size[1]:
        raise UserError(
            f"a frame of {_text((height, width))} is smaller than the crop of {_text(size)} (height x width): "
            "use larger images or a smaller crop"
        )
    return height, width


def _text(size: tuple[int, ...]) -> str:
    return "x".join(str(n) for n in size)
