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

from pixlab.data.colour import colour_counts, grey_is_common
from pixlab.data.photos import open_photos
from pixlab.errors import UserError
from pixlab.nn.ab_bins import AB_BINS, GREY_BIN, smoothed


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
    """Write the file; returns what to say of it, whether near grey is as common as it should be too."""
    if command.photos < 0 or command.side < 8 or not command.sigma > 0:
        raise UserError("give --photos 0 or more, --side 8 or more and a positive --sigma")
    photos = open_photos(command.source, "train")
    counts = colour_counts(photos, side=command.side, most=command.photos, progress=show)
    prior = smoothed(counts, command.sigma)
    (a, b), near = AB_BINS[prior.argmax()], np.abs(AB_BINS - AB_BINS[GREY_BIN]).max(axis=1) <= 10
    text = f"{command.source}: most frequent is a {a:g}, b {b:g}; {100 * prior[near].sum():.1f} % in the 9 greyest bins"
    try:
        np.save(command.out, prior)
    except OSError as error:
        raise UserError(f"{command.out}: cannot be written ({error.strerror})") from None
    text += f"; {np.count_nonzero(counts)} of {len(counts)} bins occur; written to {command.out}"
    return text if grey_is_common(prior) else f"{text}\nwarning: photos are mostly near grey; are these?"


def show(done: int, of: int) -> None:
    """A line on standard error for every thousand photos."""
    if done % 1000 == 0:
        print(f"counted {done} of {of} photos", file=sys.stderr, flush=True)


def main(args: Sequence[str] | None = None) -> None:
    """The command line; mistakes end in one line and exit status 2."""
    try:
        print(count(tyro.cli(Command, args=args, prog="python -m experiments.color_prior")))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
