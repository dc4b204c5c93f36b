"""Pictures to judge a prediction by: input, truth, prediction and error side by side. Pure numpy, text by Pillow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer, Shaped, UInt8

from .colours import GREY, colour, distinct_colours, labels_to_rgb, normals_to_rgb

_WIDTH = 240  # panels narrower than this are enlarged by a whole factor, so that text beside them is legible
_PAPER, _INK = 255, 24
_RIGHT, _WRONG = (38, 44, 58), (255, 92, 57)  # colours of the error map of labels


class Scale(NamedTuple):
    """What the colours of a panel mean."""

    low: float
    high: float
    unit: str
    name: str = "turbo"


class Panel(NamedTuple):
    """One picture of a strip. Neighbours with equal scales share one colour bar."""

    title: str
    image: UInt8[np.ndarray, "h w 3"]
    scale: Scale | None = None


def _resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Nearest neighbour: shows the pixels that are there."""
    rows = ((np.arange(height) + 0.5) * image.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * image.shape[1] / width).astype(int)
    return image[rows[:, None], columns[None]]


def _rgb(image: np.ndarray) -> np.ndarray:
    if image.dtype == np.uint8:
        return image
    return np.round(np.clip(np.nan_to_num(np.asarray(image, np.float32)), 0, 1) * 255).astype(np.uint8)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values between `low` and `high`: about `count`, spaced by 1, 2 or 5 times a power of ten."""
    rough = (high - low) / count
    if not (math.isfinite(rough) and rough > 0):
        return [low]
    ten = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * ten for factor in (1, 2, 5, 10) if factor * ten >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return [round(i * step, 12) for i in range(first, last + 1)]


def strip(
    panels: Sequence[Panel | tuple],
    *,
    legend: Sequence[tuple[str, Sequence[int]]] = (),
    zoom: int | None = None,
    text: int | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """One row of panels with their titles above, colour bars below, and a legend of (name, RGB) under all.

    Panels get the height of the tallest (nearest neighbour) and are enlarged by the whole number `zoom`; without it,
    by what makes the narrowest at least 240 pixels wide. Letters are `text` pixels high, or as suits four panels. The
    paper is as wide as the panels and as the longest name of the legend need.
    """
    from PIL import Image, ImageDraw, ImageFont

    panels = [Panel(*panel) for panel in panels]
    height = max(panel.image.shape[0] for panel in panels)
    images = [
        p.image if (h := p.image.shape[0]) == height else _resize(p.image, height, round(p.image.shape[1] * height / h))
        for p in panels
    ]
    zoom = zoom or math.ceil(_WIDTH / min(image.shape[1] for image in images))
    images = [image.repeat(zoom, 0).repeat(zoom, 1) for image in images]
    size = text or max(15, min(image.shape[1] for image in images) // 18)
    font, gap, head = ImageFont.load_default(size), size // 2, round(size * 1.9)
    left = np.cumsum([gap] + [image.shape[1] + gap for image in images]).tolist()
    bottom = head + images[0].shape[0]
    foot = round(size * 2.5) if any(panel.scale for panel in panels) else gap
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    wides = [round(pen.textlength(name, font)) + 3 * size for name, _ in legend]
    across = max([left[-1], *(gap + wide for wide in wides)])
    entries, x, y = [], gap, bottom + foot + gap
    for (name, rgb), wide in zip(legend, wides, strict=True):
        if x > gap and x + wide > across:
            x, y = gap, y + round(size * 1.6)
        entries.append((x, y, name, tuple(int(c) for c in rgb)))
        x += wide
    canvas = np.full((y + round(size * 1.6) if entries else bottom + foot, across, 3), _PAPER, np.uint8)
    for x, image in zip(left, images, strict=False):
        canvas[head:bottom, x : x + image.shape[1]] = image
    page = Image.fromarray(canvas)
    pen = ImageDraw.Draw(page)
    for x, panel, image in zip(left, panels, images, strict=False):
        title = panel.title
        while title and pen.textlength(title, font) > image.shape[1]:
            title = title[:-1]
        pen.text((x, head - size // 2), title, (_INK,) * 3, font, anchor="ls")
    first = 0
    for index, panel in enumerate(panels):
        if index + 1 < len(panels) and panels[index + 1].scale == panel.scale:
            continue
        if panel.scale:
            _bar(page, pen, font, size, left[first], left[index + 1] - gap, bottom + size // 3, panel.scale)
        first = index + 1
    for x, y, name, rgb in entries:
        pen.rectangle((x, y, x + size, y + size), rgb, (_INK,) * 3)
        pen.text((x + round(size * 1.4), y + size // 2), name, (_INK,) * 3, font, anchor="lm")
    return np.array(page)


def _bar(page, pen, font, size, left, right, top, scale) -> None:
    """Draws a colour bar from `left` to `right` with round values below it; the last one carries the unit."""
    from PIL import Image

    ramp = np.linspace(scale.low, scale.high, right - left, dtype=np.float32)[None]
    bar = colour(ramp, low=scale.low, high=scale.high, name=scale.name).repeat(max(6, size // 2), 0)
    page.paste(Image.fromarray(bar), (left, top))
    under = top + bar.shape[0]
    values, free = ticks(scale.low, scale.high), right + size
    for value in reversed(values):
        text = f"{value:g}"
        if value == values[-1]:
            text += scale.unit if scale.unit in ("°", "%") else f" {scale.unit}"
        x = left + (value - scale.low) / max(scale.high - scale.low, 1e-12) * (right - left - 1)
        half = pen.textlength(text, font) / 2
        middle = min(max(x, left + half), right - half)
        if middle + half + size / 2 > free:
            continue  # would run into the one to its right
        pen.line((x, under, x, under + size // 4), (_INK,) * 3, max(1, size // 12))
        pen.text((middle, under + size // 4 + 1), text, (_INK,) * 3, font, anchor="ma")
        free = middle - half


def grid(strips: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> UInt8[np.ndarray, "h w 3"]:
    """Strips below one another, on paper as wide as the widest."""
    width = max(one.shape[1] for one in strips)
    pad = [np.pad(one, ((0, 0), (0, width - one.shape[1]), (0, 0)), constant_values=_PAPER) for one in strips]
    return np.concatenate(pad)


def strips(
    image: np.ndarray, truth: Mapping[str, np.ndarray], prediction: Mapping[str, np.ndarray]
) -> dict[str, UInt8[np.ndarray, "_ _ 3"]]:
    """Depth and normals, those that are predicted: `depth_strip` and `normals_strip`."""
    out = {}
    if "depth" in prediction:
        out["depth"] = depth_strip(image, truth["depth"], truth["valid"], prediction["depth"])
    if "normal" in prediction:
        out["normal"] = normals_strip(image, truth["normal"], truth["normal_valid"], prediction["normal"])
    return out


def depth_strip(
    image: Shaped[np.ndarray, "h1 w1 3"],
    truth: Float[np.ndarray, "h w 1"],
    valid: Shaped[np.ndarray, "h w 1"],
    prediction: Float[np.ndarray, "h2 w2 1"],
    *,
    low: float | None = None,
    high: float | None = None,
    error_high: float | None = None,
) -> UInt8[np.ndarray, "height width 3"]:
    """Input (uint8, or float in [0, 1]), depth and predicted depth in metres on one scale, and absolute error.

    The scale defaults to the 1st to 99th percentile of the measured depth, the error's to half of that range:
    both depend on the truth alone, so pictures of the same image at different steps compare. A prediction of another
    size is brought to the truth's (nearest neighbour) for the error.
    """
    truth, mask = np.asarray(truth[..., 0], np.float32), valid[..., 0] > 0
    guess = np.asarray(prediction[..., 0], np.float32)
    known = truth[mask] if mask.any() else guess[np.isfinite(guess)]
    known = known if known.size else np.array([0.0, 1.0])
    low = float(np.percentile(known, 1)) if low is None else low
    high = max(float(np.percentile(known, 99)), low + 1e-3) if high is None else high
    error_high = (high - low) / 2 if error_high is None else error_high
    error = np.abs(_resize(guess, *truth.shape) - truth)
    mean = f", mean {error[mask].mean():.3g} m" if mask.any() else ""
    metres, wrong = Scale(low, high, "m", "turbo"), Scale(0.0, error_high, "m", "magma")
    return strip(
        [
            Panel("input", _rgb(image)),
            Panel("truth", colour(truth, low=low, high=high, valid=mask), metres),
            Panel("prediction", colour(guess, low=low, high=high), metres),
            Panel("error" + mean, colour(error, low=0.0, high=error_high, name="magma", valid=mask), wrong),
        ]
    )


def normals_strip(
    image: Shaped[np.ndarray, "h1 w1 3"],
    truth: Float[np.ndarray, "h w 3"],
    valid: Shaped[np.ndarray, "h w 1"],
    prediction: Float[np.ndarray, "h2 w2 3"],
    *,
    error_high: float = 60.0,
) -> UInt8[np.ndarray, "height width 3"]:
    """Input, true and predicted normals (camera coordinates; the prediction of any length), angle between, degrees."""
    truth, guess, mask = np.asarray(truth, np.float32), np.asarray(prediction, np.float32), valid[..., 0] > 0
    guess = guess / np.maximum(np.linalg.norm(guess, axis=-1, keepdims=True), 1e-12)
    near = _resize(guess, *truth.shape[:2])
    sine, cosine = np.linalg.norm(np.cross(near, truth), axis=-1), (near * truth).sum(-1)
    angle = np.degrees(np.arctan2(sine, cosine))
    mean = f", mean {angle[mask].mean():.3g}°" if mask.any() else ""
    return strip(
        [
            Panel("input", _rgb(image)),
            Panel("truth", normals_to_rgb(truth, valid=mask)),
            Panel("prediction", normals_to_rgb(guess)),
            Panel(
                "error" + mean,
                colour(angle, low=0.0, high=error_high, name="magma", valid=mask),
                Scale(0.0, error_high, "°", "magma"),
            ),
        ]
    )


def label_strip(
    image: Shaped[np.ndarray, "h1 w1 3"],
    truth: Integer[np.ndarray, "h w 1"],
    prediction: Integer[np.ndarray, "h2 w2 1"],
    names: Sequence[str],
    *,
    ignore: int | None = 0,
    palette: UInt8[np.ndarray, "n 3"] | None = None,
) -> UInt8[np.ndarray, "height width 3"]:
    """Input, true and predicted classes, wrong pixels, and a legend of the classes that appear.

    `names[i]` is class i. Truth equal to `ignore` is not counted, like class numbers without a name: "not scored" in
    the legend. Such pixels are grey, or black where grey is the colour of a class, as of CamVid's sky.
    """
    palette = distinct_colours(len(names)) if palette is None else palette
    label, guess = truth[..., 0], prediction[..., 0]
    mask = (label >= 0) & (label < len(names)) & (label != (-1 if ignore is None else ignore))
    wrong = _resize(guess, *label.shape) != label
    error = np.where(wrong[..., None], np.uint8(_WRONG), np.uint8(_RIGHT))
    error = np.where(mask[..., None], error, np.uint8(GREY))
    share = f" {100 * wrong[mask].mean():.3g} %" if mask.any() else ""
    present = [i for i in range(len(names)) if i != ignore and (np.any(label == i) or np.any(guess == i))]
    legend = [(names[i], palette[i].tolist()) for i in present]
    bare = 0 if (palette == GREY).all(-1).any() else GREY
    if not mask.all():
        legend.append(("not scored", [bare] * 3))
    return strip(
        [
            Panel("input", _rgb(image)),
            Panel("truth", np.where(mask[..., None], labels_to_rgb(label, palette), np.uint8(bare))),
            Panel("prediction", labels_to_rgb(guess, palette, ignore=ignore)),
            Panel("wrong" + share, error),
        ],
        legend=legend,
    )


def label_overlay(
    image: UInt8[np.ndarray, "h w 3"],
    label: Integer[np.ndarray, "h w 1"],
    names: Sequence[str],
    *,
    ignore: int | None = 0,
    palette: UInt8[np.ndarray, "n 3"] | None = None,
) -> UInt8[np.ndarray, "height width 3"]:
    """A photo without its own colours, its classes painted over it, and below a legend of those that occur.

    `names[i]` is class i; `ignore` and numbers without a name stay bare. Small photos are enlarged (nearest pixel), and
    letters grow with the photo.
    """
    palette = distinct_colours(len(names)) if palette is None else palette
    number = label[..., 0]
    present = [int(i) for i in np.unique(number) if 0 <= i < len(names) and i != ignore]
    grey = image @ np.float32([0.299, 0.587, 0.114])
    paint = labels_to_rgb(number, palette, ignore=ignore)
    shown = np.isin(number, present)[..., None]
    mixed = np.where(shown, 0.45 * grey[..., None] + 0.55 * paint, grey[..., None])
    height, width = number.shape
    zoom = max(1, min(-(-2 * _WIDTH // width), 4 * _WIDTH // max(height, width)))
    text = max(15, round(math.sqrt(height * width) * zoom / 40))
    legend = [(names[i], palette[i].tolist()) for i in present]
    return strip(
        [Panel("labels over the photo", np.round(mixed).astype(np.uint8))], legend=legend, zoom=zoom, text=text
    )
