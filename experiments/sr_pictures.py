"""Details of photos that runs of super-resolution enlarge, beside bicubic interpolation and the truth.

python -m experiments.sr_pictures srcnn-x3 fsrcnn-x3 espcn-x3 --test set14 --photos 4 10 13
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Sequence

import numpy as np
import tyro
from jaxtyping import UInt8

from pixlab import mesh
from pixlab.data.degrade import modcrop
from pixlab.data.images import save_png
from pixlab.data.photos import open_photos
from pixlab.errors import UserError
from pixlab.nn.imresize import imresize_uint8
from pixlab.pictures import Panel, grid, strip
from pixlab.predict_command import write
from pixlab.run import Run
from pixlab.superres_task import DETAIL, SuperresOptions, busiest


@dataclasses.dataclass(frozen=True)
class Command:
    """Write a picture of what runs of super-resolution make of photos, a row for each photo."""

    runs: tyro.conf.Positional[tuple[str, ...]]
    """Run folders or names of shipped weights, of one scale."""
    test: str = "set14"
    """Photos, as --source takes them; they are made small first."""
    photos: tuple[int, ...] = (0, 1, 2)
    """Which of them, counted from 0."""
    out: pathlib.Path = pathlib.Path("super_resolution.png")
    """Picture to write."""


def picture(command: Command) -> UInt8[np.ndarray, "h w 3"]:
    """The rows. Raises UserError for runs of several scales or of something else, and for photos that are not there."""
    if not command.runs or not command.photos:
        raise UserError("give runs, and numbers of --photos")
    runs = [Run.open(name) for name in command.runs]
    if wrong := [run.folder for run in runs if not isinstance(run.config, SuperresOptions)]:
        raise UserError(f"{wrong[0]}: not a run of super-resolution")
    scales = {run.config.scale for run in runs}
    if len(scales) > 1:
        raise UserError(f"runs of one scale are compared; these have {', '.join(map(str, sorted(scales)))}")
    (scale,) = scales
    names = [run.folder.name for run in runs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"two runs are called {twice[0]}: copy one to a folder of another name")
    source = open_photos(command.test, "test")
    if wrong := [n for n in command.photos if not 0 <= n < len(source)]:
        raise UserError(f"--photos {wrong[0]}: {command.test} has photos 0 to {len(source) - 1}")
    high = [modcrop(source[number]["image"], scale) for number in command.photos]
    low = [imresize_uint8(photo, 1 / scale) for photo in high]
    columns = {"bicubic": [imresize_uint8(photo, scale) for photo in low]}
    for run in runs:
        columns[run.folder.name] = [made[f"x{scale}"] for _, made in run.predict(low, maps=False)]
    columns["truth"] = high
    return grid([row(dict(zip(columns, images, strict=True))) for images in zip(*columns.values(), strict=True)])


def row(images: dict[str, UInt8[np.ndarray, "h w 3"]]) -> UInt8[np.ndarray, "_ _ 3"]:
    """The part of a photo with the strongest edges."""
    top, left = busiest(images["truth"])
    return strip([Panel(name, x[top : top + DETAIL, left : left + DETAIL]) for name, x in images.items()])


def main(args: Sequence[str] | None = None) -> None:
    """The command line; mistakes end in one line and exit status 2."""
    command = tyro.cli(Command, args=args, prog="python -m experiments.sr_pictures")
    mesh.setup()
    try:
        made = picture(command)
        write(command.out, lambda file: save_png(file, made), keep=False)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print(command.out)


if __name__ == "__main__":
    main()
