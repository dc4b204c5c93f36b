"""Checkerboards: what deconvolution leaves in images, and strided convolution in gradients.

Odena, Dumoulin & Olah, "Deconvolution and Checkerboard Artifacts", Distill 2016 (doi 10.23915/distill.00003).

    python -m experiments.upsampling_study                          minutes on a laptop: writes tables and a picture
    python -m experiments.upsampling_study --seeds 0 1 2 3 4 --steps 3000

Autoencoders learn crops of procedural rooms. First the decoder differs: deconvolutions in all layers, in the last two,
in the last, or resize-convolutions alone; its encoder takes means of 2x2 pixels. Then the encoder does, and what is
measured is the gradient of the sum of its code with respect to the image. Either is measured with random weights and
after training, by `pixlab.metrics.artefacts`, without the outer 8 pixels.

What differs from the article: it shows pictures of generative adversarial networks, of style transfer and of DeepDream
and measures nothing; ours are small autoencoders with a squared error, which has every pixel's true value to correct a
pattern by, and no discriminator that could cause one. There is no batch normalisation.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
import shlex
import sys
from collections.abc import Mapping, Sequence

import jax
import numpy as np
import tyro

from experiments.upsampling_autoencoders import SIZE, Found, Trained, Training, crops, study
from pixlab import mesh
from pixlab.data.images import encode_png
from pixlab.data.rgbd_sets import rooms
from pixlab.errors import UserError
from pixlab.metrics.artefacts import fine_variance, peak_energy, phase_variance, pure_phase_variance
from pixlab.pictures import Panel, colour, grid, strip
from pixlab.predict_command import write
from pixlab.records import public

BORDER = 8  # pixels of a crop's border that are not measured
ZOOM = 4  # of the picture
MEASURES = {
    "A_2": lambda image: 100 * phase_variance(image, 2),
    "A_4 - A_2": lambda image: 100 * pure_phase_variance(image, 4),
    "N/2": lambda image: peak_energy(image, 2),
    "N/4": lambda image: peak_energy(image, 4),
    "fine": lambda image: 100 * fine_variance(image),
}


@dataclasses.dataclass(frozen=True)
class Command(Training):
    """Train the autoencoders and write what they leave in images and gradients."""

    crops: int = 400
    """Crops to train on, each of a room of its own."""
    test: int = 40
    """Crops of other rooms to measure on."""
    out: pathlib.Path = pathlib.Path("runs/upsampling.md")
    """Markdown file for the tables; the picture is put beside it."""


def inside(images: np.ndarray) -> np.ndarray:
    """The part of [b, h, w, c] that is measured and drawn."""
    return images[:, BORDER:-BORDER, BORDER:-BORDER]


@jax.jit
def _each(images: jax.Array) -> dict[str, jax.Array]:
    return {name: jax.vmap(measure)(images) for name, measure in MEASURES.items()}


def measured(images: np.ndarray) -> dict[str, float]:
    """Each of MEASURES, median of the images."""
    return {name: float(np.median(values)) for name, values in _each(inside(images)).items()}


def noise(like: np.ndarray) -> np.ndarray:
    """Images without any pattern."""
    return np.random.default_rng(0).normal(size=like.shape).astype(np.float32)


def psnr(images: np.ndarray, truth: np.ndarray) -> float:
    """Mean of the images, in dB."""
    return float(-10 * np.log10((inside(images - truth) ** 2).mean((1, 2, 3))).mean())


def row(names: Sequence[str], seeds: Sequence[Mapping[str, float]], heads: Sequence[str]) -> str:
    """A line of Markdown: mean over seeds and, where there are several, the lowest and highest."""
    cells = list(names)
    for head in heads:
        values = [one[head] for one in seeds if head in one]
        spread = f" ({_short(min(values))} to {_short(max(values))})" if len(values) > 1 else ""
        cells.append(_short(float(np.mean(values))) + spread if values else "")
    return f"| {' | '.join(cells)} |"


def _short(value: float) -> str:
    return f"{float(f'{value:.{3 if value >= 10 else 2}g}'):,.10g}"


def tables(decoders: Found, encoders: Found, test: np.ndarray) -> list[str]:
    """Lines of Markdown."""
    heads = [*MEASURES, "PSNR"]
    lines = ["## Images", "", *_head("decoder", heads), row(["noise", ""], [measured(noise(test))], heads)]
    lines.append(row(["the crops themselves", ""], [measured(test)], heads))
    for name, seeds in decoders.items():
        before, after = ([getattr(one, when).images for one in seeds] for when in Trained._fields)
        lines.append(row([name, "random"], [measured(images) for images in before], heads))
        scored = [measured(images) | {"PSNR": psnr(images, test)} for images in after]
        lines.append(row(["", "trained"], scored, heads))
    heads = list(MEASURES)
    lines += ["", "## Gradients", "", *_head("encoder", heads)]
    for name, seeds in encoders.items():
        before, after = ([measured(getattr(one, when).gradients) for one in seeds] for when in Trained._fields)
        lines += [row([name, "random"], before, heads), row(["", "trained"], after, heads)]
    return lines


def _head(first: str, heads: Sequence[str]) -> list[str]:
    return [f"| {first} | weights | {' | '.join(heads)} |", f"| --- | --- |{' --: |' * len(heads)}"]


def picture(decoders: Found, encoders: Found, test: np.ndarray) -> np.ndarray:
    """Rows for the most varied test crop, for each decoder's image and each encoder's gradient, of the first seed."""
    at = int(test.var((1, 2, 3)).argmax())
    blank = Panel("", np.full((SIZE - 2 * BORDER, SIZE - 2 * BORDER, 3), 255, np.uint8))
    rows = [[blank, blank, *_panels(["a test crop", "detail"], test[at], test)]]
    for name, (seed, *_) in decoders.items():
        before, after = seed.before.images, seed.after.images
        rows.append(_panels([name], stretched(before[at]), before) + _panels(["trained", "detail"], after[at], after))
    for name, (seed, *_) in encoders.items():
        before, after = (stretched(seen.gradients[at]) for seen in seed)
        left = _panels([f"gradient: {name}"], before, seed.before.gradients)
        rows.append(left + _panels(["trained", "detail"], after, seed.after.gradients))
    return grid([strip(panels, zoom=ZOOM) for panels in rows])


def _panels(titles: Sequence[str], image: np.ndarray, images: np.ndarray) -> list[Panel]:
    """An image, if there is a title for it its middle, stretched, and the spectrum of all images."""
    image = inside(image[None])[0]
    third = len(image) // 3
    middle = stretched(image[third : 2 * third, third : 2 * third])
    shown = [np.round(255 * np.clip(one, 0, 1)).astype(np.uint8) for one in (image, middle)]
    return [*map(Panel, titles, shown), Panel("spectrum", spectrum(inside(images)))]


def stretched(image: np.ndarray) -> np.ndarray:
    """An image without a scale as a picture: all but its lowest and highest per cent lie between 0 and 1."""
    low, high = np.percentile(image, (1, 99))
    return np.clip((image - low) / max(high - low, 1e-12), 0, 1)


def spectrum(images: np.ndarray) -> np.ndarray:
    """Energy by frequency, 0 in the middle and N/2 at the border: steps of a fifth of a power of ten."""
    _, h, w, _ = images.shape
    window = np.hanning(h)[:, None] * np.hanning(w)
    centred = images - images.mean((1, 2), keepdims=True)
    energy = (np.abs(np.fft.fft2(centred * window[..., None], axes=(1, 2))) ** 2).mean((0, 3))
    energy = np.fft.fftshift(energy) / max(float(np.median(energy)), 1e-30)
    return colour(np.round(5 * np.log10(np.maximum(energy, 1e-3))) / 5, low=-1, high=4, name="magma")


def findings(decoders: Found, test: np.ndarray) -> list[str]:
    """Lines on what the images' table shows; of two decoders one is said to leave more where seeds do not overlap."""

    def shares(name: str, when: str, measure: str = "A_2") -> list[float]:
        return [measured(getattr(seed, when).images)[measure] for seed in decoders[name]]

    def beside(when: str) -> str:
        four, three = shares("4x4 deconvolutions", when), shares("3x3 deconvolutions", when)
        if min(four) > max(three):
            return "more of period 2 than 3x3 ones"
        return "less of period 2 than 3x3 ones" if max(four) < min(three) else "as much of period 2 as 3x3 ones"

    floor = _short(measured(noise(test))["A_2"])
    resize, last = (
        [_short(max(shares(name, when, measure))) for when in Trained._fields]
        for name, measure in (("resize-convolutions", "A_2"), ("3x3 in the last layer", "A_4 - A_2"))
    )
    return [
        f"4x4 deconvolutions, whose kernel the stride divides, leave {beside('before')} with random",
        f"weights, and {beside('after')} after training. Resize-convolutions leave an A_2 of",
        f"{resize[0]} at most with random weights and of {resize[1]} after training, where noise has {floor}.",
        f"A deconvolution in the last layer alone has no other period: its A_4 - A_2 is {last[0]} at most with random",
        f"weights and {last[1]} after training.",
    ]


def check(command: Command) -> None:
    """Raise UserError for what can be seen to go wrong before the autoencoders are trained."""
    if min(len(command.seeds), command.steps, command.batch, command.crops, command.test) < 1:
        raise UserError("--seeds, --steps, --batch, --crops and --test: give 1 or more")
    if min(command.seeds) < 0:
        raise UserError(f"--seeds {min(command.seeds)}: give 0 or more")
    if not (command.lr > 0 and math.isfinite(command.lr)):
        raise UserError(f"--lr {command.lr}: give a positive number")
    if command.out.suffix.lower() == ".png":
        raise UserError(f"{command.out}: is where the picture goes; give a file for the tables, such as page.md")
    if command.out.is_dir() or command.out.with_suffix(".png").is_dir():
        raise UserError(f"{command.out}: is a folder, or the picture beside it is; give another file with --out")


def page(command: Command, shown: str) -> str:
    """Train the autoencoders, write the picture, and return the tables and what is to say of them, in Markdown; `shown`
    is the command line."""
    images, test = crops(rooms("train"), command.crops, 0), crops(rooms("test"), command.test, 1)
    decoders, encoders = study(command, images, test)
    drawn = command.out.with_suffix(".png")
    png = encode_png(picture(decoders, encoders, test), level=9)
    write(drawn, lambda file: file.write(png), keep=False)
    text = [
        "# Checkerboards",
        "",
        f"`{shown}`: autoencoders of crops of rooms, {command.steps} steps, seeds "
        f"{', '.join(map(str, command.seeds))}. Decoders",
        "double three times, by deconvolutions or resize-convolutions; encoders halve three times.",
        "",
        "A_2 is the per cent of an image's variance that a pattern of period 2 explains, A_4 - A_2 what one of period",
        "4 explains beyond it; N/2 and N/4 are the energy at these frequencies over that of the frequencies beside",
        "them; fine is the per cent of the variance inside cells of 2x2 pixels, periodic or not (what Odena, Dumoulin",
        "& Olah, Distill 2016, put down to max pooling is, as they say, less organised); PSNR says in dB how well",
        f"crops come back. Each is the median of {command.test} test crops (PSNR: the mean), then the mean of the",
        "seeds, their lowest and highest. What noise has, or the crops themselves, is no artefact.",
        "",
        *tables(decoders, encoders, test),
        "",
        *findings(decoders, test),
        "",
        "The most varied test crop, then what each decoder makes of it and each encoder's gradient: with random",
        "weights, trained, and of the trained one the middle. Spectra are those of all test crops: frequency 0 in the",
        "middle, N/2 at the border, bright where there is much energy. Gradients, the middle and what random weights",
        "give are stretched to the whole range of colours. Seed: the first.",
        "",
        f"![Images, gradients and their spectra]({drawn.name})",
    ]
    return "\n".join(text) + "\n"


def main(args: Sequence[str] | None = None) -> None:
    """The command line; mistakes end in one line and exit status 2."""
    words = sys.argv[1:] if args is None else list(args)
    shown = shlex.join(["python", "-m", "experiments.upsampling_study", *map(public, words)])
    command = tyro.cli(Command, args=words, prog="python -m experiments.upsampling_study")
    mesh.setup()
    try:
        check(command)
        write(
            command.out, lambda file: file.write(page(command, shown).encode()), keep=False
        )  # is open before the training
        print(command.out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
