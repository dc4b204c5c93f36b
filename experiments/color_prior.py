"""Counts how often colours occur in photos, for experiments.color_imagenet.

python -m experiments.color_prior --source photos:PATH --out prior.npy
python -m experiments.color_imagenet full --source photos:PATH --prior prior.npy
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Sequence

import numpy as np
import tyro

from pixlab.data.colour import colour_counts, doubt
from pixlab.data.photos import open_photos
from pixlab.errors import UserError
from pixlab.nn.ab_bins import AB_BINS, BINS, GREY_BIN, smoothed
from pixlab.predict_command import write


@dataclasses.dataclass(frozen=True)
class Command:
    """Count the colours of the training photos in 313 bins, and smooth the counts by a Gaussian."""

    source: str = "imagenet2012"
    """Photos, as experiments.color_imagenet takes them."""
    out: pathlib.Path = pathlib.Path("prior.npy")
    """NumPy file to write: 313 probabilities."""
    photos: int = 0
    """Photos to count at most, evenly spread; 0: all."""
    side: int = 256
    """Rows and columns that photos are squeezed to."""
    sigma: float = 5.0
    """Deviation of the Gaussian in units of a and b."""


def count(command: Command) -> str:
    """Write the file; returns what to say of it. Raises UserError for numbers that do not fit, photos that are all
    grey, and a file that cannot be written."""
    if command.photos < 0 or command.side < 8 or not command.sigma > 0:
        raise UserError("give --photos 0 or more, --side 8 or more and a positive --sigma")
    if command.out.is_dir():
        raise UserError(f"{command.out}: is a folder; give a file with --out")
    photos, said = open_photos(command.source, "train"), ""

    def put(file) -> None:  # the file is open by then: whether it can be is known before the hours of counting
        nonlocal said
        counts = colour_counts(photos, side=command.side, most=command.photos, progress=True)
        prior = smoothed(counts, command.sigma)
        said = summary(prior, int(np.count_nonzero(counts)))
        np.save(file, prior)

    write(command.out, put, keep=False)
    return f"{command.out}: {said}"


def summary(prior: np.ndarray, occur: int) -> str:
    """What to say of a prior, of whose bins so many occur."""
    (a, b), near = AB_BINS[prior.argmax()], np.abs(AB_BINS - AB_BINS[GREY_BIN]).max(axis=1) <= 10
    text = f"most frequent is a {a:g}, b {b:g}; {100 * prior[near].sum():.1f} % in the 9 greyest bins"
    text += f"; {occur} of {BINS} bins occur"
    wrong = doubt(prior)
    return f"{text}\nwarning: {wrong}; are these photos? --prior will refuse the file" if wrong else text


def main(args: Sequence[str] | None = None) -> None:
    """The command line; mistakes end in one line and exit status 2."""
    try:
        print(count(tyro.cli(Command, args=args, prog="python -m experiments.color_prior")))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
